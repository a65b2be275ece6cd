"""Filter text and SQL expressions: read by DuckDB's own parser, turned into the tree of `expr`.

Comparisons with literals, IN, BETWEEN, IS NULL, LIKE and boolean columns become nodes of their own under AND, OR
and NOT; every other part becomes the smallest `Opaque`, written back as SQL by DuckDB. What has no meaning row by
row (aggregates, windows, parameters, subqueries over tables) and text that goes on after the condition is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from lance_like.errors import InvalidInput, NotFound
from lance_like.kept import of_texts
from lance_like.query import engine_duckdb
from lance_like.query.arithmetic import MIRRORED
from lance_like.query.arrow_casts import with_casts
from lance_like.query.constants import constant_of, walk, written_back
from lance_like.query.expr import (
    BoolColumn,
    Compare,
    Expr,
    Has,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Opaque,
    all_of,
    any_of,
    like_text,
)
from lance_like.query.names import Path, find_known, quote
from lance_like.query.nodes import COMPARISONS, LIKES, OWN_SCHEMA, Node, arguments, value_of
from lance_like.query.ordered import Ordered
from lance_like.query.ordered_nodes import ordered_of
from lance_like.query.shapes import Shapes

_FILTER_HEAD = "SELECT 1 FROM t WHERE "
_EXPRESSION_HEAD = "SELECT "
_IMPLIED = 2**64 - 1  # query_location of a node that the text does not hold

# Literals, a moment in double quotes, as pylance takes it, names in these, comments, or a name in back-ticks.
_QUOTED = re.compile(
    r"""'(?:[^']|'')*'|\b(date|time|timestamp)(\s+)"([^"']*)"|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|`((?:[^`]|``)*)`""",
    re.DOTALL | re.IGNORECASE,
)

# A word where it begins, and the last one of a text.
_WORD = re.compile(r"([^\W\d]\w*)")
_LAST_WORD = re.compile(r"\b([^\W\d]\w*)\s*$")
# Of a text that cannot be parsed: each costs a millisecond.
_MOST_READINGS = 24

_PREFIXES = frozenset(["starts_with", "prefix", "^@"])
_HAS = {
    "contains": "contains",
    **dict.fromkeys(["list_contains", "array_contains", "list_has", "array_has"], "list_contains"),
    **dict.fromkeys(["list_has_any", "array_has_any", "&&"], "list_has_any"),
    **dict.fromkeys(["list_has_all", "array_has_all", "@>"], "list_has_all"),
}
_LISTS = frozenset(["list_value", "list_pack", "make_array"])
_REFUSED = {
    "WINDOW": "a window function",
    "STAR": "*",
    "DEFAULT": "DEFAULT",
    "POSITIONAL_REFERENCE": "a column by position",
}


@of_texts
def parse(text: str) -> Expr:
    """Read the text of a WHERE clause, without the word WHERE.

    Returns a condition to be bound to a schema.
    Raises InvalidInput, with a caret under the place, for what is no condition over the columns of one row.
    Cost: 1 to 3 ms the first time, then a lookup; microseconds for a text that differs from others in literals alone.
    """
    with engine_duckdb.refusing_depth():
        return _SHAPES.read(text)


def parsed(text: str) -> Expr:
    """What `parse` says of a text, all of which DuckDB is asked about. Raises as it does."""
    node, read = _node(_FILTER_HEAD, text, "filter")
    condition = node.get("where_clause")
    if condition is None or _rest(node, "where_clause") != _template(_FILTER_HEAD, "where_clause"):
        raise _goes_on(text, "filter")
    _refuse(condition, read, _FILTER_HEAD)
    return condition_of(condition)


_SHAPES = Shapes(parsed)


@of_texts
def parse_expression(text: str, what: str) -> Opaque:
    """Read one SQL expression, for `evaluate.compute_columns`. what: how errors call it.

    Raises InvalidInput as `parse` does, and for an alias.
    """
    node, read = _node(_EXPRESSION_HEAD, text, what)
    items = node.get("select_list") or []
    rest = _rest(node, "select_list")
    if len(items) != 1 or items[0].get("alias") or rest != _template(_EXPRESSION_HEAD, "select_list"):
        raise _goes_on(text, what)
    _refuse(items[0], read, _EXPRESSION_HEAD)
    return _opaque(items[0])


def tree_of(text: str) -> Node:
    """The node of an expression that was read before. Raises InvalidInput for text that is none."""
    return _node(_EXPRESSION_HEAD, text, "expression")[0]["select_list"][0]


def read_again(condition: Opaque) -> Expr:
    """The same of one that was written as SQL here, not by a caller: with what its text says."""
    has, ordered = _said(condition.sql)
    return has or replace(condition, ordered=ordered)


