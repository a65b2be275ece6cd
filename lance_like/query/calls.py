"""SQL that only DuckDB evaluates, read as a question about one column where it is one: what an index may answer.

| SQL | question |
|---|---|
| `contains(text, 'x')` | `Contains`; of a list, `HasAny` |
| `regexp_matches`, `~`, `regexp_like`, `regexp_full_match`, `SIMILAR TO` | `Matches` |
| `list_contains(list, 1)` and its other names | `HasAny` |
| `list_has_any(list, [1, 2])`, `&&`, … | `HasAny` |
| `list_has_all(list, [1, 2])`, `@>`, … | `HasAll` |

A question is true of the same rows as the SQL; where it is not true, the SQL is false or, for a null, unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.index.questions import Contains, HasAll, HasAny, Matches, Question
from lance_like.query.constants import constant_of
from lance_like.query.expr import Compare, Expr, paths
from lance_like.query.literals import comparison_type, exact, is_text
from lance_like.query.names import Path
from lance_like.query.nodes import OWN_SCHEMA, Node, arguments, type_name
from lance_like.query.sql import column_of, condition_of, tree_of

_REGEXES = {"regexp_matches": False, "regexp_like": False, "regexp_full_match": True}
_CONTAINS = frozenset(["list_contains", "array_contains", "list_has", "array_has"])
_HAS_ANY = frozenset(["list_has_any", "array_has_any", "&&"])
_HAS_ALL = frozenset(["list_has_all", "array_has_all", "@>"])
_LISTS = frozenset(["list_value", "list_pack", "make_array"])


@dataclass(frozen=True, slots=True)
class Call:
    """A function of a column and literals. name: in lower case. path: as it is spelled. values: none is null."""

    name: str
    path: Path
    values: tuple[pa.Scalar, ...]

    def question(self, type_: pa.DataType) -> Question | None:
        """What is asked of a column of a type; None: nothing that a question says."""
        if is_text(type_):
            return self._of_text()
        item = item_type(type_)
        return None if item is None else self._of_list(item)

    def _of_text(self) -> Question | None:
        texts = [value.as_py() for value in self.values if is_text(value.type)]
        if len(texts) != 1 or len(self.values) != 1:
            return None
        if self.name == "contains":
            return Contains(texts[0]) if texts[0] else None
        return Matches(texts[0], whole=_REGEXES[self.name]) if self.name in _REGEXES else None

    def _of_list(self, item: pa.DataType) -> Question | None:
        compared = comparison_type(item)
        if compared is None or not self.values:
            return None
        values = [exact(value, compared) for value in self.values]
        known = [value for value in values if value is not None and value.type == compared]
        if len(known) < len(values):
            return None
        array = pa.concat_arrays([pa.repeat(value, 1) for value in known])
        if self.name in _HAS_ALL:
            return HasAll(array)
        return HasAny(array) if self.name in _HAS_ANY | _CONTAINS or self.name == "contains" else None


def item_type(type_: pa.DataType) -> pa.DataType | None:
    """The type of the items of lists, whatever the lists call them; None for what is no list."""
    types = pa.types
    some = types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view
    return type_.value_type if any(is_list(type_) for is_list in some) else None


@lru_cache(maxsize=512)
def call_of(sql: str) -> Call | None:
    """Read an expression as a call. Cost: about a millisecond for a new text."""
    try:
        return _call(tree_of(sql))
    except (InvalidInput, KeyError, IndexError, TypeError):
        return None  # another DuckDB, another shape


@lru_cache(maxsize=512)
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


def _call(node: Node) -> Call | None:
    if node.get("class") != "FUNCTION" or node["schema"] not in OWN_SCHEMA:
        return None
    name, given = str(node["function_name"]).lower(), arguments(node)
    if len(given) != 2:
        return None
    path = column_of(given[0])
    if path is None and name == "&&":
        given = given[::-1]
        path = column_of(given[0])
    if path is None:
        return None
    literals = _items(given[1]) if name in _HAS_ANY | _HAS_ALL else [constant_of(given[1])]
    values = tuple(value for value in literals if value is not None and value.is_valid)
    return Call(name, path, values) if values and len(values) == len(literals) else None


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


@lru_cache(maxsize=512)
def json_condition(sql: str) -> tuple[JsonPlace, Expr] | None:
    """Read a condition on the value at one JSON path as one on a column `VALUE`. Cost: as `call_of`."""
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


def _items(node: Node) -> Sequence[pa.Scalar | None]:
    """The literals of a list that is written out; none for anything else."""
    if node.get("class") != "FUNCTION" or node["function_name"] not in _LISTS:
        return []
    return [constant_of(item) for item in arguments(node)]


__all__ = ["VALUE", "Call", "JsonPlace", "call_of", "comparison_of", "item_type", "json_condition", "json_keys"]
