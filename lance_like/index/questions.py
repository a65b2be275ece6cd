"""What a filter may ask an index: conditions on one value, with DuckDB's meaning. Pure.

NaN equals itself and is above every number. A null matches nothing but `IsNull`. Values have the type of the indexed
values, or of the items of its lists for `HasAny` and `HasAll`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import pyarrow as pa


@dataclass(frozen=True, slots=True, eq=False)
class OneOf:
    """Equal to one of some values. values: at least one, no nulls."""

    values: pa.Array

    def __str__(self) -> str:
        return f"one of {_shown(self.values)}"


@dataclass(frozen=True, slots=True)
class Range:
    """Between two bounds. low, high: None for no bound on that side."""

    low: pa.Scalar | None
    high: pa.Scalar | None
    low_included: bool = True
    high_included: bool = True

    def __str__(self) -> str:
        low = "" if self.low is None else f">{'=' * self.low_included} {self.low.as_py()!r}"
        high = "" if self.high is None else f"<{'=' * self.high_included} {self.high.as_py()!r}"
        return " and ".join(filter(None, (low, high)))


@dataclass(frozen=True, slots=True)
class IsNull:
    """Without a value."""

    def __str__(self) -> str:
        return "null"


@dataclass(frozen=True, slots=True)
class StartsWith:
    """A text that begins with another. prefix: of one character at least."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Contains:
    """A text that contains another. part: of one character at least."""

    part: str


@dataclass(frozen=True, slots=True)
class Like:
    """A text that matches a pattern of LIKE, in which % and _ are wild and escape takes the next character as it is."""

    pattern: str
    escape: str | None = None
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class Matches:
    """A text in which a regular expression of RE2 is found. whole: it is all of the text."""

    pattern: str
    whole: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class HasAny:
    """A list with one of some values among its items. values: at least one, no nulls."""

    values: pa.Array

    def __str__(self) -> str:
        return f"has one of {_shown(self.values)}"


@dataclass(frozen=True, slots=True, eq=False)
class HasAll:
    """A list with all of some values among its items. values: at least one, no nulls."""

    values: pa.Array

    def __str__(self) -> str:
        return f"has all of {_shown(self.values)}"


Question: TypeAlias = OneOf | Range | IsNull | StartsWith | Contains | Like | Matches | HasAny | HasAll


_SHOWN = 3


def _shown(values: pa.Array) -> str:
    more = [f"{len(values) - _SHOWN:,} more"] if len(values) > _SHOWN else []
    return ", ".join([*(repr(value.as_py()) for value in values[:_SHOWN]), *more])


class Answer(Enum):
    """How well an index answers a question: not at all, with rows that must be looked at again, or exactly."""

    NO = 0
    SUPERSET = 1
    EXACT = 2


__all__ = [
    "Answer",
    "Contains",
    "HasAll",
    "HasAny",
    "IsNull",
    "Like",
    "Matches",
    "OneOf",
    "Question",
    "Range",
    "StartsWith",
]