@of_texts
def _said(text: str) -> tuple[Has | None, Ordered | None]:
    tree = engine_duckdb.serialize(_FILTER_HEAD + text)
    if tree.get("error"):
        return None, None
    node = tree["statements"][0]["node"]["where_clause"]
    found = condition_of(node) if node.get("class") == "FUNCTION" else None
    return (found, None) if isinstance(found, Has) else (None, ordered_of(node))


def unknown_column(text: str, schema: pa.Schema) -> str:
    """Point at the first column that the text of a filter names and a schema has not; nothing if there is none.

    One between double quotes may be meant as a text, as pylance sometimes takes it: then it is said how to write that.
    """
    tree, read = _node(_FILTER_HEAD, text, "filter")
    columns = [node for node in walk(tree) if node.get("class") == "COLUMN_REF"]
    for node in sorted(columns, key=lambda node: node["query_location"]):
        try:
            find_known(tuple(node["column_names"]), schema)
        except NotFound:
            quoted = f'"{node["column_names"][0]}"' in text
            meant = "; a text stands between single quotes" if quoted else ""
            return meant + _pointer(read, node, _FILTER_HEAD)
    return ""


def _node(head: str, text: str, what: str) -> tuple[Node, str]:
    """The SELECT of a head and a text, and the text as it was read, where places in it are counted."""
    if not text.strip():
        raise InvalidInput(f"the {what} is empty", kind="filter")
    tree, read = _with_names(head, _QUOTED.sub(_quoted_as_in_sql, text))
    if not tree.get("error") and len(tree["statements"]) == 1:
        node = tree["statements"][0]["node"]
        return with_casts(node) if "arrow_" in text.lower() else node, read
    message = str(tree.get("error_message", ""))
    if "SELECT statements" in message or not tree.get("error"):
        raise _goes_on(text, what)
    place = _caret(read, tree, len(head))
    raise InvalidInput(f"cannot parse the {what}: {message}{place}", kind="filter")


def _with_names(head: str, text: str) -> tuple[dict[str, Any], str]:
    """The tree of a text; of one that cannot be parsed, with words of SQL's own read as names: `end > 5`.

    And the text that it is the tree of.
    """
    first = engine_duckdb.serialize(head + text)
    waiting = [(text, first)]
    for _ in range(_MOST_READINGS):
        if not waiting:
            break
        read, tree = waiting.pop()
        if not tree.get("error"):
            # A word behind an expression would be its alias.
            if tree is first or not any(item.get("alias") for item in _selected(tree)):
                return tree, read
            continue
        place = _place(read, tree, len(head))
        if place is None:
            continue
        # DuckDB points at the word, or at what cannot follow it; the latter is tried first.
        for found in (_WORD.match(read, place), _LAST_WORD.search(read, 0, place)):
            if found is not None:
                named = read[: found.start(1)] + quote(found[1]) + read[found.end(1) :]
                waiting.append((named, engine_duckdb.serialize(head + named)))
    return first, text


def _selected(tree: Node) -> list[Node]:
    """What the statements of a tree select."""
    return [item for statement in tree["statements"] for item in statement["node"].get("select_list") or ()]


def _quoted_as_in_sql(found: re.Match[str]) -> str:
    """Write a name in back-ticks, and a moment in double quotes, as SQL does; others stay as they are."""
    kind, space, moment, name = found.groups()
    if kind is not None:
        return f"{kind}{space}'{moment}'"
    return found[0] if name is None else quote(name.replace("``", "`"))


@lru_cache(maxsize=2)
def _template(head: str, written: str) -> dict[str, Any]:
    return _rest(engine_duckdb.serialize(head + "true")["statements"][0]["node"], written)


def _rest(node: Node, written: str) -> dict[str, Any]:
    """Answer everything of a SELECT but the one part that the caller wrote."""
    return {key: value for key, value in node.items() if key != written}


def _goes_on(text: str, what: str) -> InvalidInput:
    return InvalidInput(
        f"the {what} must be one SQL expression, and this goes on after it: {_cut(text)}", kind="filter"
    )


def _caret(text: str, error: Mapping[str, Any], head: int) -> str:
    """Show the line of a parser's error with a caret below its place."""
    place = _place(text, error, head)
    return f"\n  {_cut(text)}" if place is None else engine_duckdb.pointer(text, place)


def _place(text: str, error: Mapping[str, Any], head: int) -> int | None:
    """The character of a text at which a parser's error is; None where it does not say."""
    try:
        place = max(int(error["position"]) - head, 0)
    except (KeyError, TypeError, ValueError):
        return None
    # UTF-8 bytes from the start of the query, but characters in DuckDB 1, which gives no "location"
    return len(text.encode()[:place].decode(errors="ignore")) if "location" in error else min(place, len(text))


