"""A schema with the numbers that fields have in a table, as callers see it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from lance_like.errors import InvalidInput, NotFound
from lance_like.table.fields import Field
from lance_like.table.schema import Schema

_PRIMARY_KEY = "lance-schema:unenforced-primary-key"
_CLUSTERING_KEY = "lance-schema:unenforced-clustering-key"
_YES = frozenset({"true", "1", "yes"})


@dataclass(frozen=True, slots=True)
class LanceField:
    """A field of a table. Its number stays when it is renamed or moved (format_spec/table.md, "Schema")."""

    _schema: Schema
    _field: Field

    def id(self) -> int:
        """Its number; no other field of the table's history has it."""
        return self._field.id

    def name(self) -> str:
        """Its name, without those of the structs above."""
        return self._field.name

    def children(self) -> list[LanceField]:
        """The fields of a struct; those of other types have no number."""
        return [LanceField(self._schema, child) for child in self._schema.children(self._field.id)]

    @property
    def metadata(self) -> dict[str, str]:
        """Its metadata, as texts; bytes that are no UTF-8 are shown by their numbers."""
        return {shown(key): shown(value) for key, value in self._field.metadata.items()}

    def is_unenforced_primary_key(self) -> bool:
        """Does its metadata call it a part of the key? See `LanceSchema.unenforced_primary_key`."""
        return _is_key(self, _PRIMARY_KEY)

    def unenforced_primary_key_position(self) -> int | None:
        """Its place in the key, by its metadata; None where they say none."""
        return _key_position(self, _PRIMARY_KEY)

    def is_unenforced_clustering_key(self) -> bool:
        """The same of `LanceSchema.unenforced_clustering_key`."""
        return _is_key(self, _CLUSTERING_KEY)

    def unenforced_clustering_key_position(self) -> int | None:
        """The same of `LanceSchema.unenforced_clustering_key`."""
        return _key_position(self, _CLUSTERING_KEY)

    def to_arrow(self) -> pa.Field:
        """The field as Arrow has it, a struct with its children."""
        return self._schema.arrow_field(self._field.id)

    def __repr__(self) -> str:
        return f"LanceField(id={self.id()}, name={self.name()!r}, type={self.to_arrow().type})"


@dataclass(frozen=True)
class LanceSchema:
    """The fields of a version of a table, with their numbers: `LanceDataset.lance_schema`."""

    _schema: Schema

    @staticmethod
    def from_pyarrow(schema: pa.Schema) -> LanceSchema:
        """The schema of a new table: its fields are numbered from 0 on, depth first.

        Raises InvalidInput for names that a table cannot have.
        """
        if not isinstance(schema, pa.Schema):
            raise InvalidInput(f"{schema!r:.80}: expected a pyarrow.Schema")
        return LanceSchema(Schema.from_arrow(schema, 0)[0])

    def to_pyarrow(self) -> pa.Schema:
        """The Arrow schema, blobs as bytes."""
        return self._schema.to_arrow()

    def fields(self) -> list[LanceField]:
        """The columns, in order."""
        return [LanceField(self._schema, field) for field in self._schema.children()]

    def unenforced_primary_key(self) -> list[LanceField]:
        """The columns whose metadata call them a key, as pylance has it; nothing sees to it that they are one.

        In the order of their "lance-schema:unenforced-primary-key:position", those without one behind, in order.
        """
        return self._key(_PRIMARY_KEY)

    def unenforced_clustering_key(self) -> list[LanceField]:
        """The same of the metadata "lance-schema:unenforced-clustering-key": columns that rows are laid out by."""
        return self._key(_CLUSTERING_KEY)

    def _key(self, name: str) -> list[LanceField]:
        places = [(_key_position(field, name), field) for field in self.fields() if _is_key(field, name)]
        return [field for _, field in sorted(places, key=lambda item: (item[0] is None, item[0] or 0))]

    def field(self, name: str) -> LanceField | None:
        """The field that a name or a dotted path names; None: there is none."""
        try:
            return LanceField(self._schema, self._schema.find(name))
        except NotFound:
            return None

    def field_case_insensitive(self, name: str) -> LanceField | None:
        """The field of a path in any case; None: there is none. Raises InvalidInput where several are meant."""
        try:
            return LanceField(self._schema, self._schema.find_in_any_case(name))
        except NotFound:
            return None

    def __repr__(self) -> str:
        return f"LanceSchema({self.fields()})"


def _is_key(field: LanceField, name: str) -> bool:
    return _key_position(field, name) is not None or field.metadata.get(name, "").lower() in _YES


def _key_position(field: LanceField, name: str) -> int | None:
    position = field.metadata.get(f"{name}:position", "")
    return int(position) if position.isascii() and position.isdigit() else None


def as_arrow(schema: pa.Schema | LanceSchema) -> pa.Schema:
    """A schema as Arrow has it."""
    return schema.to_pyarrow() if isinstance(schema, LanceSchema) else schema


def shown(data: bytes) -> str:
    """Metadata as text; bytes that are no UTF-8 by their numbers."""
    return data.decode("utf-8", "backslashreplace")


__all__ = ["LanceField", "LanceSchema", "as_arrow", "shown"]
