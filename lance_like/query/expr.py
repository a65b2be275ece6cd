"""The filter tree: its nodes, the columns it needs, and how it is bound to a schema.

A node is true, false or unknown for a row, as in SQL; the meaning of every node is DuckDB's, with NaN equal to
itself and above every number, and a time without zone read as UTC. Binding finds each column and turns each literal
into the column's own type where that changes no answer; where it might, the node becomes `Opaque` and DuckDB decides.
`str(node)` is SQL. Nothing here reads rows (`evaluate`) or statistics (`prune`), or imports DuckDB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from lance_like.encodings.joining import holds
from lance_like.query.arithmetic import Value, bind_value
from lance_like.query.literals import comparison_type, exact, exact_values, is_text, item_type
from lance_like.query.names import Path, find, find_known, has, sql_path
from lance_like.query.ordered import Ordered, compared, family_of
from lance_like.query.patterns import Wild, parts_of
from lance_like.query.spelling import sql_of

if TYPE_CHECKING:
    import pyarrow.compute as pc


# More values that lists are to have are looked for longer, one by one, than DuckDB takes.
_MOST_HAD = 64
# What a node takes, about; and a condition that counts as one among what is kept of them.
_NODE_NBYTES, _SMALL_NBYTES = 256, 256 << 10


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more conditions."""

    children: tuple[Expr, ...]

    def __str__(self) -> str:
        return " AND ".join(_grouped(child) for child in self.children)


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more conditions."""

    children: tuple[Expr, ...]

    def __str__(self) -> str:
        return " OR ".join(_grouped(child) for child in self.children)


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; unknown stays unknown."""

    child: Expr

    def __str__(self) -> str:
        return f"NOT ({self.child})"


@dataclass(frozen=True, slots=True)
class Literal:
    """True, false or unknown (None) for every row."""

    value: bool | None

    def __str__(self) -> str:
        return "CAST(NULL AS BOOLEAN)" if self.value is None else str(self.value).upper()


@dataclass(frozen=True, slots=True)
class BoolColumn:
    """A boolean column as a condition."""

    path: Path

    def __str__(self) -> str:
        return sql_path(self.path)


@dataclass(frozen=True, slots=True)
class Compare:
    """A column against a literal. op: one of `arithmetic.MIRRORED`."""

    op: str
    path: Path
    value: pa.Scalar

    def __str__(self) -> str:
        return f"{sql_path(self.path)} {self.op} {sql_of(self.value)}"


@dataclass(frozen=True, slots=True)
class In:
    """A column equal to one of some literals; a null among them makes every other row unknown.

    values: one array, not empty.
    """

    path: Path
    values: pa.Array

    def __str__(self) -> str:
        return f"{sql_path(self.path)} IN ({', '.join(sql_of(value) for value in self.values)})"


@dataclass(frozen=True, slots=True)
class IsNull:
    """A column without a value; true or false, never unknown."""

    path: Path

    def __str__(self) -> str:
        return f"{sql_path(self.path)} IS NULL"


@dataclass(frozen=True, slots=True)
class Like:
    """A text column that matches a pattern of `%` and `_`. escape: "" or one character."""

    path: Path
    pattern: str
    escape: str = ""
    case_insensitive: bool = False

    def __str__(self) -> str:
        word = "ILIKE" if self.case_insensitive else "LIKE"
        escape = f" ESCAPE {sql_of(pa.scalar(self.escape))}" if self.escape else ""
        return f"{sql_path(self.path)} {word} {sql_of(pa.scalar(self.pattern))}{escape}"


@dataclass(frozen=True, slots=True)
class Has:
    """A list with one of some values among its items, or with all of them; `contains` is of texts too.

    function: `contains`, `list_contains`, `list_has_any` or `list_has_all`.
    values: one array, not empty, without nulls; of one value for the first two.
    """

    function: str
    path: Path
    values: pa.Array

    def __str__(self) -> str:
        values = ", ".join(sql_of(value) for value in self.values)
        return f"{self.function}({sql_path(self.path)}, {f'[{values}]' if 'has' in self.function else values})"


@dataclass(frozen=True, slots=True, eq=False)
class ArrowCall:
    """A function of pyarrow's over the rows, whose values are a column of the SQL around it.

    name: of that column. arguments: paths of columns, literals, or SQL over the columns and the calls before it.
    """

    name: str
    function: str
    arguments: tuple[Path | pa.Scalar | str, ...]
    options: pc.FunctionOptions | None


@dataclass(frozen=True, slots=True)
class Opaque:
    """An expression that DuckDB evaluates; as a condition, its value counts as a boolean.

    columns: the paths it names.
    maybe: paths that are columns if the schema has them, else parameters of a lambda.
    value: the same as arithmetic, which is tried first; None: it is none.
    calls: parts that pyarrow computes before, in this order.
    unions: bound, the columns that hold a union, by name, and their types: rows carry them as structs.
    ordered: what bounds of one column say of it; None: nothing.
    """

    sql: str
    columns: frozenset[Path]
    maybe: frozenset[Path] = frozenset()
    value: Value | None = None
    calls: tuple[ArrowCall, ...] = ()
    unions: tuple[tuple[str, pa.DataType], ...] = ()
    ordered: Ordered | None = None

    def __str__(self) -> str:
        return self.sql