def _pointer(text: str, node: Node, head: str) -> str:
    """Show the line of a node with a caret below its place."""
    location = node.get("query_location")
    known = isinstance(location, int) and location != _IMPLIED
    before = text.encode()[: max(location - len(head), 0)].decode(errors="ignore") if known else ""
    return engine_duckdb.pointer(text, len(before))


def _cut(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "…")


def _refuse(node: Node, text: str, head: str) -> None:
    """Refuse what has no value for a single row. A subquery has one, when it reads no table."""
    for this in walk(node, into_subqueries=False):
        kind = this.get("class")
        found = _REFUSED.get(str(kind))
        if kind == "FUNCTION":
            name = str(this.get("function_name"))
            found = engine_duckdb.no_row_value(name)
            if this.get("filter") or this.get("distinct"):
                found = f"the aggregate {name.lower()}()"
        elif kind == "OPERATOR" and this.get("type") == "GROUPING_FUNCTION":
            found = "GROUPING()"
        if found:
            place = _pointer(text, this, head)
            raise InvalidInput(f"{found} has no value for a single row{place}", kind="filter")
    for this in walk(node):
        if this.get("type") == "BASE_TABLE" or this.get("class") == "PARAMETER":
            name = this.get("table_name")
            found = f"the table {name!r} cannot be read here" if name else "a parameter has no value for a single row"
            hint = "join tables in ds.sql" if name else "write the value into the text"
            raise InvalidInput(found, kind="filter", hint=hint + _pointer(text, this, head))


def condition_of(node: Node) -> Expr:
    """Turn a node that stands where a condition is wanted into the tree."""
    kind, type_ = node.get("class"), node.get("type")
    if kind == "CONJUNCTION":
        join = all_of if type_ == "CONJUNCTION_AND" else any_of
        return join([condition_of(child) for child in node["children"]])
    if kind == "COLUMN_REF":
        return BoolColumn(tuple(node["column_names"]))
    reader = _READERS.get(str(kind))
    try:
        found = reader(node) if reader else None
    except (KeyError, IndexError, TypeError):
        found = None  # another DuckDB, another shape: its evaluator knows it
    return found if found is not None else _opaque(node)


def _constant_condition(node: Node) -> Expr | None:
    value = constant_of(node)
    if value is None or not (pa.types.is_boolean(value.type) or pa.types.is_null(value.type)):
        return None
    return Literal(value.as_py())


def _comparison(node: Node) -> Expr | None:
    op, left, right = node["type"], node["left"], node["right"]
    if op in ("COMPARE_DISTINCT_FROM", "COMPARE_NOT_DISTINCT_FROM"):
        same = _same(left, right)
        return Not(same) if same is not None and op == "COMPARE_DISTINCT_FROM" else same
    if op not in COMPARISONS:
        return None
    op = COMPARISONS[op]
    if left["class"] != "COLUMN_REF":
        left, right, op = right, left, MIRRORED[op]
    path, value = column_of(left), constant_of(right)
    return Compare(op, path, value) if path is not None and value is not None else None


def _same(left: Node, right: Node) -> Expr | None:
    """Read `column IS NOT DISTINCT FROM literal`, which `column IS TRUE` is too."""
    value = constant_of(right)
    if value is None:
        return None
    if left["class"] == "CAST" and left["query_location"] == _IMPLIED and pa.types.is_boolean(value.type):
        path = column_of(left["child"])
        if path is None or left["try_cast"]:
            return None
        flag = BoolColumn(path)
        return all_of([Not(IsNull(path)), flag if value.as_py() else Not(flag)])
    path = column_of(left)
    if path is None:
        return None
    return all_of([Not(IsNull(path)), Compare("=", path, value)]) if value.is_valid else IsNull(path)


def _between(node: Node) -> Expr | None:
    path, lower, upper = column_of(node["input"]), constant_of(node["lower"]), constant_of(node["upper"])
    if path is None or lower is None or upper is None or not _alike([lower, upper]):
        return None
    return all_of([Compare(">=", path, lower), Compare("<=", path, upper)])


def _operator(node: Node) -> Expr | None:
    type_, children = node["type"], node["children"]
    if type_ == "OPERATOR_NOT":
        return Not(condition_of(children[0]))
    if type_ in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
        path = column_of(children[0])
        if path is None:
            return None
        return IsNull(path) if type_ == "OPERATOR_IS_NULL" else Not(IsNull(path))
    if type_ in ("COMPARE_IN", "COMPARE_NOT_IN"):
        found = _in(children[0], children[1:])
        return Not(found) if found is not None and type_ == "COMPARE_NOT_IN" else found
    return None


