"""pyarrow's functions, written in DuckDB's SQL: what a call of a pyarrow expression means here.

Where DuckDB has a function for the same notion, that one decides, as for the same words in SQL text: NaN is the
greatest number and equal to itself, `/` is exact, a cast rounds, an overflow is an error, hours are those of UTC.
A function of pyarrow's that has no such counterpart is computed by pyarrow, and the rest of the expression over it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from lance_like.errors import InvalidInput, Unsupported
from lance_like.query.arrow_tree import Call, Field, Node, Value, options_of
from lance_like.query.expr import ArrowCall, Opaque
from lance_like.query.names import Path, quote, sql_path
from lance_like.query.spelling import sql_of, sql_type

Options: TypeAlias = Mapping[str, Any]
"""Options of a call by name, as scalars."""

COMPARISONS = {
    "equal": "=",
    "not_equal": "<>",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}
"""Function -> how the comparison is written."""

ARITHMETIC = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "remainder": "%"}
"""Function -> how the operation is written; each has a `_checked` form, which means the same here."""

# fmt: off
_SAME_NAME = """
    abs acos acosh asin asinh atan atan2 atanh ceil coalesce cos cosh exp floor ln log10 log2 sign sin sinh sqrt tan
    tanh trunc day hour minute month quarter second year
