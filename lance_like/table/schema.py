"""The schema of a table: fields with ids that are never used twice (format_spec/table.md, "Schema part").

Every field is a column of the files, depth first. A struct has the type struct<> and its children are fields of
their own; fields inside lists, maps and fixed-size lists belong to their column's type. Pure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from lance_like._lazy import cached
from lance_like.errors import InvalidInput, NotFound
from lance_like.file.columns import Column, flatten, unflatten

ROOT = -1
RESERVED_NAMES = frozenset(
    {
        "_rowid",
        "_rowaddr",
        "_rowoffset",
        "_row_created_at_version",
        "_row_last_updated_at_version",
        "_distance",
        "_score",
    }
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field. parent_id: the struct that holds it, -1 at the top. type: struct<> for a struct."""

    id: int
    parent_id: int
    name: str
    type: pa.DataType
    nullable: bool
    metadata: dict[bytes, bytes]

    @property
    def is_struct(self) -> bool:
        return pa.types.is_struct(self.type)


@dataclass(frozen=True)
class Schema:
    """All fields of a version, depth first, and the metadata of the whole."""

    fields: tuple[Field, ...]
    metadata: dict[bytes, bytes]

    @staticmethod
    def from_arrow(schema: pa.Schema, next_field_id: int) -> tuple[Schema, int]:
        """Give every field of an Arrow schema a fresh id. Returns the schema and the next free id.

        Raises InvalidInput for reserved names and for siblings of the same name.
        """
        fields = number_fields(schema, next_field_id)
        made = Schema(fields, dict(schema.metadata or {}))
        made.check_names()
        return made, next_field_id + len(fields)

    @cached
    def _arrow(self) -> pa.Schema:
        position = {field.id: i for i, field in enumerate(self.fields)} | {ROOT: ROOT}
        columns = [Column(f.name, f.type, f.nullable, f.metadata or None, position[f.parent_id]) for f in self.fields]
        return pa.schema(unflatten(columns), metadata=self.metadata or None)

    def to_arrow(self) -> pa.Schema:
        """The Arrow schema; made once and remembered."""
        return self._arrow

    @cached
    def by_id(self) -> dict[int, Field]:
        """The fields by their ids."""
        return {field.id: field for field in self.fields}

    @cached
    def _children(self) -> dict[int, dict[str, Field]]:
        children: dict[int, dict[str, Field]] = {ROOT: {}}
        for field in self.fields:
            children.setdefault(field.parent_id, {})[field.name] = field
        return children

    def children(self, field_id: int = ROOT) -> tuple[Field, ...]:
        """The fields directly below a struct, or at the top, in order."""
        return tuple(self._children.get(field_id, {}).values())

    def path(self, field_id: int) -> tuple[str, ...]:
        """The names from the top down to a field."""
        names: list[str] = []
        while field_id != ROOT:
            field = self.by_id[field_id]
            names.append(field.name)
            field_id = field.parent_id
        return tuple(reversed(names))

    def subtree(self, field_id: int) -> tuple[int, ...]:
        """The ids of a field and of all below it, depth first."""
        below = (self.subtree(child.id) for child in self.children(field_id))
        return (field_id, *(found for ids in below for found in ids))

    def arrow_field(self, field_id: int) -> pa.Field:
        """One field as Arrow has it, a struct with its children."""
        field = self.by_id[field_id]
        below = [self.arrow_field(child.id) for child in self.children(field_id)]
        kind = pa.struct(below) if field.is_struct else field.type
        return pa.field(field.name, kind, field.nullable, field.metadata or None)

    def find(self, path: str | tuple[str, ...]) -> Field:
        """The field that a path names.

        path: a top-level name exactly as it is; or names joined with dots, where back-ticks quote a name that
        has dots (`a.b`.c; a doubled back-tick is one); or a tuple of names.
        Raises NotFound, naming the nearest known names.
        """
        top = self._children[ROOT]
        if isinstance(path, str) and path in top:
            return top[path]
        names = split_path(path) if isinstance(path, str) else path
        parent = ROOT
        found: Field | None = None
        for name in names:
            siblings = self._children.get(parent, {})
            found = siblings.get(name)
            if found is None:
                raise _not_found(path, name, siblings)
            parent = found.id
        if found is None:
            raise _not_found(path, "", top)
        return found

    def project(self, ids: Iterable[int]) -> Schema:
        """Only some fields, with the structs above them and all that lies below them; the order stays."""
        kept: set[int] = set()
        for field_id in ids:
            kept.update(self.subtree(field_id))
            parent = self.by_id[field_id].parent_id
            while parent != ROOT:
                kept.add(parent)
                parent = self.by_id[parent].parent_id
        return replace(self, fields=tuple(field for field in self.fields if field.id in kept))

    def without(self, ids: Iterable[int]) -> Schema:
        """The schema less some fields and all below them.

        Raises NotFound for an unknown id, InvalidInput when a struct or the table would have no field left.
        """
        gone = {below for field_id in ids for below in self.subtree(self._known(field_id).id)}
        left = tuple(field for field in self.fields if field.id not in gone)
        holders = {field.parent_id for field in left}
        for field in self.fields:
            if field.id in gone and field.parent_id not in gone and field.parent_id not in holders:
                whole = "the table" if field.parent_id == ROOT else f"the struct {self._name(field.parent_id)}"
                raise InvalidInput(
                    f"{whole} would have no field left without {self._name(field.id)}",
                    kind="empty-schema",
                    hint="drop the struct itself" if field.parent_id != ROOT else "keep one column",
                )
        return replace(self, fields=left)

    def renamed(self, names: Mapping[int, str]) -> Schema:
        """The schema with other names. Raises NotFound for an unknown id, InvalidInput for a name taken or reserved."""
        for field_id in names:
            self._known(field_id)
        made = replace(self, fields=tuple(replace(f, name=names[f.id]) if f.id in names else f for f in self.fields))
        made.check_names()
        return made

    def extended(self, schema: pa.Schema, next_field_id: int) -> tuple[Schema, int]:
        """The schema with new fields at its end, and the next free id. Raises InvalidInput for a name taken."""
        added = number_fields(schema, next_field_id)
        made = replace(self, fields=self.fields + added)
        made.check_names()
        return made, next_field_id + len(added)

    def check_names(self) -> None:
        """Raise InvalidInput for siblings of the same name and for reserved names at the top."""
        seen: set[tuple[int, str]] = set()
        for field in self.fields:
            if field.parent_id == ROOT and field.name in RESERVED_NAMES:
                raise InvalidInput(
                    f"the name {field.name!r} is reserved", kind="reserved-name", hint="choose another name"
                )
            if (field.parent_id, field.name) in seen:
                raise InvalidInput(
                    f"there are two columns {self._name(field.id)}",
                    kind="duplicate-name",
                    hint="give each column a name of its own",
                )
            seen.add((field.parent_id, field.name))

    def _known(self, field_id: int) -> Field:
        if field_id not in self.by_id:
            raise NotFound(f"the schema has no field with the id {field_id}", kind="column")
        return self.by_id[field_id]

    def _name(self, field_id: int) -> str:
        return repr(join_path(self.path(field_id)))


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


