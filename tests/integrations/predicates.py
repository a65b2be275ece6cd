"""A table with every type that is stored, and predicates over it, drawn at random from a seed.

Each predicate is SQL; those of plain shapes are also a pyarrow expression and an expression of `lance_like.col`.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import lance_like

NAN, INF = float("nan"), float("inf")
NOON = dt.datetime(2020, 2, 29, 12, 0, 0, 1)
UUIDS = [bytes(16), bytes(range(16)), b"\xff" * 16]
D = Decimal


@dataclass(frozen=True)
class Column:
    """A column. pool: its values but null. literals: what it is compared with, besides the pool, as SQL."""

    type: pa.DataType
    pool: Sequence[Any]
    family: str
    literals: Sequence[str] = ()
    in_place: bool = True  # DuckDB reads the type from a dataset as it is


NUMBERS = """
    0 1 2 -1 127 128 300 -129 0.1 0.5 1.0 -0.0 1.5 0.10 0.100001 1e0 5e-1 -1e0 1e300 16777217 9007199254740993
    9007199254740993e0 -9223372036854775808 18446744073709551615 99999999999999999999 1::TINYINT 0.1::DOUBLE 0.1::FLOAT
    'nan'::DOUBLE 'inf'::DOUBLE '-inf'::FLOAT 1::DECIMAL(5,1) 3::HUGEINT 1+1 '1' '0.1'
""".split()  # noqa: SIM905
DATES = """
    DATE'2020-02-29' '2020-02-29' '2020-02-29T12:00:00.000001' TIMESTAMP'2020-02-29T12:00:00.000001' '1969-12-31'
    '9999-12-31' '0001-01-01' DATE'2020-02-28'+INTERVAL'1'DAY TIMESTAMP_NS'2020-02-29T12:00:00.000001'
    TIMESTAMPTZ'2020-02-29T01:00:00+01' '2020-02-29T12:00:00+00' DATE'0044-03-15(BC)'