""".split()  # noqa: SIM905
# fmt: on
_TEMPLATES = {
    **{name: f"({{0}} {symbol} {{1}})" for name, symbol in (COMPARISONS | ARITHMETIC).items()},
    "negate": "(- {0})",
    "power": "power({0}, {1})",
    "logb": "log({1}, {0})",
    "bit_wise_and": "({0} & {1})",
    "bit_wise_or": "({0} | {1})",
    "bit_wise_xor": "xor({0}, {1})",
    "bit_wise_not": "(~ {0})",
    "shift_left": "({0} << {1})",
    "shift_right": "({0} >> {1})",
    "is_nan": "isnan({0})",
    "is_inf": "isinf({0})",
    "is_finite": "isfinite({0})",
    "and_kleene": "({0} AND {1})",
    "or_kleene": "({0} OR {1})",
    "and_not_kleene": "({0} AND NOT {1})",
    "and": "CASE WHEN {0} IS NOT NULL AND {1} IS NOT NULL THEN {0} AND {1} END",
    "or": "CASE WHEN {0} IS NOT NULL AND {1} IS NOT NULL THEN {0} OR {1} END",
    "and_not": "CASE WHEN {0} IS NOT NULL AND {1} IS NOT NULL THEN {0} AND NOT {1} END",
    "xor": "({0} <> {1})",
    "invert": "(NOT {0})",
    "is_valid": "({0} IS NOT NULL)",
    "true_unless_null": "CASE WHEN {0} IS NOT NULL THEN TRUE END",
    "if_else": "CASE WHEN {0} THEN {1} WHEN NOT {0} THEN {2} END",
    "utf8_lower": "lower({0})",
    "utf8_upper": "upper({0})",
    "utf8_length": "length({0})",
    "binary_repeat": "repeat({0}, {1})",
    "list_value_length": "len({0})",
    "list_element": "({0})[{1} + 1]",
    "day_of_year": "dayofyear({0})",
    "iso_week": "week({0})",
    "iso_year": "isoyear({0})",
    "millisecond": "(millisecond({0}) % 1000)",
    "microsecond": "(microsecond({0}) % 1000)",
    **{f"{unit}s_between": f"date_diff('{unit}', {{0}}, {{1}})" for unit in ("year", "quarter", "day", "hour")},
    **{f"{unit}s_between": f"date_diff('{unit}', {{0}}, {{1}})" for unit in ("minute", "second", "millisecond")},
}
_numbers = count()  # so that no two calls of one condition have the same name
_HALF_AWAY, _HALF_TO_EVEN = 7, 8  # round_mode
_MATCH, _SKIP, _EMIT_NULL = 0, 1, 2  # null_matching_behavior of is_in
_EMIT_NULL_IF_ANY, _SKIP_NULLS = 0, 1  # null_handling of binary_join_element_wise
_NO_STOP = 2**63 - 1
# Options that a call leaves out when they are pyarrow's own.
_DEFAULTS: dict[str, Options] = {
    "round": {"ndigits": pa.scalar(0), "round_mode": pa.scalar(_HALF_TO_EVEN)},
    "day_of_week": {"count_from_zero": pa.scalar(True), "week_start": pa.scalar(1)},
    "binary_join_element_wise": {"null_handling": pa.scalar(_EMIT_NULL_IF_ANY)},
}
# Units of floor_temporal, by their number.
_UNITS = (None, None, "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year")


def write(node: Node) -> Opaque:
    """Write a tree as SQL.

    Raises InvalidInput for what has no value row by row, Unsupported for literals that DuckDB has no type for.
    """
    writer = _Writer()
    text = writer.sql(node)
    return Opaque(text, frozenset(writer.paths), calls=tuple(writer.calls))


class _Writer:
    """One expression on its way into SQL. paths: the columns it reads. calls: what pyarrow computes of it."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()
        self.calls: list[ArrowCall] = []

    def sql(self, node: Node) -> str:
        if isinstance(node, Field):
            self.paths.add(node.path)
            return sql_path(node.path)
        if isinstance(node, Value):
            return sql_of(node.scalar)
        return self._conditional(node) or self._known(node) or self._left_to_pyarrow(node)

    def _conditional(self, call: Call) -> str | None:
        """Write case_when, whose conditions are the fields of one struct."""
        if call.name != "case_when" or not isinstance(call.arguments[0], Call):
            return None
        conditions, values = call.arguments[0].arguments, call.arguments[1:]
        pairs = zip(conditions, values, strict=False)
        cases = [f"WHEN {self.sql(condition)} THEN {self.sql(value)}" for condition, value in pairs]
        rest = "".join(f" ELSE {self.sql(value)}" for value in values[len(conditions) :])
        return f"CASE {' '.join(cases)}{rest} END"

    def _known(self, call: Call) -> str | None:
        name = call.name.removesuffix("_checked")
        if name not in _TEMPLATES and name not in _SAME_NAME and name not in _WITH_OPTIONS:
            return None
        before = len(self.calls), set(self.paths)
        arguments = list(map(self.sql, call.arguments))
        if name in _TEMPLATES:
            return _TEMPLATES[name].format(*arguments)
        if name in _SAME_NAME:
            return f"{name}({', '.join(arguments)})"
        options = _DEFAULTS.get(name, {}) if call.options is None else dict(call.options.items())
        written = _WITH_OPTIONS[name](arguments, options)
        if written is None:
            del self.calls[before[0] :]
            self.paths = before[1]
        return written

    def _left_to_pyarrow(self, call: Call) -> str:
        try:
            kind = pc.get_function(call.name).kind
        except KeyError:
            raise InvalidInput(f"pyarrow has no function {call.name!r} here", kind="filter") from None
        if kind != "scalar" or call.name == "random":
            raise InvalidInput(f"{call.name}() has no value for a single row", kind="filter")
        arguments = tuple(self._argument(argument) for argument in call.arguments)
        name = f"{call.name} of pyarrow, {next(_numbers)}"
        self.calls.append(ArrowCall(name, call.name, arguments, options_of(call)))
        return quote(name)

    def _argument(self, node: Node) -> Path | pa.Scalar | str:
        if isinstance(node, Value):
            return node.scalar
        text = self.sql(node)
        return node.path if isinstance(node, Field) else text


def _is_null(given: Sequence[str], options: Options) -> str:
    nan_too = options and options["nan_is_null"].as_py()
    return f"({given[0]} IS NULL OR isnan({given[0]}))" if nan_too else f"({given[0]} IS NULL)"


