"""Tables with every awkward value, and conditions over them: shared by the tests of this folder."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

NAN, INF = float("nan"), float("inf")
DAY = dt.date(2020, 2, 29)
NOON = dt.datetime(2020, 2, 29, 12, 0, 0, 1)
BIG = 2**53

VALUES: dict[str, tuple[pa.DataType, list[object]]] = {
    "i8": (pa.int8(), [-128, -1, 0, 1, 2, 127]),
    "i32": (pa.int32(), [-(2**31), -5, 0, 1, 2, 2**31 - 1]),
    "i64": (pa.int64(), [-(2**63), -BIG - 1, -1, 0, 1, 2, BIG, BIG + 1, 2**63 - 1]),
    "u64": (pa.uint64(), [0, 1, 2, BIG + 1, 2**63, 2**64 - 1]),
    "f32": (pa.float32(), [NAN, INF, -INF, 0.0, -0.0, 0.1, 0.5, 1.0, 2.0, 16777216.0]),
    "f64": (pa.float64(), [NAN, INF, -INF, 0.0, -0.0, 0.1, 0.5, 1.0, 2.0, float(BIG), 1e300, 5e-324]),
    "dec": (pa.decimal128(9, 2), [Decimal("0.10"), Decimal("-1.00"), Decimal("1.00"), Decimal("0.00")]),
    "wide": (pa.decimal128(38, 10), [Decimal("0.1"), Decimal(1), Decimal("1.0000000001"), Decimal(10**27)]),
    "text": (pa.string(), ["", "a", "A", "abc", "aBc", "b", "äb", "Äb", "a%b", "a_b", "a\\b", "日本", "a\nb", "'"]),
    "dict": (pa.dictionary(pa.int32(), pa.string()), ["", "a", "abc", "ABC", "日本"]),
    "blob": (pa.binary(), [b"", b"a", b"\x00", b"\xff\x00"]),
    "day": (pa.date32(), [DAY, dt.date(1969, 12, 31), dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    "us": (pa.timestamp("us"), [NOON, dt.datetime(2020, 2, 29), dt.datetime(1969, 12, 31, 23, 59, 59, 999999)]),
    "ns": (pa.timestamp("ns"), [NOON, dt.datetime(2020, 2, 29)]),
    "ms": (pa.timestamp("ms"), [dt.datetime(2020, 2, 29, 12), dt.datetime(2020, 2, 29)]),
    "tz": (pa.timestamp("us", "Europe/Paris"), [NOON, dt.datetime(2020, 2, 29)]),
    "clock": (pa.time64("us"), [dt.time(0, 0), dt.time(12, 30, 0, 1)]),
    "flag": (pa.bool_(), [True, False]),
}
STRUCT = {"n": "i64", "Text": "text", "flag": "flag"}

NUMBERS = """
    0 1 2 -1 127 128 300 -129 0.1 0.5 .5 1. 1.0 -0.0 1.5 0.10 0.100001 1e0 5e-1 1e-1 -1e0 1e300
    16777217 9007199254740992 9007199254740993 9007199254740993e0 -9223372036854775808
    18446744073709551615 99999999999999999999 1::TINYINT 1::BIGINT 0.1::DOUBLE 0.1::FLOAT
    'nan'::DOUBLE 'inf'::DOUBLE 1::DECIMAL(5,1) 3::HUGEINT 1+1 '1' '0.1'
""".split()  # noqa: SIM905
TEXTS = ["''", "'a'", "'abc'", "'A'", "'äb'", "'日本'", "''''", "'1'", "'a'::VARCHAR"]
DATES = """
    DATE'2020-02-29' '2020-02-29' '2020-02-29T12:00:00.000001' TIMESTAMP'2020-02-29T12:00:00.000001'
    '1969-12-31' TIMESTAMP'2020-02-29' '2020-02-29T12:00:00' '9999-12-31' '0001-01-01'
    DATE'2020-02-28'+INTERVAL'1'DAY TIMESTAMP_NS'2020-02-29T12:00:00.000001'
    TIMESTAMP_MS'2020-02-29' TIMESTAMPTZ'2020-02-29T01:00:00+01'
