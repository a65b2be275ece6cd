"""Nodes of DuckDB's JSON tree that compare a value that rises with one column: read as `Ordered`."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from lance_like.query.arithmetic import MIRRORED
from lance_like.query.constants import folded, walk, written_back
from lance_like.query.names import Path
from lance_like.query.nodes import COMPARISONS, OWN_SCHEMA, Node, arguments, literal, type_name
from lance_like.query.ordered import PLACE, Family, Ordered, compared, family_of

_NUMBER, _MOMENT, _TEXT = Family.NUMBER, Family.MOMENT, Family.TEXT
# fmt: off
_CASTS = {
    _NUMBER: frozenset([
        "TINYINT", "SMALLINT", "INTEGER", "INT", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
        "UHUGEINT", "INT1", "INT2", "INT4", "INT8", "FLOAT", "REAL", "FLOAT4", "FLOAT8", "DOUBLE", "DECIMAL",
        "NUMERIC",
    ]),
    _MOMENT: frozenset([
        "DATE", "TIMESTAMP", "DATETIME", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_US", "TIMESTAMP_NS", "TIMESTAMPTZ",
        "TIMESTAMP WITH TIME ZONE",
    ]),
}
# Functions of one argument that keep its order (in UTC, as moments are here): by the family of the argument.
_FUNCTIONS = {
    **{(name, _NUMBER): _NUMBER for name in ("floor", "ceil", "ceiling", "trunc", "round")},
    **{(name, _MOMENT): _NUMBER for name in (
        "year", "isoyear", "decade", "century", "millennium", "epoch", "epoch_ms", "epoch_us", "epoch_ns", "julian",
    )},
    ("last_day", _MOMENT): _MOMENT,
    ("to_timestamp", _NUMBER): _MOMENT,
}
_PARTS = frozenset(["year", "isoyear", "decade", "century", "millennium", "epoch", "era", "julian"])
# fmt: on


def ordered_of(node: Node) -> Ordered | None:
    """Read a node; None when it is none of these, or has another shape in this DuckDB."""
    try:
        match node["class"]:
            case "COMPARISON":
                return _comparison(node)
            case "BETWEEN":
                return _compared(node["input"], "BETWEEN", [node["lower"], node["upper"]])
            case "OPERATOR" if node["type"] in ("COMPARE_IN", "COMPARE_NOT_IN"):
                found = _compared(node["children"][0], "IN", node["children"][1:])
                return found.opposite() if found and node["type"] == "COMPARE_NOT_IN" else found
    except (KeyError, IndexError, TypeError, ValueError):
        pass
    return None


def _comparison(node: Node) -> Ordered | None:
    op = COMPARISONS[node["type"]]
    left, right = node["left"], node["right"]
    return _compared(left, op, [right]) or _compared(right, MIRRORED[op], [left])


def _compared(value: Node, op: str, nodes: Sequence[Node]) -> Ordered | None:
    is_column = value["class"] == "COLUMN_REF"
    families = None if is_column else _families(value)
    literals = [] if families is None and not is_column else [folded(deepcopy(node)) for node in nodes]
    known = [one for one in literals if one is not None]
    if not known or len(known) < len(nodes):
        return None
    if families is None:
        # What other columns are compared with in their own order becomes nodes of the tree, not this.
        if family_of(known[0].type) is not Family.SPAN:
            return None
        families = (Family.SPAN, Family.SPAN)
    value = deepcopy(value)
    [column] = [one for one in walk(value) if one.get("class") == "COLUMN_REF"]
    path: Path = tuple(column["column_names"])
    column["column_names"] = [PLACE.strip('"')]
    return compared(path, families, op, known, written_back(value))


def _families(node: Node) -> tuple[Family, Family] | None:
    """The family of the column that a value rises with, and its own; None for values that may fall, and columns."""
    match node["class"]:
        case "CAST":
            own = next((family for family, names in _CASTS.items() if type_name(node) in names), None)
            return None if own is None else _over(node["child"], own, own)
        case "FUNCTION" if node["schema"] in OWN_SCHEMA:
            return _of_function(node["function_name"].lower(), arguments(node))
    return None


def _of_function(name: str, given: Sequence[Node]) -> tuple[Family, Family] | None:
    match name, given:
        case _, [value]:
            for (known, of), own in _FUNCTIONS.items():
                if known == name and (found := _over(value, of, own)):
                    return found
        case "date_part" | "datepart", [part, value] if _text(part) in _PARTS:
            return _over(value, _MOMENT, _NUMBER)
        case "date_trunc" | "datetrunc", [part, value] if _text(part) is not None:
            return _over(value, _MOMENT, _MOMENT)
        case "left", [value, count] if _whole(count) is not None:
            return _over(value, _TEXT, _TEXT)
        case "substring" | "substr", [value, first, count] if _whole(first) == 1 and _whole(count) is not None:
            return _over(value, _TEXT, _TEXT)
    return None


def _over(node: Node, of: Family, own: Family) -> tuple[Family, Family] | None:
    """The families of a function, which takes one and gives another, of a node."""
    if node["class"] == "COLUMN_REF":
        return of, own
    inner = _families(node)
    return (inner[0], own) if inner is not None and inner[1] is of else None


def _text(node: Node) -> str | None:
    kind, text = literal(node) if node["class"] == "CONSTANT" else ("", "")
    return text.lower() if kind == "STRING" else None


def _whole(node: Node) -> int | None:
    """A literal of a whole number from 0 on."""
    kind, text = literal(node) if node["class"] == "CONSTANT" else ("", "")
    return int(text) if kind == "INTEGER" and int(text) >= 0 else None


__all__ = ["ordered_of"]