_Leaf: TypeAlias = BoolColumn | Compare | In | IsNull | Like | Has
Expr: TypeAlias = And | Or | Not | Literal | BoolColumn | Compare | In | IsNull | Like | Has | Opaque


def all_of(conditions: Iterable[Expr]) -> Expr:
    """Join conditions by AND; none gives TRUE, nested ANDs become one."""
    flat = [part for condition in conditions for part in conjuncts(condition)]
    return And(tuple(flat)) if len(flat) > 1 else flat[0] if flat else Literal(True)


def any_of(conditions: Iterable[Expr]) -> Expr:
    """Join conditions by OR; none gives FALSE, nested ORs become one."""
    flat: list[Expr] = []
    for condition in conditions:
        flat.extend(condition.children if isinstance(condition, Or) else (condition,))
    return Or(tuple(flat)) if len(flat) > 1 else flat[0] if flat else Literal(False)


def conjuncts(condition: Expr) -> tuple[Expr, ...]:
    """Split at the outermost ANDs: a row passes if it passes each part."""
    if not isinstance(condition, And):
        return (condition,)
    return tuple(part for child in condition.children for part in conjuncts(child))


def paths(condition: Expr) -> frozenset[Path]:
    """Name the leaf columns that a bound condition needs; a path may end at a whole struct."""
    match condition:
        case And(children) | Or(children):
            return reduce(frozenset.union, map(paths, children), frozenset())
        case Not(child):
            return paths(child)
        case Literal():
            return frozenset()
        case Opaque():
            return condition.columns
        case _:
            return frozenset([condition.path])


def top_names(condition: Expr) -> frozenset[str]:
    """Name the top-level columns that a condition may mean, as it spells them."""
    match condition:
        case And(children) | Or(children):
            return reduce(frozenset.union, map(top_names, children), frozenset())
        case Not(child):
            return top_names(child)
        case Literal():
            return frozenset()
        case Opaque(_, columns, maybe):
            return frozenset(path[0] for path in columns | maybe)
        case _:
            return frozenset([condition.path[0]])


def opaque_of(condition: Expr) -> Opaque:
    """Turn a condition into the expression of a column of booleans."""
    if isinstance(condition, Opaque):
        return condition
    inside = list(opaques(condition))
    maybe = frozenset(path for one in inside for path in one.maybe)
    calls = tuple(call for one in inside for call in one.calls)
    return Opaque(str(condition), paths(condition), maybe, calls=calls)


def opaques(condition: Expr) -> Iterator[Opaque]:
    """The parts of a condition that DuckDB evaluates."""
    match condition:
        case And(children) | Or(children):
            for child in children:
                yield from opaques(child)
        case Not(child):
            yield from opaques(child)
        case Opaque():
            yield condition


def depth_of(condition: Expr) -> int:
    """How deep the parts of a condition are nested; 1 for one without parts."""
    deepest, left = 0, [(condition, 1)]
    while left:
        part, depth = left.pop()
        deepest = max(deepest, depth)
        inside = part.children if isinstance(part, And | Or) else (part.child,) if isinstance(part, Not) else ()
        left.extend((child, depth + 1) for child in inside)
    return deepest


def nbytes_of(condition: Expr) -> int:
    """About how many bytes a condition takes in memory."""
    nbytes, left = 0, [condition]
    while left:
        match left.pop():
            case And(children) | Or(children):
                left.extend(children)
            case Not(child):
                left.append(child)
            case In(values=values) | Has(values=values):
                nbytes += values.nbytes
            case Opaque(sql=text) | Like(pattern=text):
                nbytes += len(text)
            case Compare(value=value) if is_text(value.type) and value.is_valid:
                nbytes += len(value.as_py())
            case _:
                pass
        nbytes += _NODE_NBYTES
    return nbytes


def room_of(objects: Iterable[object], key: object = None) -> int:
    """In the place of how many small conditions those among some objects count, for `MadeOf`."""
    return 1 + sum(nbytes_of(one) for one in objects if isinstance(one, Expr)) // _SMALL_NBYTES


def like_text(text: str) -> str:
    """Write a text as a part of a pattern whose escape is a backslash."""
    return "".join("\\" + letter if letter in "\\%_" else letter for letter in text)


def like_parts(condition: Like) -> tuple[str | Wild, ...]:
    """Split a pattern into texts and wild cards; neighbouring texts are one.

    Raises InvalidInput if the escape is longer than one character or the pattern ends with it.
    """
    return parts_of(condition.pattern, condition.escape)


