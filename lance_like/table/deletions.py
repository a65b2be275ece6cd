"""The deleted rows of a fragment (format_spec/table.md, "Deleted rows").

A Roaring bitmap of row offsets in its portable form, inline when it is short, else in a part of its own.
"""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from pyroaring import BitMap

from lance_like._lazy import cached
from lance_like.errors import Corrupt, InvalidInput
from lance_like.table import shape
from lance_like.table.envelope import pack_envelope, unpack_envelope
from lance_like.table.reference import Ref, ref_from_json
from lance_like.typing_ import Int64s, Json

MAGIC = b"LLDV"
# A bitmap up to so many bytes stands in the manifest: it saves a read, a write and a sync.
INLINE_NBYTES = 512
# 2 GiB of offsets in memory.
MAX_DELETED = 1 << 28


@dataclass(frozen=True, eq=False)
class Deletions:
    """Deleted rows. rows: how many.

    data: the bitmap; None while it lies in the part `ref`, which `read` brings.
    """

    rows: int
    ref: Ref | None = None
    data: bytes | None = None
    read: Callable[[Ref], bytes] | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Deletions) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> Ref | bytes | None:
        return self.ref or self.data

    @staticmethod
    def of(offsets: Int64s) -> Deletions:
        """The deletion of some rows: int64[n] offsets, ascending, each once. Raises InvalidInput over the limit."""
        if len(offsets) > MAX_DELETED:
            raise InvalidInput(
                f"{len(offsets):,} deleted rows of one fragment, the limit is {MAX_DELETED:,}",
                kind="limit",
                hint="compact the table first",
            )
        bitmap = BitMap(array("I", offsets.astype(np.uint32).tobytes()))
        bitmap.run_optimize()
        return Deletions(len(offsets), data=bitmap.serialize())

    @staticmethod
    def of_bitmap(data: bytes) -> Deletions:
        """The deletion that a bitmap says. Raises Corrupt."""
        return Deletions(len(_decode(data, "bitmap")), data=data)

    @cached
    def offsets(self) -> Int64s:
        """int64[rows] offsets of the deleted rows, ascending; read when first asked for. Raises Corrupt."""
        data, where = self.data, "deletions"
        if data is None:
            assert self.ref is not None and self.read is not None
            where = self.ref.path
            data = unpack_envelope(MAGIC, self.read(self.ref), where)
        bitmap = _decode(data, where)
        if len(bitmap) != self.rows:
            shape.refuse(len(bitmap), f"{self.rows:,} deleted rows", where)
        return np.frombuffer(bitmap.to_array(), np.uint32).astype(np.int64)

    @property
    def is_inline(self) -> bool:
        """Does it stand in the manifest itself?"""
        return self.data is not None and len(self.data) <= INLINE_NBYTES

    def to_json(self) -> Json:
        if self.ref is not None:
            return {"rows": self.rows, "ref": self.ref.to_json()}
        assert self.data is not None
        return {"rows": self.rows, "data": b64encode(self.data).decode()}

    def __getstate__(self) -> dict[str, object]:
        return {"rows": self.rows, "ref": self.ref, "data": self.data, "read": self.read}


def _decode(data: bytes, where: str) -> BitMap:
    try:
        bitmap = BitMap.deserialize(data)
    except (ValueError, IndexError) as error:  # IndexError: no bytes at all
        raise Corrupt(f"the bitmap of deleted rows is not valid: {error}", kind="structure", where=where) from error
    # A set of containers has one form: this finds places, counts and bytes at the end that nothing else looks at.
    if bitmap.serialize() != data:
        raise Corrupt("the bitmap of deleted rows is not in its portable form", kind="structure", where=where)
    return bitmap


def deletions_from_json(value: Json, where: str, rows: int, read: Callable[[Ref], bytes]) -> Deletions | None:
    """The inverse of `Deletions.to_json`. rows: of the fragment. Raises Corrupt."""
    if value is None:
        return None
    holder = shape.mapping(value, where)
    # A fragment of which no row is left is not kept.
    count = shape.integer(holder, "rows", where, low=1, high=rows - 1)
    if count > MAX_DELETED:
        raise Corrupt(f"{count:,} deleted rows of one fragment are over the limit", kind="limit", where=where)
    if "ref" in holder:
        return Deletions(count, ref_from_json(holder["ref"], where, kind="del"), read=read)
    text = shape.text(holder, "data", where)
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        data = b""
    if b64encode(data).decode() != text:
        shape.refuse(text, "base64", where)
    return Deletions(count, data=data)


def encode_deletions(data: bytes) -> bytes:
    """A bitmap as a part of its own."""
    return pack_envelope(MAGIC, data)


def check_offsets(deletions: Deletions, rows: int, where: str) -> Int64s:
    """The offsets of the deleted rows. Raises Corrupt when one is not a row of the fragment."""
    offsets = deletions.offsets
    if len(offsets) and offsets[-1] >= rows:
        shape.refuse(int(offsets[-1]), f"offsets of deleted rows below {rows:,}", where)
    return offsets


__all__ = ["Deletions", "check_offsets", "deletions_from_json", "encode_deletions"]
