"""The verbs under pylance's names, which this package shares: one adapter for both libraries."""

from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from benchmarks.tables import TablePeer


class LanceNames(TablePeer):
    """library: what is imported. options: what every open and write of it is given."""

    library: ModuleType
    options: dict[str, Any]

    def create(self, path: Path, rows: pa.Table) -> Any:
        return self.library.write_dataset(rows, path, **self.options)

    def open(self, path: Path) -> Any:
        return self.library.dataset(path, **self.options)

    def append(self, handle: Any, rows: pa.Table) -> None:
        handle.insert(rows)

    def append_to(self, path: Path, rows: pa.Table) -> None:
        self.library.write_dataset(rows, path, mode="append", **self.options)

    def versions(self, handle: Any) -> list[tuple[int, datetime]]:
        return [(entry["version"], entry["timestamp"].astimezone(timezone.utc)) for entry in handle.versions()]

    def as_of(self, path: Path, moment: datetime) -> Any:
        # Local time without a zone: pylance knows no other.
        return self.library.dataset(path, asof=moment.astimezone().replace(tzinfo=None), **self.options)

    def checkout(self, path: Path, version: int) -> Any:
        return self.library.dataset(path, version=version, **self.options)

    def restore(self, path: Path, version: int) -> Any:
        handle = self.checkout(path, version)
        handle.restore()
        return handle

    def read(self, handle: Any, columns: list[str]) -> pa.Table:
        return handle.to_table(columns=columns)

    def delete(self, handle: Any, where: str) -> None:
        handle.delete(where)

    def update(self, handle: Any, updates: dict[str, str], where: str) -> None:
        handle.update(updates, where=where)

    def upsert(self, handle: Any, key: str, rows: pa.Table) -> None:
        handle.merge_insert(key).when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def add_column(self, handle: Any, name: str, expression: str) -> None:
        handle.add_columns({name: expression})

    def add_null_column(self, handle: Any, field: pa.Field) -> None:
        handle.add_columns(field)

    def compact(self, handle: Any, rows_per_file: int) -> None:
        handle.optimize.compact_files(target_rows_per_fragment=rows_per_file)