def bind(condition: Expr, schema: pa.Schema) -> Expr:
    """Find the columns of a condition in a schema and cast its literals to their types.

    Names match as in DuckDB: exactly, else without regard to ASCII case. Binding again changes nothing.
    Returns a condition whose paths are spelled as in the schema; what cannot be cast exactly is `Opaque`.
    Raises NotFound naming the nearest columns, InvalidInput for a name that fits several.
    """
    match condition:
        case And(children):
            return all_of(bind(child, schema) for child in children)
        case Or(children):
            return any_of(bind(child, schema) for child in children)
        case Not(child):
            return Not(bind(child, schema))
        case Literal():
            return condition
        case Opaque():
            bound = bind_opaque(condition, schema)
            judges = bound.value is not None and bound.value.type == pa.bool_()
            ordered = None if condition.ordered is None else condition.ordered.bound(schema)
            return replace(bound, value=bound.value if judges else None, ordered=ordered)
        case _:
            return _bind_leaf(condition, schema)


def bind_opaque(expression: Opaque, schema: pa.Schema) -> Opaque:
    """Find the columns of an expression in a schema. Raises as `bind`."""
    found = {find_known(path, schema) for path in expression.columns}
    found |= {find_known(path, schema) for path in expression.maybe if has(path[0], schema)}
    value = None
    with suppress(RecursionError):  # DuckDB computes what is nested too deeply for this
        value = None if expression.value is None else bind_value(expression.value, schema)
    calls = tuple(_bind_call(call, schema) for call in expression.calls)
    return Opaque(expression.sql, frozenset(found), value=value, calls=calls, unions=_unions(found, schema))


def _unions(found: Iterable[Path], schema: pa.Schema) -> tuple[tuple[str, pa.DataType], ...]:
    kinds = {path[0]: schema.field(path[0]).type for path in found}
    return tuple((name, kind) for name, kind in kinds.items() if holds(kind, pa.types.is_union))


def _bind_call(call: ArrowCall, schema: pa.Schema) -> ArrowCall:
    found = (find(given, schema)[0] if isinstance(given, tuple) else given for given in call.arguments)
    return replace(call, arguments=tuple(found))


def _bind_leaf(leaf: _Leaf, schema: pa.Schema) -> Expr:
    top = find_known(leaf.path, schema)
    if pa.types.is_union(schema.field(top[0]).type):
        return Opaque(str(leaf), frozenset([top]), unions=_unions([top], schema))
    path, type_ = find(leaf.path, schema)
    leaf = replace(leaf, path=path)
    bound = _bind_has(leaf, type_) if isinstance(leaf, Has) else _cast(leaf, comparison_type(type_))
    if bound is not None:
        return bound
    return Opaque(str(leaf), frozenset([path]), unions=_unions([path], schema), ordered=_ordered(leaf, schema, type_))


def _bind_has(leaf: Has, type_: pa.DataType) -> Has | Like | None:
    """Give values the type in which items are compared; None if only DuckDB can judge them, or judges many as well."""
    item, to = item_type(type_), comparison_type(type_)
    text = leaf.values[0].as_py() if leaf.function == "contains" and is_text(leaf.values.type) else None
    if text == "":
        return None  # which every list contains too, says DuckDB
    if item is None:
        if text is None or to is None or not is_text(to):
            return None
        return Like(leaf.path, f"%{like_text(text)}%", "\\")
    of_items = comparison_type(item)
    values = None if of_items is None or len(leaf.values) > _MOST_HAD else exact_values(leaf.values, of_items)
    return None if values is None else replace(leaf, values=values)


def _ordered(leaf: _Leaf, schema: pa.Schema, kind: pa.DataType) -> Ordered | None:
    """What bounds say of a column and literals that only DuckDB compares."""
    family = family_of(kind)
    match leaf:
        case Compare(op, path, value) if family is not None:
            found = compared(path, (family, family), op, [value])
        case In(path, values) if family is not None:
            found = compared(path, (family, family), "IN", list(values))
        case _:
            return None
    return None if found is None else found.bound(schema)


def _cast(leaf: _Leaf, to: pa.DataType | None) -> Expr | None:
    """Give a leaf the type in which its column is compared; None if only DuckDB can judge it."""
    if isinstance(leaf, IsNull):
        return leaf
    if isinstance(leaf, Compare) and not leaf.value.is_valid:
        return Literal(None)
    if to is None:
        return None
    match leaf:
        case BoolColumn():
            return leaf if pa.types.is_boolean(to) else None
        case Compare(op, path, value):
            cast = exact(value, to)
            return None if cast is None else Compare(op, path, cast)
        case In(path, values):
            casts = exact_values(values, to)
            return None if casts is None else In(path, casts)
        case Like():
            like_parts(leaf)  # raises for a pattern that has no meaning
            return leaf if is_text(to) else None


def _grouped(condition: Expr) -> str:
    return f"({condition})" if isinstance(condition, And | Or) else str(condition)


__all__ = [
    "And",
    "ArrowCall",
    "BoolColumn",
    "Compare",
    "Expr",
    "Has",
    "In",
    "IsNull",
    "Like",
    "Literal",
    "Not",
    "Opaque",
    "Or",
    "Wild",
    "all_of",
    "any_of",
    "bind",
    "bind_opaque",
    "conjuncts",
    "depth_of",
    "like_parts",
    "like_text",
    "nbytes_of",
    "opaque_of",
    "opaques",
    "paths",
    "room_of",
    "top_names",
]
