"""How one object of a table names another: its key, its size and its checksum (format_spec/table.md, "Reference")."""

from __future__ import annotations

from dataclasses import dataclass

from lance_like.table import shape
from lance_like.table.layout import PartKind, is_part_key
from lance_like.typing_ import Json

MAX_PART_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Ref:
    """The name of an immutable part: its key, its size, and the XXH3-64 of all its bytes."""

    path: str
    nbytes: int
    digest: int

    def to_json(self) -> Json:
        return [self.path, self.nbytes, f"{self.digest:016x}"]


def ref_from_json(value: Json, where: str, *, kind: PartKind) -> Ref:
    """The inverse of `Ref.to_json`. Raises Corrupt, also for the key of another kind of part."""
    if type(value) is not list or len(value) != 3:
        shape.refuse(value, "a reference [path, nbytes, digest]", where)
    path = value[0]
    # What is such a key is a path: it need not be looked at twice.
    if type(path) is not str or not is_part_key(path, kind):
        shape.refuse(path, f"the key of a {kind} part", where)
    nbytes = shape.integer({"nbytes": value[1]}, "nbytes", where, low=1, high=MAX_PART_BYTES)
    return Ref(path, nbytes, shape.hexadecimal(value[2], where))


__all__ = ["Ref", "ref_from_json"]
