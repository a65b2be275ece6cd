"""The schema of a table: fields with ids that are never used twice (format_spec/table.md, "Schema part").

Every field is a column of the files, depth first. A struct has the type struct<> and its children are fields of
their own; fields inside lists, maps and fixed-size lists belong to their column's type. Pure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from lance_like._lazy import cached
from lance_like.encodings.places import DESCRIPTION
from lance_like.errors import InvalidInput, NotFound
from lance_like.file.columns import MAX_DEPTH
from lance_like.table.fields import (
    ROOT,
    Alteration,
    DescribedFields,
    Field,
    Fields,
    HeldFields,
    arrow_fields,
    is_blob,
    number_fields,
)

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


@dataclass(frozen=True)
class Schema:
    """All fields of a version and the metadata of the whole. A field that nothing asks for is not read."""

    source: Fields

    @staticmethod
    def of(fields: tuple[Field, ...], metadata: dict[bytes, bytes]) -> Schema:
        """The schema of fields in memory, depth first."""
        return Schema(HeldFields(fields, metadata))

    @staticmethod
    def from_arrow(schema: pa.Schema, next_field_id: int) -> tuple[Schema, int]:
        """Give every field of an Arrow schema a fresh id. Returns the schema and the next free id.

        Raises InvalidInput for reserved names and for siblings of the same name.
        """
        fields = number_fields(schema, next_field_id)
        made = Schema.of(fields, dict(schema.metadata or {}))
        made.check_names()
        return made, next_field_id + len(fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and (self.fields, self.metadata) == (other.fields, other.metadata)

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields, depth first; made once and remembered."""
        return self.source.all()

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """The metadata of the whole."""
        return self.source.metadata

    @cached
    def _arrow(self) -> pa.Schema:
        return pa.schema(arrow_fields(self.fields), metadata=self.metadata or None)

    def to_arrow(self) -> pa.Schema:
        """The Arrow schema; made once and remembered."""
        return self._arrow

    def missing(self, ids: Iterable[int]) -> list[int]:
        """Those of some ids that no field has."""
        return [field_id for field_id in ids if self.source.position(field_id) is None]

    def field(self, field_id: int) -> Field:
        """The field with an id. Raises NotFound."""
        position = self.source.position(field_id)
        if position is None:
            raise NotFound(f"the schema has no field with the id {field_id}", kind="column")
        return self.source.at(position)

    def children(self, field_id: int = ROOT) -> Sequence[Field]:
        """The fields directly below a struct, or at the top, in order."""
        return self.source.children(field_id)

    def child(self, name: str, field_id: int = ROOT) -> Field | None:
        """The field of exactly this name directly below a struct, or at the top; None when there is none."""
        return self.source.child(field_id, name)

    def path(self, field_id: int) -> tuple[str, ...]:
        """The names from the top down to a field."""
        names: list[str] = []
        while field_id != ROOT:
            field = self.field(field_id)
            names.append(field.name)
            field_id = field.parent_id
        return tuple(reversed(names))

    def subtree(self, field_id: int) -> tuple[int, ...]:
        """The ids of a field and of all below it, depth first."""
        below = (self.subtree(child.id) for child in self.children(field_id))
        return (field_id, *(found for ids in below for found in ids))

    def arrow_field(self, field_id: int) -> pa.Field:
        """One field as Arrow has it, a struct with its children."""
        field = self.field(field_id)
        below = [self.arrow_field(child.id) for child in self.children(field_id)]
        kind = pa.struct(below) if field.is_struct else field.type
        return pa.field(field.name, kind, field.nullable, field.metadata or None)

    def find(self, path: str | tuple[str, ...]) -> Field:
        """The field that a path names.

        path: a top-level name exactly as it is; or names joined with dots, where back-ticks quote a name that
        has dots (`a.b`.c; a doubled back-tick is one); or a tuple of names.
        Raises NotFound, naming the nearest known names; InvalidInput for what is no name.
        """
        if not isinstance(path, str | tuple):
            raise InvalidInput(f"{path!r:.80} names no column: expected a text")
        found = self.child(path) if isinstance(path, str) else None
        if found is not None:
            return found
        parent = ROOT
        for name in split_path(path) if isinstance(path, str) else path:
            found = self.child(name, parent)
            if found is None:
                raise self._not_found(path, name, parent)
            parent = found.id
        if found is None:
            raise self._not_found(path, "", ROOT)
        return found

    def find_in_any_case(self, path: str) -> Field:
        """As `find`; where no field is called exactly this, the one that is but for the case of letters.

        Raises InvalidInput where several are.
        """
        try:
            return self.find(path)
        except NotFound:
            wanted = [name.casefold() for name in split_path(path)]
            near = [field for field in self.fields if [name.casefold() for name in self.path(field.id)] == wanted]
            if not near:
                raise
        if len(near) > 1:
            raise InvalidInput(f"{path!r} fits {len(near)} fields but for the case of letters", kind="column")
        return near[0]

    def holder(self, path: tuple[str, ...]) -> Field:
        """The field that holds what a path names: the field itself, or the description that it is a part of.

        Raises NotFound.
        """
        for end in range(1, len(path)):
            field = self.find(path[:end])
            if field.type.equals(DESCRIPTION):
                return field
        return self.find(path)

    @cached
    def described(self) -> Schema:
        """The schema with descriptions in the place of blobs."""
        return self.describing(is_blob)

    def describing(self, chosen: Callable[[Field], bool]) -> Schema:
        """The schema with descriptions in the place of some fields of bytes or text."""
        return Schema(DescribedFields(self.source, chosen))

    def project(self, ids: Iterable[int]) -> Schema:
        """Only some fields, with the structs above them and all that lies below them; the order stays."""
        kept: set[int] = set()
        for field_id in ids:
            kept.update(self.subtree(field_id))
            parent = self.field(field_id).parent_id
            while parent != ROOT:
                kept.add(parent)
                parent = self.field(parent).parent_id
        places = sorted(place for field_id in kept if (place := self.source.position(field_id)) is not None)
        return Schema.of(tuple(self.source.at(place) for place in places), self.metadata)

    def without(self, ids: Iterable[int]) -> Schema:
        """The schema less some fields and all below them.

        Raises NotFound for an unknown id, InvalidInput when a struct or the table would have no field left.
        """
        gone = {below for field_id in ids for below in self.subtree(self.field(field_id).id)}
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
        return Schema.of(left, self.metadata)

    def altered(self, changes: Mapping[int, Alteration], fresh: Mapping[int, int]) -> Schema:
        """The schema with other names, nullabilities and types. fresh: the new ids of fields of other types.

        Raises NotFound for an unknown id, InvalidInput for a name taken or reserved, or a type for a struct.
        """
        for field_id in changes:
            if self.field(field_id).is_struct and field_id in fresh:
                raise InvalidInput(f"{self._name(field_id)} is a struct, its type is that of its fields", kind="type")
        fields = tuple(_altered(f, changes[f.id], fresh) if f.id in changes else f for f in self.fields)
        made = Schema.of(fields, self.metadata)
        made.check_names()
        return made

    def annotated(self, metadata: dict[bytes, bytes], of_fields: Mapping[int, dict[bytes, bytes]]) -> Schema:
        """The schema with other metadata, of the whole and of some fields by id."""
        fields = tuple(f._replace(metadata=of_fields[f.id]) if f.id in of_fields else f for f in self.fields)
        return Schema.of(fields, metadata)

    def extended(
        self, schema: pa.Schema, next_field_id: int, parents: Sequence[int] = ()
    ) -> tuple[Schema, tuple[int, ...]]:
        """The schema with new fields, each after the last of its parent, and the ids of these, depth first.

        parents: of each field of the Arrow schema; () when all go to the top.
        Raises InvalidInput for a name taken or a parent that is no struct, NotFound for one that is not there.
        """
        holders = parents or [ROOT] * len(schema)
        added = number_fields(schema, next_field_id)
        tops = iter(holders)
        added = tuple(f._replace(parent_id=next(tops)) if f.parent_id == ROOT else f for f in added)
        for parent in set(holders) - {ROOT}:
            if not self.field(parent).is_struct:
                raise InvalidInput(f"{self._name(parent)} is no struct, it cannot have fields", kind="type")
        fields = self.fields + added
        made = Schema.of(fields if set(holders) <= {ROOT} else _depth_first(fields), self.metadata)
        made.check_names()
        if holders and max(len(made.path(field.id)) for field in added) > MAX_DEPTH:
            raise InvalidInput(f"structs nested deeper than {MAX_DEPTH} cannot be stored", kind="limit")
        return made, tuple(field.id for field in added)

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

    def _name(self, field_id: int) -> str:
        return repr(join_path(self.path(field_id)))

    def _not_found(self, path: str | tuple[str, ...], name: str, parent_id: int) -> NotFound:
        shown = path if isinstance(path, str) else join_path(path)
        siblings = [field.name for field in self.children(parent_id)]
        near = difflib.get_close_matches(name, siblings, n=3, cutoff=0.5) or siblings[:3]
        known = ", ".join(repr(known) for known in near)
        hint = f"the nearest names are {known}" if near else f"nothing is called {name!r} there"
        return NotFound(f"the column {shown!r} does not exist", kind="column", hint=hint)


def _altered(field: Field, change: Alteration, fresh: Mapping[int, int]) -> Field:
    return field._replace(
        id=fresh.get(field.id, field.id),
        name=field.name if change.name is None else change.name,
        nullable=field.nullable if change.nullable is None else change.nullable,
        type=field.type if change.type is None else change.type,
    )


def _depth_first(fields: Sequence[Field]) -> tuple[Field, ...]:
    """Fields in the order of a schema: each struct before its own, siblings as they come."""
    below: dict[int, list[Field]] = {}
    for field in fields:
        below.setdefault(field.parent_id, []).append(field)
    ordered: list[Field] = []
    waiting = below.get(ROOT, [])[::-1]
    while waiting:
        field = waiting.pop()
        ordered.append(field)
        waiting += below.get(field.id, [])[::-1]
    return tuple(ordered)


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
                f"the column {path!r} does not exist: as a path it ends at character {position}",
                kind="column",
                hint="quote names with back-ticks: `a.b`.c",
            )
        position += 1


def join_path(names: tuple[str, ...]) -> str:
    """The inverse of `split_path`: quotes only the names that need it."""
    return ".".join(name if re.fullmatch(r"[^.`]+", name) else "`" + name.replace("`", "``") + "`" for name in names)