""".split()  # noqa: SIM905
LITERALS = {
    **dict.fromkeys(["i8", "i32", "i64", "u64", "f32", "f64", "dec", "wide"], NUMBERS),
    **dict.fromkeys(["text", "dict"], TEXTS),
    **dict.fromkeys(["day", "us", "ns", "ms", "tz"], DATES),
    "blob": ["x'00'", "''", "'a'", "'\\x00'", "x'FF00'", "'\\xFF\\x00'::BLOB"],
    "clock": ["TIME'00:00:00'", "'12:30:00.000001'", "TIME'12:30:00.000001'"],
    "flag": ["true", "false", "1", "'true'"],
}
PATTERNS = [
    "",
    "%",
    "_",
    "a%",
    "%b",
    "%b%",
    "a_b",
    "a%b",
    "A%",
    "ä%",
    "_b",
    "__",
    "%a%b%",
    "a\\%b",
    "a!%b",
    "a!_b",
    "%!%%",
    "''",
    "a\nb",
]


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2) -> str:
    if depth and draw(st.booleans()):
        kind = draw(st.sampled_from(["AND", "OR", "NOT"]))
        first = draw(conditions(depth=depth - 1))
        if kind == "NOT":
            return f"NOT ({first})"
        return f"({first}) {kind} ({draw(conditions(depth=depth - 1))})"
    name = draw(st.sampled_from([*VALUES, *STRUCT.values()]))
    in_struct = draw(st.booleans()) and name in STRUCT.values()
    column = f"s.{next(field for field, of in STRUCT.items() if of == name)}" if in_struct else name
    return draw(leaves(column, LITERALS[name], is_text=name in ("text", "dict")))


@st.composite
def leaves(draw: st.DrawFn, column: str, literals: list[str], *, is_text: bool) -> str:
    literal = st.sampled_from([*literals, "NULL"])
    kinds = ["compare"] * 4 + ["in", "between", "null", "distinct", "mirrored", "other"] + ["like"] * 3 * is_text
    negated = draw(st.sampled_from(["", "NOT "]))
    match draw(st.sampled_from(kinds)):
        case "compare":
            return f"{column} {draw(st.sampled_from(['=', '<>', '<', '<=', '>', '>=']))} {draw(literal)}"
        case "mirrored":
            return f"{draw(literal)} {draw(st.sampled_from(['=', '<>', '<', '<=', '>', '>=']))} {column}"
        case "in":
            return f"{column} {negated}IN ({', '.join(draw(st.lists(literal, min_size=1, max_size=4)))})"
        case "between":
            return f"{column} {negated}BETWEEN {draw(literal)} AND {draw(literal)}"
        case "null":
            return f"{column} IS {negated}NULL"
        case "distinct":
            return f"{column} IS {negated}DISTINCT FROM {draw(literal)}"
        case "like":
            word = draw(st.sampled_from(["LIKE", "ILIKE"]))
            escape = draw(st.sampled_from(["", " ESCAPE '!'", " ESCAPE '\\'", " ESCAPE '%'", " ESCAPE ''"]))
            return f"{column} {negated}{word} '{draw(st.sampled_from(PATTERNS))}'{escape}"
        case _:
            return draw(
                st.sampled_from([f"{column} = {column}", f"coalesce({column}, NULL) IS NULL", "flag", "s.FLAG IS TRUE"])
            )


def table(seed: int, rows: int = 40) -> pa.RecordBatch:
    rng = np.random.default_rng(seed)

    def column(name: str) -> pa.Array:
        type_, pool = VALUES[name]
        picked = [pool[i] if i < len(pool) else None for i in rng.integers(0, len(pool) + 2, rows)]
        if pa.types.is_dictionary(type_):
            return pa.array(picked, pa.string()).dictionary_encode()
        if pa.types.is_timestamp(type_) and type_.tz:
            return pa.array(picked, pa.timestamp("us")).cast(pa.timestamp("us", "UTC")).cast(type_)
        return pa.array(picked, type_)

    fields = {name: column(of) for name, of in STRUCT.items()}
    struct = pa.StructArray.from_arrays(list(fields.values()), list(fields), mask=pa.array(rng.random(rows) < 0.2))
    return pa.record_batch({name: column(name) for name in VALUES} | {"s": struct})
