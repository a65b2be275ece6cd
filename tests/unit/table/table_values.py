"""Small values that the tests of the table layer share: schemas, files that were never written, stores that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from lance_like.file.stats import ZoneEntry
from lance_like.io.memory import MemoryStore
from lance_like.table.actions import AddColumns, Append, Create, NewFile, NewFragment, Overwrite
from lance_like.table.commit import commit
from lance_like.table.layout import new_data_key
from lance_like.table.manifest import Manifest

SCHEMA = pa.schema([("a", pa.int64()), ("s", pa.struct([("x", pa.string()), ("y", pa.int8())]))])
COLUMNS = 4
STATS = ZoneEntry(1, 0, b"\1", None, 0)


def new_file(rows: int, columns: int = COLUMNS) -> NewFile:
    return NewFile(new_data_key(), 640, 0xFEDC, rows, columns, (STATS,) * columns)


def new_fragment(rows: int = 3, columns: int = COLUMNS) -> NewFragment:
    return NewFragment((new_file(rows, columns),))


def create(*rows: int) -> Create:
    return Create(SCHEMA, tuple(new_fragment(n) for n in rows))


def append(*rows: int) -> Append:
    return Append(SCHEMA, tuple(new_fragment(n) for n in rows))


def overwrite(*rows: int) -> Overwrite:
    return Overwrite(SCHEMA, tuple(new_fragment(n) for n in rows))


def add_column(base: Manifest, name: str = "n", reads: tuple[int, ...] = ()) -> AddColumns:
    files = {fragment.id: (new_file(fragment.rows, 1),) for fragment in base.fragments}
    return AddColumns(pa.schema([(name, pa.int32())]), files, reads)


def small_table() -> tuple[MemoryStore, Manifest]:
    """A table of one version with fragments of 3 and 2 rows."""
    store = MemoryStore()
    return store, commit(store, None, create(3, 2))


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

    def list(self, prefix: str, *, temporary: bool = False):
        return self._call("list", prefix, prefix, temporary=temporary)

    def delete(self, keys: Iterable[str], *, durable: bool = True) -> None:
        self._call("delete", "", keys, durable=durable)


def objects(store: MemoryStore) -> dict[str, bytes]:
    """All objects of a store in memory."""
    return dict(store._objects)
