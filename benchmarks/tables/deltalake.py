"""Delta Lake through `deltalake` (delta-rs); it does not sync, and writes no deletion vectors."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.schema import Field, PrimitiveType

from benchmarks.tables import TablePeer

_MILLISECONDS = 1_000
_PRIMITIVES = {pa.int64(): "long"}


class DeltaLake(TablePeer):
    name = "deltalake"
    settings = (
        "defaults: a checkpoint every 100 commits; no fsync",
        "compaction to files of 16 GiB, so that all of a table's files are joined",
    )
    metadata = ("_delta_log",)

    def create(self, path: Path, rows: pa.Table) -> Any:
        write_deltalake(path, rows)
        return self.open(path)

    def open(self, path: Path) -> Any:
        return DeltaTable(path)

    def append(self, handle: Any, rows: pa.Table) -> None:
        write_deltalake(handle, rows, mode="append")

    def append_to(self, path: Path, rows: pa.Table) -> None:
        write_deltalake(path, rows, mode="append")

    def versions(self, handle: Any) -> list[tuple[int, datetime]]:
        return [
            (entry["version"], datetime.fromtimestamp(entry["timestamp"] / _MILLISECONDS, timezone.utc))
            for entry in reversed(handle.history())
        ]

    def as_of(self, path: Path, moment: datetime) -> Any:
        handle = DeltaTable(path)
        handle.load_as_version(moment)
        return handle

    def checkout(self, path: Path, version: int) -> Any:
        return DeltaTable(path, version=version)

    def restore(self, path: Path, version: int) -> Any:
        handle = DeltaTable(path)
        handle.restore(version)
        return handle

    def read(self, handle: Any, columns: list[str]) -> pa.Table:
        return handle.to_pyarrow_table(columns=columns)

    def delete(self, handle: Any, where: str) -> None:
        handle.delete(where)

    def update(self, handle: Any, updates: dict[str, str], where: str) -> None:
        handle.update(updates, predicate=where)

    def upsert(self, handle: Any, key: str, rows: pa.Table) -> None:
        merge = handle.merge(rows, f"s.{key} = t.{key}", source_alias="s", target_alias="t")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()

    def add_column(self, handle: Any, name: str, expression: str) -> None:
        raise NotImplementedError("columns are added as nulls only")

    def add_null_column(self, handle: Any, field: pa.Field) -> None:
        handle.alter.add_columns(Field(field.name, PrimitiveType(_PRIMITIVES[field.type])))

    def compact(self, handle: Any, rows_per_file: int) -> None:
        handle.optimize.compact(target_size=16 << 30)
