"""One fragment of one version, as a handle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like.dataset.arguments import integers
from lance_like.dataset.scanner import Filter, LanceScanner
from lance_like.errors import OutOfRange
from lance_like.query.projection import project
from lance_like.query.session import Session
from lance_like.query.take import Placed, take_placed
from lance_like.table.fragment import DataFile, Fragment
from lance_like.table.manifest import Manifest


class LanceFragment:
    """Rows that were written together: the unit of files."""

    def __init__(self, session: Session, manifest: Manifest, fragment: Fragment) -> None:
        self._session, self._manifest, self._fragment = session, manifest, fragment

    @property
    def fragment_id(self) -> int:
        """Its number: no other fragment of the table's history has it."""
        return self._fragment.id

    @property
    def schema(self) -> pa.Schema:
        """The schema of the table, as `LanceDataset.schema`."""
        return self._manifest.schema.described.to_arrow()

    @property
    def physical_rows(self) -> int:
        """Rows in its files."""
        return self._fragment.rows

    def data_files(self) -> list[DataFile]:
        """Its files; each field of the table is in at most one."""
        return list(self._fragment.files)

    def scanner(self, columns: Sequence[str] | None = None, filter: Filter = None, **options: Any) -> LanceScanner:
        """A scan of this fragment; options as in `LanceDataset.scanner`."""
        return LanceScanner(
            self._session, self._manifest, columns=columns, filter=filter, fragments=[self._fragment], **options
        )

    def to_table(self, columns: Sequence[str] | None = None, filter: Filter = None, **options: Any) -> pa.Table:
        """All its rows that pass."""
        return self.scanner(columns, filter, **options).to_table()

    def to_batches(
        self, columns: Sequence[str] | None = None, filter: Filter = None, **options: Any
    ) -> Iterator[pa.RecordBatch]:
        """Its rows that pass, a batch at a time."""
        return self.scanner(columns, filter, **options).to_batches()

    def head(self, num_rows: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Its first rows."""
        return self.scanner(columns).head(num_rows)

    def count_rows(self, filter: Filter = None) -> int:
        """How many of its rows pass."""
        return self.scanner([], filter).count_rows()

    def take(self, indices: Any, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows by position among its live rows, in the order asked. Raises OutOfRange."""
        positions, live = integers(indices), self._fragment.live_rows
        if len(positions) and (positions.min() < 0 or positions.max() >= live):
            raise OutOfRange(f"a position is outside the {live:,} rows of fragment {self.fragment_id}")
        offsets = self._fragment.offsets_of_live(positions)
        projection = project(self._manifest.schema.described, columns)
        return take_placed(self._session, projection, Placed([self._fragment], np.zeros_like(offsets), offsets))

    def __repr__(self) -> str:
        paths = [file.path for file in self._fragment.files]
        return f"LanceFragment(id={self.fragment_id}, rows={self.physical_rows:,}, files={paths})"
