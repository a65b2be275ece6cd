"""What `pyarrow.dataset.Dataset` has and this package has not: refused by name.

An inherited method would work on a C++ object that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import pyarrow as pa
from pyarrow.dataset import Dataset as ArrowDataset  # DuckDB knows a dataset only once this module is loaded

from lance_like.dataset.arguments import not_here


class PythonDataset(ArrowDataset):
    """A dataset of pyarrow whose reads are made in Python: `scanner` is all that engines need."""

    def __arrow_c_schema__(self) -> Any:
        """The schema for the Arrow PyCapsule interface."""
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """All rows for the Arrow PyCapsule interface, read while they are consumed; a new stream a call."""
        return self.scanner().__arrow_c_stream__(requested_schema)

    @property
    def partition_expression(self) -> NoReturn:
        """Not a notion of this format."""
        raise not_here("partition_expression", "statistics prune every column")

    def filter(self, expression: Any) -> NoReturn:
        """Not supported: pass the filter to a read."""
        raise not_here("filter", "pass filter= to scanner, to_table or to_batches")

    def replace_schema(self, schema: pa.Schema) -> NoReturn:
        """Not supported: change the columns."""
        raise not_here("replace_schema", "use add_columns, alter_columns and drop_columns")

    def join(self, *args: Any, **options: Any) -> NoReturn:
        """Not supported: join in DuckDB."""
        raise not_here("join", "join in DuckDB: duckdb.sql('select … from ds join other …')")

    def join_asof(self, *args: Any, **options: Any) -> NoReturn:
        """Not supported: join in DuckDB."""
        raise not_here("join_asof", "join in DuckDB: duckdb.sql('select … from ds asof join other …')")

    def sort_by(self, *args: Any, **options: Any) -> NoReturn:
        """Not supported: sort the answer."""
        raise not_here("sort_by", "sort the answer: to_table().sort_by(…), or in DuckDB")

    def _get_fragments(self, filter: Any) -> NoReturn:
        raise not_here("_get_fragments", "use get_fragments")

    def _scanner(self, **options: Any) -> Any:
        return self.scanner(**options)

    def _scanner_options(self, options: Mapping[str, Any]) -> NoReturn:
        raise not_here("_scanner_options", "use scanner")


__all__ = ["PythonDataset"]
