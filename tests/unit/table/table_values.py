"""Small values that the tests of the table layer share: schemas, files that were never written, stores that fail."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from lance_like.file.stats import ZoneEntry
from lance_like.io.memory import MemoryStore
from lance_like.table.actions import (
    AddColumns,
    AlterColumns,
    Append,
    ChangeRows,
    Create,
    KeyRange,
    NewColumns,
    NewFile,
    NewFragment,
    Overwrite,
    ReplaceColumns,
    Rewrite,
    RewrittenGroup,
)
from lance_like.table.commit import commit
from lance_like.table.fields import Alteration
from lance_like.table.fragment import Fragment
from lance_like.table.indices import IndexSegment, RowRuns, SegmentFile
from lance_like.table.layout import new_data_key
from lance_like.table.lineage import of_rows, values_at
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import ids_at
from lance_like.typing_ import Int64s

SCHEMA = pa.schema([("a", pa.int64()), ("s", pa.struct([("x", pa.string()), ("y", pa.int8())]))])
COLUMNS = 4
STATS = ZoneEntry(1, 0, b"\1", None, 0)


def new_file(rows: int, columns: int = COLUMNS) -> NewFile:
    return NewFile(new_data_key(), 640, 0xFEDC, rows, columns, (STATS,) * columns)


def new_fragment(rows: int = 3, columns: int = COLUMNS) -> NewFragment:
    return NewFragment((new_file(rows, columns),))


def index_segment(ids: Int64s, version: int, *, files: int = 1) -> IndexSegment:
    """A segment for rows of a version, in files that were never written."""
    made = tuple(SegmentFile(f"file {i}", new_data_key(), 640, 0xABCD) for i in range(files))
    return IndexSegment(uuid.uuid4().hex, version, 1, 7, made, RowRuns.of(ids), {"of": "the plug-in"})


def create(*rows: int) -> Create:
    return Create(SCHEMA, tuple(new_fragment(n) for n in rows))


def append(*rows: int) -> Append:
    return Append(SCHEMA, tuple(new_fragment(n) for n in rows))


def overwrite(*rows: int) -> Overwrite:
    return Overwrite(SCHEMA, tuple(new_fragment(n) for n in rows))


def add_column(base: Manifest, name: str = "n", reads: tuple[int, ...] = ()) -> AddColumns:
    files = {fragment.id: (new_file(fragment.rows, 1),) for fragment in base.fragments}
    return AddColumns(pa.schema([(name, pa.int32())]), files, reads)


def rename(names: Mapping[int, str]) -> AlterColumns:
    """names: field id -> new name."""
    return AlterColumns({field_id: Alteration(name) for field_id, name in names.items()})


def recast(base: Manifest, *field_ids: int) -> AlterColumns:
    """An alteration that makes fields decimals."""
    files = {fragment.id: (new_file(fragment.rows, len(field_ids)),) for fragment in base.fragments}
    return AlterColumns({field_id: Alteration(type=pa.decimal128(20)) for field_id in field_ids}, files)


def replace_columns(base: Manifest, fragment_ids: Sequence[int], *field_ids: int) -> ReplaceColumns:
    """Other values of fields in fragments."""
    files = {key: (new_file(base.fragment(key).rows, len(field_ids)),) for key in fragment_ids}
    return ReplaceColumns(files, field_ids)


def small_table() -> tuple[MemoryStore, Manifest]:
    """A table of one version with fragments of 3 and 2 rows."""
    store = MemoryStore()
    return store, commit(store, None, create(3, 2))


def leaf_ids(base: Manifest) -> tuple[int, ...]:
    return tuple(field.id for field in base.schema.fields)


def delete(rows: Mapping[int, Sequence[int]], reads: tuple[int, ...] = ()) -> ChangeRows:
    """rows: fragment id -> offsets."""
    return ChangeRows("delete", {key: np.array(offsets) for key, offsets in rows.items()}, reads=reads)


def rewritten(base: Manifest, rows: Mapping[int, Sequence[int]], *, updated: bool) -> NewFragment:
    """Rows of a version in a new file, with where they come from. updated: by the version being made."""
    held = [(base.fragment(key), np.array(offsets)) for key, offsets in rows.items()]
    ids, created, changed = (
        np.concatenate(columns)
        for columns in zip(
            *((ids_at(one, at), values_at(one.runs.created, at), values_at(one.runs.updated, at)) for one, at in held),
            strict=True,
        )
    )
    lineage = of_rows(ids, created, changed * (not updated))
    return NewFragment((new_file(len(ids), len(base.schema.fields)),), lineage)


def update(
    base: Manifest,
    rows: Mapping[int, Sequence[int]],
    *,
    kind: Literal["update", "merge_insert"] = "update",
    changes: tuple[int, ...] = (0,),
    inserted: tuple[NewFragment, ...] = (),
    reads: tuple[int, ...] = (),
    keys: tuple[KeyRange, ...] = (),
) -> ChangeRows:
    """An update that writes whole rows anew."""
    moved = (rewritten(base, rows, updated=True),) if rows else ()
    return ChangeRows(
        kind,
        {key: np.array(offsets) for key, offsets in rows.items()},
        fragments=(*moved, *inserted),
        field_ids=leaf_ids(base),
        changes=changes,
        reads=reads,
        keys=keys,
    )


def update_column(base: Manifest, fragment_id: int, offsets: Sequence[int], field_id: int = 0) -> ChangeRows:
    """An update that writes one column of a fragment anew."""
    file = new_file(base.fragment(fragment_id).rows, 1)
    columns = NewColumns((file,), (field_id,), np.array(offsets, np.int64))
    return ChangeRows("update", columns={fragment_id: columns}, changes=(field_id,))


def live_offsets(fragment: Fragment) -> list[int]:
    return fragment.offsets_of_live(np.arange(fragment.live_rows)).tolist()


def compact(base: Manifest, *groups: Sequence[int]) -> Rewrite:
    """groups: ids of fragments that become one each."""
    made = []
    for group in groups:
        old = tuple(base.fragment(fragment_id) for fragment_id in group)
        made.append(RewrittenGroup(old, (rewritten(base, {one.id: live_offsets(one) for one in old}, updated=False),)))
    return Rewrite(tuple(made), leaf_ids(base))


def live_lineage(version: Manifest) -> list[tuple[int, int, int]]:
    """The row id, created and updated of each live row, in scan order."""
    found: list[tuple[int, int, int]] = []
    for one in version.fragments:
        at = np.array(live_offsets(one))
        columns = ids_at(one, at), values_at(one.runs.created, at), values_at(one.runs.updated, at)
        found += zip(*(column.tolist() for column in columns), strict=True)
    return found


class HookedStore:
    """A store that calls `before(verb, key)` and `after(verb, key)` around each call; either may raise."""

    def __init__(
        self,
        inner: MemoryStore,
        *,
        before: Callable[[str, str], None] = lambda verb, key: None,
        after: Callable[[str, str], None] = lambda verb, key: None,
    ) -> None:
        self.inner = inner
        self.before = before
        self.after = after
        self.uri = inner.uri

    def _call(self, verb: str, key: str, *arguments, **options):
        self.before(verb, key)
        answer = getattr(self.inner, verb)(*arguments, **options)
        self.after(verb, key)
        return answer

    def read(self, keys: Sequence[str], *, limit: int):
        for key in keys:
            self.before("read", key)
        answer = self.inner.read(keys, limit=limit)
        for key in keys:
            self.after("read", key)
        return answer

    def size(self, key: str) -> int:
        return self._call("size", key, key)

    def modified_us(self, key: str) -> int:
        return self._call("modified_us", key, key)

    def gather(self, key: str, asks: Sequence):
        return self._call("gather", key, key, asks)

    def put(self, key: str, chunks: Iterable, *, durable: bool = True) -> int:
        return self._call("put", key, key, chunks, durable=durable)

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._call("put_if_absent", key, key, data)

    def settle(self, key: str) -> None:
        self._call("settle", key, key)

    def list(self, prefix: str, *, temporary: bool = False):
        return self._call("list", prefix, prefix, temporary=temporary)

    def delete(self, keys: Iterable[str], *, durable: bool = True) -> None:
        self._call("delete", "", keys, durable=durable)


def objects(store: MemoryStore) -> dict[str, bytes]:
    """All objects of a store in memory."""
    return dict(store._objects)