def _is_in(given: Sequence[str], options: Options) -> str | None:
    behaviour, values = options["null_matching_behavior"].as_py(), options["value_set"].values
    if behaviour not in (_MATCH, _SKIP, _EMIT_NULL):
        return None
    known = values.drop_null()
    found = f"{given[0]} IN ({', '.join(map(sql_of, known))})" if len(known) else "FALSE"
    if behaviour == _EMIT_NULL:
        return f"CASE WHEN {given[0]} IS NOT NULL THEN {found} END"
    null_too = behaviour == _MATCH and values.null_count > 0
    return f"coalesce({found}, {str(null_too).upper()})" if len(known) else f"({given[0]} IS NULL AND {null_too})"


def _index_in(given: Sequence[str], options: Options) -> str | None:
    values = options["value_set"].values
    if values.null_count or options["null_matching_behavior"].as_py() not in (_MATCH, _SKIP):
        return None
    return f"(list_position([{', '.join(map(sql_of, values))}], {given[0]}) - 1)"


def _extreme(function: str) -> Callable[[Sequence[str], Options], str]:
    def written(given: Sequence[str], options: Options) -> str:
        found = f"{function}({', '.join(given)})"
        if not options or options["skip_nulls"].as_py():
            return found
        return f"CASE WHEN {' AND '.join(f'{one} IS NOT NULL' for one in given)} THEN {found} END"

    return written


def _round(given: Sequence[str], options: Options) -> str | None:
    digits, mode = options["ndigits"].as_py(), options["round_mode"].as_py()
    function = {_HALF_AWAY: "round", _HALF_TO_EVEN: "round_even"}.get(mode)
    return None if function is None else f"{function}({given[0]}, {digits})"


def _cast(given: Sequence[str], options: Options) -> str | None:
    try:
        return f"CAST({given[0]} AS {sql_type(options['to_type'].type)})"
    except Unsupported:
        return None


def _pattern(function: str) -> Callable[[Sequence[str], Options], str]:
    def written(given: Sequence[str], options: Options) -> str:
        text, pattern = given[0], _text(options["pattern"])
        if options["ignore_case"].as_py():
            text, pattern = f"lower({text})", f"lower({pattern})"
        return f"{function}({text}, {pattern})"

    return written


def _regex(given: Sequence[str], options: Options) -> str:
    flag = ", 'i'" if options["ignore_case"].as_py() else ""
    return f"regexp_matches({given[0]}, {_text(options['pattern'])}{flag})"


def _like(given: Sequence[str], options: Options) -> str:
    word = "ILIKE" if options["ignore_case"].as_py() else "LIKE"
    return f"({given[0]} {word} {_text(options['pattern'])} ESCAPE '\\')"


def _replace(given: Sequence[str], options: Options) -> str | None:
    pattern, new = _text(options["pattern"]), _text(options["replacement"])
    everywhere = options["max_replacements"].as_py() == -1 and pattern != "''"
    return f"replace({given[0]}, {pattern}, {new})" if everywhere else None


def _replace_regex(given: Sequence[str], options: Options) -> str | None:
    pattern, new = _text(options["pattern"]), _text(options["replacement"])
    flags = {-1: ", 'g'", 1: ""}.get(options["max_replacements"].as_py())
    return None if flags is None else f"regexp_replace({given[0]}, {pattern}, {new}{flags})"


def _split(function: str) -> Callable[[Sequence[str], Options], str | None]:
    def written(given: Sequence[str], options: Options) -> str | None:
        pattern = _text(options["pattern"])
        plain = options["max_splits"].as_py() == -1 and not options["reverse"].as_py() and pattern != "''"
        return f"{function}({given[0]}, {pattern})" if plain else None

    return written


def _trim(function: str) -> Callable[[Sequence[str], Options], str]:
    return lambda given, options: f"{function}({given[0]}, {_text(options['characters'])})"


def _slice(given: Sequence[str], options: Options) -> str | None:
    bounds = _bounds(options)
    if bounds is None:
        return None
    start, stop = bounds
    return f"substring({given[0]}, {start + 1}{'' if stop is None else f', {stop - start}'})"


def _list_slice(given: Sequence[str], options: Options) -> str | None:
    bounds = _bounds(options)
    if bounds is None or options["return_fixed_size_list"].as_py():
        return None
    start, stop = bounds
    return f"({given[0]})[{start + 1}:{'' if stop is None else stop}]"


