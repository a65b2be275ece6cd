"""SQL that only DuckDB evaluates, read as a question about one column where it is one: what an index may answer.

| SQL | read as |
|---|---|
| `regexp_matches`, `~`, `regexp_like`, `regexp_full_match`, `SIMILAR TO` | `Matches` |
| a comparison with a number that only DuckDB rounds as it does | what it is compared with, about |
| a condition on the value at one JSON path | the same on a column |

`Matches` is true of the same rows as the SQL; where it is not true, the SQL is false or, for a null, unknown.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lance_like.errors import InvalidInput
from lance_like.index.questions import Matches
from lance_like.kept import of_texts
from lance_like.query.constants import constant_of
from lance_like.query.expr import Compare, Expr, paths
from lance_like.query.literals import is_text
from lance_like.query.nodes import OWN_SCHEMA, Node, arguments, type_name
from lance_like.query.sql import column_of, condition_of, tree_of

_REGEXES = {"regexp_matches": False, "regexp_like": False, "regexp_full_match": True}


@of_texts
def matches_of(sql: str) -> Matches | None:
    """Read an expression as a search for a regular expression. Cost: about a millisecond for a new text."""
    try:
        node = tree_of(sql)
        whole, given = _REGEXES.get(str(node["function_name"]).lower()), arguments(node)
        if whole is None or node["schema"] not in OWN_SCHEMA or len(given) != 2 or column_of(given[0]) is None:
            return None
        pattern = constant_of(given[1])
    except (InvalidInput, KeyError, IndexError, TypeError):
        return None  # another DuckDB, another shape
    if pattern is None or not pattern.is_valid or not is_text(pattern.type):
        return None
    return Matches(pattern.as_py(), whole)


@of_texts
def comparison_of(sql: str) -> tuple[str, float] | None:
    """Read a comparison of a column with a finite number: how they are compared, and about the number."""
    try:
        node = tree_of(sql)
        found = condition_of(node) if node.get("class") == "COMPARISON" else None
        if not isinstance(found, Compare) or not found.value.is_valid:
            return None
        number = float(found.value.as_py()) if not is_text(found.value.type) else math.nan
    except (InvalidInput, KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None
    return (found.op, number) if math.isfinite(number) else None


VALUE = "value"
"""What the value at a JSON path is called in a condition on it."""

_EXTRACTIONS = {
    "->>": "string",
    "json_extract_string": "string",
    "json_extract_path_text": "string",
    "json_get_string": "string",
    "json_get_int": "int64",
    "json_get_float": "double",
    "json_get_bool": "bool",
}
_CASTS = {"BIGINT": "int64", "INT8": "int64", "LONG": "int64", "DOUBLE": "double", "FLOAT8": "double"}
_CASTS |= {"BOOLEAN": "bool", "BOOL": "bool", "VARCHAR": "string", "TEXT": "string", "STRING": "string"}
_KEY = re.compile(r'\.(?:([A-Za-z_]\w*)|"([^"\\]+)")')


@dataclass(frozen=True, slots=True)
class JsonPlace:
    """A value in the JSON texts of a column. keys: of the objects that it lies in. type: a name of a type of values."""

    keys: tuple[str, ...]
    type: str


@of_texts
def json_condition(sql: str) -> tuple[JsonPlace, Expr] | None:
    """Read a condition on the value at one JSON path as one on a column `VALUE`. Cost: as `matches_of`."""
    try:
        node = tree_of(sql)
        places: set[JsonPlace] = set()
        found = condition_of(_with_values(node, places))
    except (InvalidInput, KeyError, IndexError, TypeError):
        return None
    plain = all(path == (VALUE,) for path in paths(found))
    return (places.pop(), found) if len(places) == 1 and plain else None


def json_keys(path: str) -> tuple[str, ...] | None:
    """The keys of a path such as `$.a."b c"`, or of a key alone; None for others."""
    if not path.startswith("$"):
        return (path,) if path and not path.startswith("/") else None
    keys = [plain or quoted for plain, quoted in _KEY.findall(path)]
    return tuple(keys) if keys and _KEY.sub("", path) == "$" else None


def _with_values(node: Node, places: set[JsonPlace]) -> Node:
    """A tree with a column in the place of what takes a value out of JSON."""
    if isinstance(node, list):
        return [_with_values(one, places) for one in node]
    if not isinstance(node, dict):
        return node
    place = _json_place(node)
    if place is None:
        return {name: _with_values(value, places) for name, value in node.items()}
    places.add(place)
    return {"class": "COLUMN_REF", "type": "COLUMN_REF", "column_names": [VALUE], "query_location": 0, "alias": ""}


def _json_place(node: Node) -> JsonPlace | None:
    if node.get("class") == "CAST":
        kind, inner = _CASTS.get(type_name(node)), _json_place(node["child"])
        return None if kind is None or inner is None or inner.type != "string" else JsonPlace(inner.keys, kind)
    if node.get("class") != "FUNCTION":
        return None
    kind, given = _EXTRACTIONS.get(str(node["function_name"]).lower()), arguments(node)
    if kind is None or node["schema"] not in OWN_SCHEMA or len(given) != 2 or column_of(given[0]) is None:
        return None
    key = constant_of(given[1])
    keys = json_keys(key.as_py()) if key is not None and key.is_valid and is_text(key.type) else None
    return None if keys is None else JsonPlace(keys, kind)


__all__ = ["VALUE", "JsonPlace", "comparison_of", "json_condition", "json_keys", "matches_of"]