_SEGMENT = re.compile(r"`((?:[^`]|``)*)`|([^.`]*)")


def split_path(path: str) -> tuple[str, ...]:
    """The names of a dotted path; back-ticks quote a name, a doubled back-tick inside is one. Raises NotFound."""
    names: list[str] = []
    position = 0
    while True:
        segment = _SEGMENT.match(path, position)
        assert segment is not None  # the second alternative matches the empty text
        quoted, plain = segment.groups()
        names.append(plain if quoted is None else quoted.replace("``", "`"))
        position = segment.end()
        if position == len(path):
            return tuple(names)
        if path[position] != ".":
            raise NotFound(
                f"there is no column {path!r}: as a path it ends at character {position}",
                kind="column",
                hint="quote names with back-ticks: `a.b`.c",
            )
        position += 1


def join_path(names: tuple[str, ...]) -> str:
    """The inverse of `split_path`: quotes only the names that need it."""
    return ".".join(name if re.fullmatch(r"[^.`]+", name) else "`" + name.replace("`", "``") + "`" for name in names)


def _not_found(path: str | tuple[str, ...], name: str, siblings: Mapping[str, Field]) -> NotFound:
    shown = path if isinstance(path, str) else join_path(path)
    near = difflib.get_close_matches(name, list(siblings), n=3, cutoff=0.5) or list(siblings)[:3]
    known = ", ".join(repr(known) for known in near)
    hint = f"the nearest names are {known}" if near else f"nothing is called {name!r} there"
    return NotFound(f"there is no column {shown!r}", kind="column", hint=hint)