def _in(column: Node, nodes: list[Node]) -> Expr | None:
    path = column_of(column)
    literals = _known([constant_of(node) for node in nodes])
    if path is None or not literals or not _alike(literals):
        return None
    return In(path, _array(literals)) if any(value.is_valid for value in literals) else Literal(None)


def _known(values: list[pa.Scalar | None]) -> list[pa.Scalar]:
    """All of some values; none where one is not known."""
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else []


def _array(literals: list[pa.Scalar]) -> pa.Array:
    """Literals that are alike, one of them no null, as one array."""
    type_ = next(value.type for value in literals if value.is_valid)
    if pa.types.is_decimal(type_):
        return pa.array([value.as_py() for value in literals])
    return pa.concat_arrays([pa.repeat(value.cast(type_), 1) for value in literals])


def _alike(values: list[pa.Scalar]) -> bool:
    """Tell whether DuckDB would compare each literal as it does alone: unlike types change each other's."""
    types = [value.type for value in values if value.is_valid]
    return len({"decimal" if pa.types.is_decimal(type_) else str(type_) for type_ in types}) <= 1


def _function(node: Node) -> Expr | None:
    name, given = node["function_name"], arguments(node)
    if node["schema"] not in OWN_SCHEMA:
        return None
    if name == "regexp_match":  # a list of what matches, but pylance's users ask whether something does
        found = _opaque(node)
        return replace(found, sql=f"({found.sql} IS NOT NULL)")
    if name in _PREFIXES and len(given) == 2:
        return _prefix(*given)
    if name.lower() in _HAS and len(given) == 2:
        return _has(_HAS[name.lower()], given) or (_has("list_has_any", given[::-1]) if name == "&&" else None)
    if name not in LIKES:
        return None
    negated, case_insensitive = LIKES[name]
    path, *texts = column_of(given[0]), *map(constant_of, given[1:])
    words = [text.as_py() for text in texts if text is not None and pa.types.is_string(text.type)]
    if path is None or len(words) != len(texts):
        return None
    like = Like(path, *words, case_insensitive=case_insensitive)
    return Not(like) if negated else like


def _has(function: str, given: list[Node]) -> Has | None:
    """A column with values among its items, or a text in its text."""
    path, of = column_of(given[0]), given[1]
    values = _known([constant_of(item) for item in _items(of)] if "has" in function else [constant_of(of)])
    if path is None or not values or not _alike(values) or not all(value.is_valid for value in values):
        return None
    return Has(function, path, _array(values))


def _items(node: Node) -> list[Node]:
    """The items of a list that is written out; none for anything else."""
    is_list = node.get("class") == "FUNCTION" and node["function_name"] in _LISTS
    return arguments(node) if is_list else []


def _prefix(of: Node, text: Node) -> Like | None:
    """Text that begins with a text, as a pattern, by which zones are judged."""
    path, begins = column_of(of), constant_of(text)
    if path is None or begins is None or not begins.is_valid or not pa.types.is_string(begins.type):
        return None
    return Like(path, like_text(begins.as_py()) + "%", "\\")


_READERS: dict[str, Callable[[Node], Expr | None]] = {
    "CONSTANT": _constant_condition,
    "CAST": _constant_condition,
    "COMPARISON": _comparison,
    "BETWEEN": _between,
    "OPERATOR": _operator,
    "FUNCTION": _function,
}


def column_of(node: Node) -> Path | None:
    """The path of a column, as it is spelled; None for anything else."""
    return tuple(node["column_names"]) if node.get("class") == "COLUMN_REF" else None


def _opaque(node: Node) -> Opaque:
    columns, maybe = _references(node)
    value, ordered = value_of(node), ordered_of(node)  # before the node is written back, which may change it
    return Opaque(written_back(node), columns, maybe, value, ordered=ordered)


def _references(node: Node) -> tuple[frozenset[Path], frozenset[Path]]:
    """Name the columns below a node, and apart those that may be parameters of a lambda or columns of a subquery."""
    found: set[Path] = set()
    parameters: set[str] = set()
    for this in walk(node):
        if this.get("class") == "COLUMN_REF":
            found.add(tuple(this["column_names"]))
        elif this.get("class") == "LAMBDA":
            # x -> y may also take a part out of the JSON column x
            names = [part for part in walk(this["lhs"]) if part.get("class") == "COLUMN_REF"]
            parameters.update(part["column_names"][0] for part in names)
        elif this.get("class") == "SUBQUERY":
            inside = [part for part in walk(this["subquery"]) if part.get("class") == "COLUMN_REF"]
            parameters.update(part["column_names"][0] for part in inside)
    maybe = frozenset(path for path in found if path[0] in parameters)
    return frozenset(found) - maybe, maybe


__all__ = [
    "column_of",
    "condition_of",
    "parse",
    "parse_expression",
    "parsed",
    "tree_of",
    "unknown_column",
]