""".split()  # noqa: SIM905
TEXTS = ["''", "'a'", "'abc'", "'A'", "'äb'", "'日本'", "''''", "'1'", "'a'::VARCHAR", "'a' || 'b'"]
BYTES = ["x'00'", "''", "'a'", "x'FF00'", "'\\xFF\\x00'::BLOB", "'abcd'::BLOB"]
CLOCKS = ["TIME'00:00:00'", "'12:30:00'", "TIME'12:30:00.000001'", "'23:59:59'"]
SPANS = ["INTERVAL 1 SECOND", "INTERVAL '-1 day'", "'1 day'::INTERVAL", "INTERVAL 1 MONTH", "to_microseconds(1000)"]
WORDS = ["", "a", "A", "abc", "aBc", "b", "äb", "Äb", "a%b", "a_b", "a\\b", "日本", "a\nb", "'", "z" * 20]
WHOLE = [0, 1, 2, 3, 100, 127]
FLOATS = [NAN, INF, -INF, 0.0, -0.0, 0.1, 0.5, 1.0, 2.0]
MOMENTS = [NOON, dt.datetime(2020, 2, 29), dt.datetime(1969, 12, 31, 23, 59, 59, 999999), dt.datetime(1, 1, 1)]
WHOLE_MOMENTS = [dt.datetime(2020, 2, 29, 12), dt.datetime(2020, 2, 29), dt.datetime(1969, 12, 31, 23, 59, 59)]
DAYS = [dt.date(2020, 2, 29), dt.date(1969, 12, 31), dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(1970, 1, 1)]
POINT = pa.struct([("n", pa.int64()), ("Text", pa.string()), ("flag", pa.bool_()), ("f", pa.float64())])
POINTS = [
    {"n": 1, "Text": "a", "flag": True, "f": NAN},
    {"n": None, "Text": "abc", "flag": False, "f": 0.5},
    {"n": 2**53 + 1, "Text": None, "flag": None, "f": -0.0},
]


def _number(type_: pa.DataType, pool: Sequence[Any], **more: Any) -> Column:
    return Column(type_, pool, "number", NUMBERS, **more)


def _signed(bits: int) -> list[int]:
    return [*WHOLE, -1, -5, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1]


def _unsigned(bits: int) -> list[int]:
    return [*WHOLE, 2 ** (bits - 1), 2**bits - 1]


def _decimals(places: int, *more: str) -> list[Decimal]:
    return [D(text).quantize(D(1).scaleb(-places)) for text in ("0", "1", "-1", "2", *more)]


COLUMNS: dict[str, Column] = {
    "i8": _number(pa.int8(), _signed(8)),
    "i16": _number(pa.int16(), _signed(16)),
    "i32": _number(pa.int32(), _signed(32)),
    "i64": _number(pa.int64(), [*_signed(64), 2**53, 2**53 + 1, -(2**53) - 1]),
    "u8": _number(pa.uint8(), _unsigned(8)),
    "u16": _number(pa.uint16(), _unsigned(16)),
    "u32": _number(pa.uint32(), _unsigned(32)),
    "u64": _number(pa.uint64(), [*_unsigned(64), 2**53 + 1]),
    "f16": _number(pa.float16(), [np.float16(x) for x in FLOATS], in_place=False),
    "f32": _number(pa.float32(), [*FLOATS, 16777216.0, 3e38]),
    "f64": _number(pa.float64(), [*FLOATS, float(2**53), 1e300, 5e-324]),
    "dec32": _number(pa.decimal32(7, 2), _decimals(2, "0.10", "99999.99")),
    "dec64": _number(pa.decimal64(16, 3), _decimals(3, "0.1", "1234567890123.456")),
    "dec": _number(pa.decimal128(9, 2), _decimals(2, "0.10", "0.5")),
    "wide": _number(pa.decimal128(38, 10), [*_decimals(10, "0.1", "1.0000000001"), D(10**27)]),
    "dec256": _number(pa.decimal256(30, 4), _decimals(4, "0.1", "123456789.0001"), in_place=False),
    "huge": _number(pa.decimal256(60, 4), _decimals(4, "0.5", "123456789.25"), in_place=False),
    "hundreds": _number(pa.decimal128(9, -2), [D(0), D(100), D(-300), D(12300)], in_place=False),
    "text": Column(pa.string(), WORDS, "text", TEXTS),
    "ltext": Column(pa.large_string(), WORDS, "text", TEXTS),
    "vtext": Column(pa.string_view(), WORDS, "text", TEXTS, in_place=False),
    "dict": Column(pa.dictionary(pa.int32(), pa.string()), WORDS, "text", TEXTS),
    "dict8": Column(pa.dictionary(pa.uint8(), pa.large_string()), WORDS, "text", TEXTS),
    "idict": _number(pa.dictionary(pa.int16(), pa.int64()), [0, 1, 2, -1, 2**53 + 1]),
    "runs": Column(pa.run_end_encoded(pa.int32(), pa.string()), WORDS, "text", TEXTS, in_place=False),
    "blob": Column(pa.binary(), [b"", b"a", b"\x00", b"\xff\x00"], "bytes", BYTES),
    "lblob": Column(pa.large_binary(), [b"", b"a", b"\x00", b"\xff\x00"], "bytes", BYTES),
    "vblob": Column(pa.binary_view(), [b"", b"a", b"\x00", b"\xff\x00"], "bytes", BYTES, in_place=False),
    "fixed": Column(pa.binary(4), [b"abcd", bytes(4), b"\xff" * 4], "bytes", BYTES),
    "flag": Column(pa.bool_(), [True, False], "flag", ["true", "false", "1", "'true'"]),
    "day": Column(pa.date32(), DAYS, "moment", DATES),
    "day64": Column(pa.date64(), DAYS, "moment", DATES),
    "s_": Column(pa.timestamp("s"), WHOLE_MOMENTS, "moment", DATES),
    "ms": Column(pa.timestamp("ms"), WHOLE_MOMENTS, "moment", DATES),
    "us": Column(pa.timestamp("us"), MOMENTS, "moment", DATES),
    "ns": Column(pa.timestamp("ns"), MOMENTS[:3], "moment", DATES),
    "tz_s": Column(pa.timestamp("s", "UTC"), WHOLE_MOMENTS, "moment", DATES),
    "tz": Column(pa.timestamp("us", "Europe/Paris"), MOMENTS, "moment", DATES),
    "tz_ns": Column(pa.timestamp("ns", "+02:00"), MOMENTS[:3], "moment", DATES),
    "clock_s": Column(pa.time32("s"), [dt.time(0), dt.time(12, 30), dt.time(23, 59, 59)], "clock", CLOCKS),
    "clock": Column(pa.time64("us"), [dt.time(0), dt.time(12, 30, 0, 1)], "clock", CLOCKS),
    "clock_ns": Column(pa.time64("ns"), [dt.time(0), dt.time(12, 30, 0, 1)], "clock", CLOCKS),
    "span": Column(pa.duration("ms"), [dt.timedelta(0), dt.timedelta(1), dt.timedelta(seconds=-1)], "span", SPANS),
    "span_s": Column(pa.duration("s"), [dt.timedelta(0), dt.timedelta(30), dt.timedelta(400)], "span", SPANS),
    "months": Column(
        pa.month_day_nano_interval(), [(1, 0, 0), (0, 30, 0), (0, 0, 10**9), (-1, 2, 3000)], "span", SPANS
    ),
    "uuid": Column(
        pa.uuid(),
        UUIDS,
        "uuid",
        ["'00010203-0405-0607-0809-0a0b0c0d0e0f'", "'00000000-0000-0000-0000-000000000000'::UUID"],
    ),
    "json": Column(pa.json_(), ['{"a": 1}', "[1, 2]", '"x"', "null"], "json", ["'[1, 2]'", "'{\"a\": 1}'::JSON"]),
    "nothing": Column(pa.null(), [None], "null", ["1", "'a'"]),
    "list": Column(
        pa.list_(pa.int32()), [[], [1], [1, None], [3, 2, 1]], "list", ["[1]", "[]", "[1, NULL]", "[3, 2, 1]"]
    ),
    "words": Column(pa.large_list(pa.string()), [[], ["a"], ["b", "abc"]], "list", ["['a']", "[]"]),
    "lview": Column(pa.list_view(pa.int16()), [[], [1], [2, 3]], "list", ["[1]", "[2, 3]"], in_place=False),
    "halves": Column(
        pa.list_(pa.float16()), [[], [np.float16(0.5)], [np.float16(NAN)]], "list", ["[0.5]"], in_place=False
    ),
    "vec": Column(pa.list_(pa.float32(), 2), [[0.0, 1.0], [NAN, -0.0]], "array", ["[0, 1]::FLOAT[2]"]),
    "pairs": Column(
        pa.map_(pa.string(), pa.int64()), [[], [("a", 1)], [("b", None), ("a", 2)]], "map", ["MAP {'a': 1}"]
    ),
    "s": Column(POINT, POINTS, "struct", ["{'n': 1, 'Text': 'a', 'flag': true, 'f': 'nan'::DOUBLE}"]),
    "points": Column(pa.list_(POINT), [[], POINTS[:1], POINTS[1:]], "list", ["[]"]),
    "either": Column(
        pa.sparse_union([pa.field("i", pa.int32()), pa.field("t", pa.string())]),
        [1, "a", None],
        "union",
        in_place=False,
    ),
}
FIELDS = {"s.n": COLUMNS["i64"], "s.text": COLUMNS["text"], "S.flag": COLUMNS["flag"], "s.f": COLUMNS["f64"]}


def make(type_: pa.DataType, cells: Sequence[Any]) -> pa.Array:
    """An array of cells as the pools hold them."""
    types = pa.types
    if types.is_timestamp(type_) and type_.tz:
        return pa.array(cells, pa.timestamp(type_.unit)).cast(pa.timestamp(type_.unit, "UTC")).cast(type_)
    if types.is_run_end_encoded(type_):
        return pc.run_end_encode(pa.array(cells, type_.value_type), pa.int32())
    if types.is_dictionary(type_):
        return pa.array(cells, type_.value_type).dictionary_encode().cast(type_)
    if types.is_union(type_):
        codes = pa.array([1 if isinstance(cell, str) else 0 for cell in cells], pa.int8())
        numbers = pa.array([cell if isinstance(cell, int) else None for cell in cells], pa.int32())
        texts = pa.array([cell if isinstance(cell, str) else None for cell in cells], pa.string())
        return pa.UnionArray.from_sparse(codes, [numbers, texts], ["i", "t"])
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, pa.array(cells, type_.storage_type))
    return pa.array(cells, type_)


def table(seed: int, rows: int, first: int = 0) -> pa.Table:
    """Rows with the number `row` from `first` on; stretches differ, so that zones can be skipped."""
    choose = np.random.default_rng(seed)
    columns: dict[str, pa.Array] = {"row": pa.array(np.arange(first, first + rows))}
    stretch = np.arange(rows) // max(1, rows // 7)
    for name, column in COLUMNS.items():
        at = (stretch + choose.integers(0, 3, rows)) % len(column.pool)
        gone = choose.random(rows) < np.where(stretch % 3 == 2, 0.5, 0.02)
        columns[name] = make(column.type, [None if no else column.pool[i] for i, no in zip(at, gone, strict=True)])
    return pa.table(columns)


@dataclass(frozen=True)
class Predicate:
    """One predicate. columns: the top-level columns it names. arrow, built: the same in other forms, or None."""

    sql: str
    columns: frozenset[str]
    arrow: pc.Expression | None = None
    built: Any = None

    def __str__(self) -> str:
        return self.sql


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
PATTERNS = ["", "%", "_", "a%", "%b", "%b%", "a_b", "A%", "ä%", "__", "%a%b%", "a\\%b", "a!%b", "''", "a\nb"]
# By family: expressions over {c}, and the family of their values.
COMPUTED = {
    "number": [
        ("abs({c})", "number"),
        ("-{c}", "number"),
        ("{c} + 1", "number"),
        ("{c} * 2", "number"),
        ("{c} - 0.5", "number"),
        ("{c} / 2", "number"),
        ("{c} % 3", "number"),
        ("{c} // 2", "number"),
        ("round({c})", "number"),
        ("sign({c})", "number"),
        ("coalesce({c}, 1)", "number"),
        ("nullif({c}, 1)", "number"),
        ("greatest({c}, 1)", "number"),
        ("least({c}, 0.5)", "number"),
        ("CASE WHEN {c} > 1 THEN 1 ELSE {c} END", "number"),
        ("CAST({c} AS VARCHAR)", "text"),
        ("TRY_CAST({c} AS TINYINT)", "number"),
        ("{c}::DOUBLE", "number"),
        ("isnan({c}::DOUBLE)", "flag"),
        ("{c} > 0", "flag"),
        ("hash({c}) % 2", "number"),
    ],
    "text": [
        ("lower({c})", "text"),
        ("upper({c})", "text"),
        ("length({c})", "number"),
        ("substr({c}, 1, 1)", "text"),
        ("{c} || 'a'", "text"),
        ("contains({c}, 'a')", "flag"),
        ("starts_with({c}, 'a')", "flag"),
        ("regexp_matches({c}, '^a.?')", "flag"),
        ("{c} ~ 'a.*'", "flag"),
        ("{c} SIMILAR TO '(a|b)%'", "flag"),
        ("reverse({c})", "text"),
        ("{c} COLLATE NOCASE", "text"),
        ("coalesce({c}, 'a')", "text"),
        ("position('b' IN {c})", "number"),
        ("{c}[1]", "text"),
        ("string_split({c}, 'b')", "words"),
        ("TRY_CAST({c} AS INTEGER)", "number"),
        ("CASE {c} WHEN 'a' THEN 'A' ELSE {c} END", "text"),
        ("{c} GLOB 'a*'", "flag"),
        ("strip_accents({c})", "text"),
        ("concat({c}, 1)", "text"),
    ],
    "moment": [
        ("EXTRACT(YEAR FROM {c})", "number"),
        ("date_part('month', {c})", "number"),
        ("{c} + INTERVAL 1 DAY", "moment"),
        ("{c}::DATE", "moment"),
        ("date_trunc('month', {c})", "moment"),
        ("{c}::VARCHAR", "text"),
        ("dayofweek({c})", "number"),
        ("coalesce({c}, DATE '2020-02-29')", "moment"),
        ("{c} - INTERVAL 1 MONTH", "moment"),
        ("{c}::TIMESTAMPTZ", "moment"),
        ("strftime({c}, '%Y-%m')", "text"),
        ("last_day({c}::DATE)", "moment"),
    ],
    "clock": [
        ("EXTRACT(HOUR FROM {c})", "number"),
        ("{c}::VARCHAR", "text"),
        ("coalesce({c}, TIME '12:30:00')", "clock"),
    ],
    "span": [("EXTRACT(DAY FROM {c})", "number"), ("-{c}", "span"), ("{c} * 2", "span"), ("{c}::VARCHAR", "text")],
    "bytes": [
        ("octet_length({c})", "number"),
        ("{c} || 'a'::BLOB", "bytes"),
        ("hex({c})", "text"),
        ("{c}::VARCHAR", "text"),
    ],
    "flag": [
        ("NOT {c}", "flag"),
        ("{c} IS TRUE", "flag"),
        ("{c}::INTEGER", "number"),
        ("{c} IS NOT FALSE", "flag"),
        ("coalesce({c}, false)", "flag"),
    ],
    "list": [
        ("len({c})", "number"),
        ("list_reverse({c})", "list"),
        ("list_distinct({c})", "list"),
        ("{c}::VARCHAR", "text"),
        ("array_length({c})", "number"),
    ],
    "words": [("len({c})", "number"), ("list_contains({c}, 'a')", "flag"), ("{c}[1]", "text")],
    "array": [("{c}[1]", "number"), ("array_distance({c}, [0, 1]::FLOAT[2])", "number"), ("len({c})", "number")],
    "map": [
        ("{c}['a']", "number"),
        ("cardinality({c})", "number"),
        ("map_keys({c})", "words"),
        ("{c}::VARCHAR", "text"),
    ],
    "struct": [
        ("{c}.n", "number"),
        ("{c}.text", "text"),
        ("{c}['f']", "number"),
        ("{c}::VARCHAR", "text"),
        ("struct_extract({c}, 'flag')", "flag"),
    ],
    "json": [
        ("{c}->>'$.a'", "text"),
        ("json_type({c})", "text"),
        ("json_array_length({c})", "number"),
        ("{c}::VARCHAR", "text"),
    ],
    "uuid": [("{c}::VARCHAR", "text")],
    "union": [
        ("union_tag({c})::VARCHAR", "text"),
        ("{c}.i", "number"),
        ("{c}.t", "text"),
        ("union_extract({c}, 'i')", "number"),
    ],
    "null": [("coalesce({c}, 1)", "number")],
}
OF_LISTS = {
    "list": [
        "list_contains({c}, 1)",
        "{c}[1] > 0",
        "list_aggregate({c}, 'sum') > 1",
        "len(list_filter({c}, lambda x: x > 1)) > 0",
        "1 = ANY({c})",
    ],
    "words": [
        "list_contains({c}, 'a')",
        "array_has_any({c}, ['a', 'q'])",
        "len(list_transform({c}, lambda w: w || 'a')) = 1",
    ],
    "points": ["len({c}) > 0", "{c}[1].n = 1", "list_transform({c}, lambda p: p.n)[1] = 1"],
}
LITERALS = {
    "number": NUMBERS,
    "text": TEXTS,
    "moment": DATES,
    "clock": CLOCKS,
    "span": SPANS,
    "bytes": BYTES,
    "flag": ["true", "false"],
    "list": ["[1]", "[]"],
    "words": ["['a']"],
}


SHAPES = (
    *("compare",) * 4,
    *("in", "between", "null", "distinct", "like", "other"),
    *("computed",) * 3,
    *("typed",) * 4,
)


class Maker:
    """Predicates over the columns of some names.

    literal: how a value of a pool is written in SQL. plain: only shapes that have every form.
    """

    def __init__(
        self,
        seed: int,
        names: Sequence[str],
        literal: Callable[[pa.Scalar], str],
        *,
        col: Any = None,
        plain: bool = False,
    ) -> None:
        self.random = random.Random(seed)
        self.names = list(names)
        self.literal = literal
        self.plain = plain

    def predicate(self, depth: int = 2) -> Predicate:
        """A predicate: a leaf, or two joined, or one negated."""
        kind = self.random.random()
        if depth == 0 or kind < 0.45:
            return self._leaf()
        one = self.predicate(depth - 1)
        if kind < 0.6:
            return Predicate(
                f"NOT ({one.sql})",
                one.columns,
                None if one.arrow is None else ~one.arrow,
                None if one.built is None else ~one.built,
            )
        other = self.predicate(depth - 1)
        word, join = ("AND", lambda a, b: a & b) if kind < 0.8 else ("OR", lambda a, b: a | b)
        arrow = None if one.arrow is None or other.arrow is None else join(one.arrow, other.arrow)
        built = None if one.built is None or other.built is None else join(one.built, other.built)
        return Predicate(f"({one.sql}) {word} ({other.sql})", one.columns | other.columns, arrow, built)

    def _leaf(self) -> Predicate:
        pick = self.random.choice
        name = pick([*self.names, *(["s.n", "s.text", "S.flag", "s.f"] if "s" in self.names else [])])
        column = FIELDS.get(name) or COLUMNS[name]
        shape = (
            "typed"
            if self.plain
            else pick(
                ["compare"] * 4
                + ["in", "between", "null", "distinct", "other"]
                + ["computed"] * 3
                + ["typed"] * 4
                + ["like"]
            )
        )
        top = frozenset([name.lower().split(".")[0]])
        if shape == "typed":
            made = self._typed(name, column)
            if made is not None:
                return Predicate(made[0], top, *made[1:])
            shape = "null"
        if shape == "computed":
            expression, family = pick(COMPUTED[column.family])
            if self.random.random() < 0.3 and family in COMPUTED:
                inner, family = pick(COMPUTED[family])
                expression = inner.format(c=f"({expression})")
            return Predicate(self._sql_leaf(expression.format(c=name), family, pick(["compare", "in", "null"])), top)
        if shape == "other":
            key = name if name in OF_LISTS else column.family
            if key in OF_LISTS and name not in ("words", "points", "halves"):
                return Predicate(pick(OF_LISTS[key]).format(c=name), top)
            if name in OF_LISTS:
                return Predicate(pick(OF_LISTS[name]).format(c=name), top)
            same = [other for other in self.names if COLUMNS[other].family == column.family]
            other = pick(same) if same else name.split(".")[0]
            return Predicate(f"{name} {pick(list(OPERATORS))} {other}", top | {other})
        if shape == "null":
            arrow, built = self._handles(name)
            return Predicate(f"{name} IS NULL", top, arrow.is_null(), built.is_null())
        return Predicate(self._sql_leaf(name, column.family, shape, column.literals), top)

    def _sql_leaf(self, text: str, family: str, shape: str, literals: Sequence[str] | None = None) -> str:
        pick = self.random.choice
        known = [*(LITERALS.get(family, ["NULL"]) if literals is None else literals or ["NULL"]), "NULL"]
        negated = pick(["", "NOT "])
        if family == "flag" and shape == "compare" and self.random.random() < 0.5:
            return text
        if shape == "in":
            return f"{text} {negated}IN ({', '.join(pick(known) for _ in range(self.random.randint(1, 3)))})"
        if shape == "between":
            return f"{text} {negated}BETWEEN {pick(known)} AND {pick(known)}"
        if shape == "null":
            return f"({text}) IS {negated}NULL"
        if shape == "distinct":
            return f"{text} IS {negated}DISTINCT FROM {pick(known)}"
        if shape == "like" and family == "text":
            escape = pick(["", " ESCAPE '!'"])
            return f"{text} {negated}{pick(['LIKE', 'ILIKE'])} '{pick(PATTERNS)}'{escape}"
        if self.random.random() < 0.2:
            return f"{pick(known)} {pick(list(OPERATORS))} {text}"
        return f"{text} {pick(list(OPERATORS))} {pick(known)}"

    def _handles(self, name: str) -> tuple[pc.Expression, Any]:
        spelled = {"s.text": "s.Text", "S.flag": "s.flag"}.get(name, name)
        path = spelled.split(".")
        return pc.field(*path), lance_like.col(name)

    def _typed(self, name: str, column: Column) -> tuple[str, Any, Any] | None:
        """A comparison with values of the column's own type, in every form."""
        if column.family in ("null", "union", "json") or pa.types.is_nested(column.type):
            return None
        type_ = column.type.value_type if hasattr(column.type, "value_type") else column.type
        pick = self.random.choice
        values = make(type_, [pick(list(column.pool)) for _ in range(3)])
        arrow, built = self._handles(name)
        shape = pick(["compare", "compare", "in", "between", "arithmetic", "mirrored"])
        operator = pick(list(OPERATORS))
        first, second = values[0], values[1]
        written = [self.literal(value) for value in values]
        apply = OPERATORS[operator]
        if shape == "in" and column.family != "uuid":
            return (
                f"coalesce({name} IN ({', '.join(written)}), FALSE)",
                arrow.isin(values),
                built.isin(values) & built.is_not_null(),
            )
        if shape == "between":
            both = (arrow >= first) & (arrow <= second)
            return (
                f"{name} >= {written[0]} AND {name} <= {written[1]}",
                both,
                built.between(first, second),
            )
        if shape == "arithmetic" and column.family == "number":
            sql = f"{name} * 2 {operator} {written[0]}"
            return sql, apply(arrow * 2, first), apply(built * 2, first)
        if shape == "mirrored":
            return (
                f"{written[0]} {operator} {name}",
                apply(pc.scalar(first), arrow),
                apply(lance_like.lit(first), built),
            )
        return f"{name} {operator} {written[0]}", apply(arrow, first), apply(built, first)
