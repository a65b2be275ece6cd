"""The fields of a schema and where they stand: what `Schema` asks, whether they are in memory or still bytes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import pyarrow as pa

from lance_like._lazy import cached
from lance_like.encodings.places import DESCRIPTION
from lance_like.file.columns import BARE_STRUCT, Column, flatten

ROOT = -1
BLOB_METADATA = {b"lance-encoding:blob": b"true"}
"""The metadata of a blob column, as in pylance."""


# Not a dataclass: a frozen one takes three times as long to make, which a table of 10,000 columns would feel.
class Field(NamedTuple):
    """One field. parent_id: the struct that holds it, -1 at the top. type: struct<> for a struct."""

    id: int
    parent_id: int
    name: str
    type: pa.DataType
    nullable: bool
    metadata: dict[bytes, bytes]

    @property
    def is_struct(self) -> bool:
        """True for a struct with fields of its own in the schema; the description of a blob is none."""
        return self.type.equals(BARE_STRUCT)


@dataclass(frozen=True, slots=True)
class Alteration:
    """What a field becomes; None: as it is."""

    name: str | None = None
    nullable: bool | None = None
    type: pa.DataType | None = None


class Fields(Protocol):
    """All fields of a schema, depth first. A position counts them from 0.

    A field that is still bytes is checked when it is first asked for: each method may raise Corrupt or Unsupported.
    """

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """The metadata of the schema."""
        ...

    @property
    def greatest_id(self) -> int:
        """The greatest field id; -1 when there is no field. Cost: no field is made."""
        ...

    def __len__(self) -> int: ...

    def all(self) -> tuple[Field, ...]:
        """Every field. Cost: O(fields) the first time."""
        ...

    def at(self, position: int) -> Field:
        """The field at 0 <= position < len."""
        ...

    def position(self, field_id: int) -> int | None:
        """Where the field of an id stands; None when there is none."""
        ...

    def child(self, parent_id: int, name: str) -> Field | None:
        """The field of a name directly below a struct, or at the top."""
        ...

    def children(self, parent_id: int) -> Sequence[Field]:
        """The fields directly below a struct, or at the top, in order."""
        ...


class HeldFields:
    """Fields in memory."""

    def __init__(self, fields: tuple[Field, ...], metadata: dict[bytes, bytes]) -> None:
        self._fields = fields
        self.metadata = metadata

    @property
    def greatest_id(self) -> int:
        """The greatest field id; -1 when there is no field."""
        return max((field.id for field in self._fields), default=-1)

    def __len__(self) -> int:
        return len(self._fields)

    def all(self) -> tuple[Field, ...]:
        """Every field."""
        return self._fields

    def at(self, position: int) -> Field:
        """The field at 0 <= position < len."""
        return self._fields[position]

    def position(self, field_id: int) -> int | None:
        """Where the field of an id stands; None when there is none."""
        return self._positions.get(field_id)

    def child(self, parent_id: int, name: str) -> Field | None:
        """The field of a name directly below a struct, or at the top; of two the last."""
        return self._children.get(parent_id, {}).get(name)

    def children(self, parent_id: int) -> Sequence[Field]:
        """The fields directly below a struct, or at the top, in order."""
        return tuple(self._children.get(parent_id, {}).values())

    @cached
    def _positions(self) -> dict[int, int]:
        return {field.id: position for position, field in enumerate(self._fields)}

    @cached
    def _children(self) -> dict[int, dict[str, Field]]:
        children: dict[int, dict[str, Field]] = {}
        for field in self._fields:
            children.setdefault(field.parent_id, {})[field.name] = field
        return children


class DescribedFields:
    """Fields some of which are given as the descriptions of their cells. described: says which."""

    def __init__(self, source: Fields, described: Callable[[Field], bool]) -> None:
        self._source, self._described = source, described

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """The metadata of the schema."""
        return self._source.metadata

    @property
    def greatest_id(self) -> int:
        """The greatest field id; -1 when there is no field."""
        return self._source.greatest_id

    def __len__(self) -> int:
        return len(self._source)

    def all(self) -> tuple[Field, ...]:
        """Every field."""
        return self._all

    @cached
    def _all(self) -> tuple[Field, ...]:
        return tuple(self._seen(field) for field in self._source.all())

    def at(self, position: int) -> Field:
        """The field at 0 <= position < len."""
        return self._seen(self._source.at(position))

    def position(self, field_id: int) -> int | None:
        """Where the field of an id stands; None when there is none."""
        return self._source.position(field_id)

    def child(self, parent_id: int, name: str) -> Field | None:
        """The field of a name directly below a struct, or at the top."""
        field = self._source.child(parent_id, name)
        return None if field is None else self._seen(field)

    def children(self, parent_id: int) -> Sequence[Field]:
        """The fields directly below a struct, or at the top, in order."""
        return tuple(self._seen(field) for field in self._source.children(parent_id))

    def _seen(self, field: Field) -> Field:
        return field._replace(type=DESCRIPTION) if self._described(field) else field


def is_binary(kind: pa.DataType) -> bool:
    """True for binary types that can be blobs."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_blob(field: pa.Field | Field | Column) -> bool:
    """True for a blob column: a binary field that is marked as one."""
    metadata = field.metadata
    return bool(metadata) and metadata.items() >= BLOB_METADATA.items() and is_binary(field.type)


def number_fields(schema: pa.Schema, next_field_id: int) -> tuple[Field, ...]:
    """The fields of an Arrow schema, depth first, with ids that count up from next_field_id."""
    return tuple(
        Field(
            id=next_field_id + i,
            parent_id=ROOT if column.parent == ROOT else next_field_id + column.parent,
            name=column.name,
            type=column.type,
            nullable=column.nullable,
            metadata=dict(column.metadata or {}),
        )
        for i, column in enumerate(flatten(schema))
    )


def arrow_fields(fields: Sequence[Field]) -> list[pa.Field]:
    """The top-level fields as Arrow has them, a struct with its children. fields: all of them, depth first."""
    children: dict[int, list[pa.Field]] = {}
    # From the last to the first: the children of a struct are made before the struct.
    for field_id, parent_id, name, kind, nullable, metadata in reversed(fields):
        below = children.pop(field_id, None)
        made = pa.field(name, pa.struct(below[::-1]) if below else kind, nullable, metadata or None)
        children.setdefault(parent_id, []).append(made)
    return children.get(ROOT, [])[::-1]
