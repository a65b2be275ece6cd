"""Names of columns in SQL: how they are found in a schema, as DuckDB finds them, and how they are written."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TypeAlias

import pyarrow as pa

from lance_like.errors import InvalidInput, NotFound

Path: TypeAlias = tuple[str, ...]


def find(path: Path, schema: pa.Schema) -> tuple[Path, pa.DataType]:
    """Find a column or a field of a struct column: its path as the schema spells it, and its type."""
    field = _pick(path[0], list(schema), ())
    found = [field.name]
    for depth, name in enumerate(path[1:], start=1):
        type_ = field.type
        if not pa.types.is_struct(type_):
            raise NotFound(
                f"column {sql_path(path[:depth])} has no fields: it is {type_}",
                kind="column",
                hint=f"a column whose name holds dots is written {sql_path(('.'.join(path),))}",
            )
        field = _pick(name, [type_.field(i) for i in range(type_.num_fields)], path[:depth])
        found.append(field.name)
    return tuple(found), field.type


def find_known(path: Path, schema: pa.Schema) -> Path:
    """Find a path that DuckDB reads; what is below a column that is no struct is DuckDB's to judge."""
    field = _pick(path[0], list(schema), ())
    if len(path) == 1 or not pa.types.is_struct(field.type):
        return (field.name,)
    return find(path, schema)[0]


def has(name: str, schema: pa.Schema) -> bool:
    """Tell whether a column has a name, in any case of its ASCII letters."""
    return any(fold(name) == fold(known) for known in schema.names)


def _pick(name: str, fields: Sequence[pa.Field], parent: Path) -> pa.Field:
    exactly = [field for field in fields if field.name == name]
    near = exactly or [field for field in fields if fold(field.name) == fold(name)]
    if len(near) == 1:
        return near[0]
    owner = f"struct column {sql_path(parent)}" if parent else "the table"
    what = "field" if parent else "column"
    if near:
        names = ", ".join(repr(field.name) for field in near)
        raise InvalidInput(f"{what} {name!r} fits several names of {owner}: {names}", kind="column")
    known = [field.name for field in fields]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known[:8]
    raise NotFound(
        f"no {what} {name!r} in {owner}", kind="column", hint=f"the nearest are {', '.join(map(repr, close))}"
    )


def fold(name: str) -> str:
    """Lower the ASCII letters of a name: two names with the same fold are one name to DuckDB."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def quote(name: str) -> str:
    """Write a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def sql_path(path: Path) -> str:
    """Write a column path as SQL."""
    return ".".join(quote(name) for name in path)


__all__ = ["Path", "find", "find_known", "fold", "has", "quote", "sql_path"]
