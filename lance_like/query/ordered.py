"""Comparisons that bounds of one column decide, asked of DuckDB: of a value that never falls where the column rises.

Such a value is the column itself, or a function of it that keeps the order: a year, a date cut to its month, a cast to
another kind of number, the beginning of a text. Between two rows it lies between their values, so that a comparison
with literals is asked of a lower and an upper bound of the column, and DuckDB's casts, roundings and calendar hold.
Where the value of a bound is null, as the year of a date without end is, rows may be null too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import pyarrow as pa

from lance_like.errors import NotFound
from lance_like.file.carry import carried_type
from lance_like.query.literals import is_text
from lance_like.query.names import Path, find
from lance_like.query.spelling import sql_of

PLACE = '"place of the column"'
"""Stands for the column in the SQL of a value."""

LOW, HIGH = "low", "high"
"""The columns over which `Ordered` asks."""

# More literals than this are asked for longer than rows are.
_MOST_LITERALS = 64


class Family(Enum):
    """Types among which comparisons and casts keep one order."""

    NUMBER = "number"
    MOMENT = "moment"
    CLOCK = "clock"
    SPAN = "span"
    TEXT = "text"
    UUID = "uuid"


def family_of(kind: pa.DataType) -> Family | None:
    """The family of a type of Arrow; None for types without one."""
    types = pa.types
    if kind == pa.uuid():
        return Family.UUID
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return Family.NUMBER
    if types.is_date(kind) or types.is_timestamp(kind):
        return Family.MOMENT
    if types.is_time(kind):
        return Family.CLOCK
    if types.is_duration(kind) or kind == pa.month_day_nano_interval():
        return Family.SPAN
    return Family.TEXT if is_text(kind) else None


@dataclass(frozen=True, slots=True)
class Ordered:
    """What is asked of a lower and an upper bound of a column, as SQL over the columns `LOW` and `HIGH`.

    family: of the column's type. true, false, null: may the comparison be so for a row between them? Null: it may.
    kind: bound, the type of the column's values.
    """

    path: Path
    family: Family
    true: str
    false: str
    null: str
    kind: pa.DataType | None = None

    def bound(self, schema: pa.Schema) -> Ordered | None:
        """Find the column in a schema; None when its values do not have the order that is asked about."""
        try:
            path, kind = find(self.path, schema)
        except NotFound:
            return None  # a part of a value that is no struct
        kind = carried_type(kind)
        known = family_of(kind) is self.family and kind != pa.month_day_nano_interval()
        return replace(self, path=path, kind=kind) if known else None

    def ends(self, lows: pa.Array, highs: pa.Array) -> dict[str, pa.Array]:
        """The columns over which is asked, from bounds as they are kept."""
        return {LOW: _typed(lows, self.kind), HIGH: _typed(highs, self.kind)}

    def opposite(self) -> Ordered:
        """The same of the negated comparison."""
        return replace(self, true=self.false, false=self.true)


def compared(
    path: Path, families: tuple[Family, Family], op: str, literals: Sequence[pa.Scalar], value: str = PLACE
) -> Ordered | None:
    """Ask whether a value compares with literals.

    families: of the column's type, and of the value's. op: one of `arithmetic.MIRRORED`, IN, or BETWEEN.
    value: SQL over `PLACE`.
    Returns None if DuckDB may compare the value in another order than its own.
    """
    of_column, of_value = families
    if len(literals) > _MOST_LITERALS or len({literal.type for literal in literals}) > 1:
        return None
    if not all(literal.is_valid and _keeps(of_value, literal) for literal in literals):
        return None
    low, high = (value.replace(PLACE, f'"{name}"') for name in (LOW, HIGH))
    true, false = _asked(op, low, high, [sql_of(literal) for literal in literals])
    return Ordered(path, of_column, true, false, f"{low} IS NULL OR {high} IS NULL")


def _keeps(family: Family, literal: pa.Scalar) -> bool:
    """Tell whether DuckDB compares a family with a literal in the order of the family."""
    if family is family_of(literal.type):
        return True
    if not is_text(literal.type) or family is Family.SPAN:
        return False
    # A text without a type is cast to that of the value; a word such as 'today' would be another day for the rows.
    return literal.as_py()[:1].isdigit() or family in (Family.NUMBER, Family.UUID)


def _asked(op: str, low: str, high: str, literals: Sequence[str]) -> tuple[str, str]:
    """May a value between two be so, may it not?"""
    first, last = literals[0], literals[-1]
    match op:
        case "<" | "<=":
            return f"{low} {op} {first}", f"{high} {'>=' if op == '<' else '>'} {first}"
        case ">" | ">=":
            return f"{high} {op} {first}", f"{low} {'<=' if op == '>' else '<'} {first}"
        case "BETWEEN":
            return f"{low} <= {last} AND {high} >= {first}", f"{low} < {first} OR {high} > {last}"
        case "=" | "IN":
            inside = " OR ".join(f"({low} <= {literal} AND {high} >= {literal})" for literal in literals)
            return inside, f"{low} <> {high} OR {low} NOT IN ({', '.join(literals)})"
        case _:  # <>
            return f"{low} <> {first} OR {high} <> {first}", f"{low} <= {first} AND {high} >= {first}"


def _typed(bounds: pa.Array, kind: Any) -> pa.Array:
    """Bounds in the type of the column: those of an extension are kept in another."""
    if not isinstance(kind, pa.BaseExtensionType):
        return bounds
    return pa.ExtensionArray.from_storage(kind, bounds.cast(kind.storage_type))


__all__ = ["PLACE", "Family", "Ordered", "compared", "family_of"]