def _bounds(options: Options) -> tuple[int, int | None] | None:
    """The bounds of a slice that begins and ends at places counted from the start, of every item between."""
    start, stop, step = (options[name].as_py() for name in ("start", "stop", "step"))
    if start < 0 or step != 1 or (stop is not None and stop < start):
        return None
    return start, None if stop is None or stop == _NO_STOP else stop


def _join(given: Sequence[str], options: Options) -> str | None:
    *texts, between = given
    handling = options["null_handling"].as_py()
    if handling == _EMIT_NULL_IF_ANY:
        return f"({f' || {between} || '.join(texts)})"
    return f"concat_ws({between}, {', '.join(texts)})" if handling == _SKIP_NULLS else None


def _day_of_week(given: Sequence[str], options: Options) -> str | None:
    from_zero, first = options["count_from_zero"].as_py(), options["week_start"].as_py()
    base = {1: f"isodow({given[0]})", 7: f"(dayofweek({given[0]}) + 1)"}.get(first)
    return None if base is None else f"({base} - 1)" if from_zero else base


def _floor_temporal(given: Sequence[str], options: Options) -> str | None:
    multiple, unit = options["multiple"].as_py(), options["unit"].as_py()
    plain = multiple == 1 and options["week_starts_monday"].as_py() and not options["ceil_is_strictly_greater"].as_py()
    name = _UNITS[unit] if plain and unit < len(_UNITS) else None
    return None if name is None else f"date_trunc('{name}', {given[0]})"


def _struct_field(given: Sequence[str], options: Options) -> str | None:
    path = options["field_ref"].as_py()
    if not path.startswith(".") or "\\" in path or "[" in path:
        return None
    return f"({given[0]})" + "".join(f".{quote(name)}" for name in path[1:].split("."))


def _make_struct(given: Sequence[str], options: Options) -> str:
    names = options["field_names"].as_py()
    return f"struct_pack({', '.join(f'{quote(name)} := {text}' for name, text in zip(names, given, strict=True))})"


def _map_lookup(given: Sequence[str], options: Options) -> str | None:
    first = options["occurrence"].as_py() == 0
    return f"map_extract({given[0]}, {sql_of(options['query_key'])})[1]" if first else None


def _choose(given: Sequence[str], options: Options) -> str:
    cases = " ".join(f"WHEN {number} THEN {text}" for number, text in enumerate(given[1:]))
    return f"CASE {given[0]} {cases} END"


def _text(pattern: pa.Scalar) -> str:
    text = pattern.as_py()
    return sql_of(pa.scalar(text.decode() if isinstance(text, bytes) else text))


_WITH_OPTIONS: dict[str, Callable[[Sequence[str], Options], str | None]] = {
    "is_null": _is_null,
    "is_in": _is_in,
    "index_in": _index_in,
    "max_element_wise": _extreme("greatest"),
    "min_element_wise": _extreme("least"),
    "round": _round,
    "cast": _cast,
    "starts_with": _pattern("starts_with"),
    "ends_with": _pattern("ends_with"),
    "match_substring": _pattern("contains"),
    "match_substring_regex": _regex,
    "match_like": _like,
    "replace_substring": _replace,
    "replace_substring_regex": _replace_regex,
    "split_pattern": _split("string_split"),
    "split_pattern_regex": _split("string_split_regex"),
    "utf8_trim": _trim("trim"),
    "utf8_ltrim": _trim("ltrim"),
    "utf8_rtrim": _trim("rtrim"),
    "utf8_slice_codeunits": _slice,
    "list_slice": _list_slice,
    "binary_join_element_wise": _join,
    "day_of_week": _day_of_week,
    "floor_temporal": _floor_temporal,
    "struct_field": _struct_field,
    "make_struct": _make_struct,
    "map_lookup": _map_lookup,
    "choose": _choose,
}

__all__ = ["ARITHMETIC", "COMPARISONS", "write"]
