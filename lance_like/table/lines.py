"""Lines of versions: that of the table itself, and one for each branch (format_spec/table.md, "Branches").

A branch is a store like any other, in which only the root manifests are others: whatever finds, reads or commits
versions works on it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lance_like.io.store import Store
from lance_like.table.layout import line_key
from lance_like.typing_ import Bytes, Ranges


class BranchStore:
    """A table's store as one branch sees it. main: the store of the table. branch: its name. line: of its roots."""

    def __init__(self, main: Store, *, branch: str, line: str) -> None:
        self.main, self.branch, self.line = main, branch, line

    @property
    def uri(self) -> str:
        return self.main.uri

    def read(self, keys: Sequence[str], *, limit: int) -> list[bytes | None]:
        return self.main.read([self.place(key) for key in keys], limit=limit)

    def size(self, key: str) -> int:
        return self.main.size(self.place(key))

    def gather(self, key: str, asks: Sequence[Ranges]) -> list[Bytes]:
        return self.main.gather(self.place(key), asks)

    def modified_us(self, key: str) -> int:
        return self.main.modified_us(self.place(key))

    def put(self, key: str, chunks: Iterable[bytes | memoryview | Bytes], *, durable: bool = True) -> int:
        return self.main.put(self.place(key), chunks, durable=durable)

    def put_if_absent(self, key: str, data: bytes) -> None:
        self.main.put_if_absent(self.place(key), data)

    def settle(self, key: str) -> None:
        self.main.settle(self.place(key))

    def list(self, prefix: str, *, temporary: bool = False) -> list[str]:
        return self.main.list(self.place(prefix), temporary=temporary)

    def delete(self, keys: Iterable[str], *, durable: bool = True) -> None:
        self.main.delete([self.place(key) for key in keys], durable=durable)

    def place(self, key: str) -> str:
        """Where an object lies in the store of the table."""
        return line_key(self.line, key)


def main_line(store: Store) -> Store:
    """The store of the table, of which this may be a branch."""
    return store.main if isinstance(store, BranchStore) else store


def branch_of(store: Store) -> str | None:
    """The name of the branch that this store is; None for the table itself."""
    return store.branch if isinstance(store, BranchStore) else None


def line_of(store: Store) -> str | None:
    """Where the roots of this branch are; None for the table itself."""
    return store.line if isinstance(store, BranchStore) else None


def place_of(store: Store, key: str) -> str:
    """Where an object lies, in the words of the table."""
    return store.place(key) if isinstance(store, BranchStore) else key


__all__ = ["BranchStore", "branch_of", "line_of", "main_line", "place_of"]
