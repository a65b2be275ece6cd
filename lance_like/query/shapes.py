"""Conditions whose texts differ in literals alone: one is parsed to learn where they go, the others are filled in.

1. A text is cut into literals and its *shape*, all else. Literals are here whole numbers, numbers with a point, texts
   in quotes, dates and timestamps, of a form and length at which no value changes their kind; others stay in the
   shape. Where one ends does not depend on what it holds: texts of one shape are the same tokens to a parser.
2. The second text of a shape makes it worth learning: the shape is parsed with literals that are all unlike, and each
   must turn up once, as a value that a column is compared with. What that makes of the text must be what the parser
   makes of it. A shape that does not pass is parsed every time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias

import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.kept import Kept
from lance_like.query.expr import And, Compare, Expr, Has, In, Like, Not, Or, like_text
from lance_like.query.literals import exact
from lance_like.query.nodes import decimal_of

_SHAPES_NBYTES = 8 << 20
# Of what is kept for a letter of a shape, about: a literal is some of these.
_LETTER_NBYTES = 32

# A text, maybe as a moment; a name in double quotes, which is a part of the shape; or a number, no part of a word, that
# fits 64 bits.
_LITERAL = re.compile(
    r"""((?:(?<![\w."])(?:[dD][aA][tT][eE]|[tT][iI][mM][eE][sS][tT][aA][mM][pP])[ \t\n]*)?"""
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|(?<![\w.$#?@])(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?(?![\w.]))"""
)
_TEXT, _WHOLE, _POINT, _DATE, _TIMESTAMP = "\0t", "\0w", "\0p", "\0d", "\0m"
_MARK = re.compile("\0[twpdm]")
_MOMENTS = {"d": (_DATE, pa.date32()), "t": (_TIMESTAMP, pa.timestamp("us"))}
# What gives quotes another meaning: comments, names in back-ticks, texts in dollars or behind a prefix; half a pair.
_REFUSED = re.compile("--|/\\*|[`$']|[\\w&]\0[tdm]")

_Value: TypeAlias = str | int | Decimal | date
_Fill: TypeAlias = Callable[[Sequence[_Value]], Expr]
_Place: TypeAlias = tuple[int, bool]
"""Which of some values, and whether it is negated."""


class Shapes:
    """The shapes of the texts that were read. parse: reads a text, and raises InvalidInput for what is no condition."""

    def __init__(self, parse: Callable[[str], Expr]) -> None:
        self._parse = parse
        # How a text of a shape is read, once one was.
        self._known: Kept[Callable[[str, Sequence[_Value]], Expr]] = Kept(_SHAPES_NBYTES)

    def read(self, text: str) -> Expr:
        """What the parser makes of a text. Raises as it does. Cost: microseconds for a shape that was learned."""
        shape, values = _cut(text)
        if not values:
            return self._parse(text)
        known = self._known.get(shape)
        if known is not None:
            return known(text, values)
        self._keep(shape, partial(self._learn, shape))
        return self._parse(text)

    def _keep(self, shape: str, read: Callable[[str, Sequence[_Value]], Expr]) -> None:
        self._known.put(shape, read, _LETTER_NBYTES * len(shape))

    def _learn(self, shape: str, text: str, values: Sequence[_Value]) -> Expr:
        """Read the second text of a shape; the others are filled in if that gives this one too."""
        parsed = self._parse(text)
        fill = self._fill_of(shape, [_unlike(value, number) for number, value in enumerate(values)])
        if fill is not None and fill(values) == parsed:
            self._keep(shape, lambda _, values: fill(values))
        else:
            self._keep(shape, lambda text, _: self._parse(text))
        return parsed

    def _fill_of(self, shape: str, unlike: Sequence[_Value]) -> _Fill | None:
        """What makes conditions of a shape from values; None where these are not all that differs."""
        written = iter(unlike)
        try:
            found = self._parse(_MARK.sub(lambda _: _sql_of(next(written)), shape))
        except InvalidInput:
            return None
        search = _Search({value: number for number, value in enumerate(unlike)})
        fill = search.fill_of(found)
        is_whole = sorted(search.found) == list(range(len(unlike)))
        return fill if is_whole and fill(unlike) == found else None


def _cut(text: str) -> tuple[str, list[_Value]]:
    """The shape of a text and its literals; none where they cannot be told from the rest for sure."""
    parts = _LITERAL.split(text)
    values: list[_Value] = []
    for place in range(1, len(parts), 2):
        literal = parts[place]
        first = literal[0].lower()
        if first == "'":
            parts[place] = _TEXT
            values.append(literal[1:-1].replace("''", "'"))
        elif first in _MOMENTS:
            mark, kind = _MOMENTS[first]
            moment = exact(pa.scalar(literal[literal.index("'") + 1 : -1]), kind)
            if moment is not None:  # else it stays as it is, and is refused
                parts[place] = mark
                values.append(moment.as_py())
        elif first != '"':
            has_point = "." in literal
            parts[place] = _POINT if has_point else _WHOLE
            values.append(Decimal(literal) if has_point else int(literal))
    shape = "".join(parts)
    is_plain = "\0" not in text and not _REFUSED.search(shape) and _is_unicode(text)
    return (shape, values) if is_plain else ("", [])


def _is_unicode(text: str) -> bool:
    """Whether it has no half of a surrogate pair, which no parser takes."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unlike(value: _Value, number: int) -> _Value:
    """Another value of the same kind, for each number another."""
    match value:
        case str():
            return f"unlike {number}"
        case int():
            return 700_000_000 + number
        case Decimal():
            return Decimal(f"{700_000_000 + number}.5")
        case datetime():
            return datetime(1234, 5, 6) + timedelta(seconds=number)
        case date():
            return date(1234, 5, 6) + timedelta(days=number)


def _sql_of(value: _Value) -> str:
    match value:
        case str():
            return f"'{value}'"
        case datetime():
            return f"TIMESTAMP '{value}'"
        case date():
            return f"DATE '{value}'"
        case _:
            return str(value)


@dataclass
class _Search:
    """Where values, each of a number, are in a condition. found: the numbers of those that turned up."""

    numbers: dict[_Value, int]
    found: list[int] = field(default_factory=list)

    def fill_of(self, condition: Expr) -> _Fill:
        """What makes a condition like this one from other values."""
        match condition:
            case And(children) | Or(children):
                join, fills = type(condition), [self.fill_of(child) for child in children]
                return lambda values: join(tuple(fill(values) for fill in fills))
            case Not(child):
                fill = self.fill_of(child)
                return lambda values: Not(fill(values))
            case Compare(op, path, value) if places := self._places([value.as_py()]):
                return lambda values: Compare(op, path, _scalar(*_at(places, values)))
            case In(path, literals) if places := self._places(literals.to_pylist()):
                return lambda values: In(path, _array(_at(places, values)))
            case Has(function, path, had) if places := self._places(had.to_pylist()):
                return lambda values: Has(function, path, _array(_at(places, values)))
            case Like():
                return self._fill_of_like(condition)
            case _:
                return lambda _: condition

    def _fill_of_like(self, like: Like) -> _Fill:
        whole, escape = self._places([like.pattern]), self._places([like.escape])
        begins = [] if whole else self._places([like.pattern.removesuffix("%")])  # of `starts_with`

        def fill(values: Sequence[_Value]) -> Expr:
            pattern = next(map(str, _at(whole, values)), like.pattern)
            pattern = next((f"{like_text(str(text))}%" for text in _at(begins, values)), pattern)
            return replace(like, pattern=pattern, escape=next(map(str, _at(escape, values)), like.escape))

        return fill

    def _places(self, found: Sequence[Any]) -> list[_Place]:
        """Where values of a condition come from; none unless all do."""
        places: list[_Place] = []
        for value in found:
            negated = isinstance(value, int | Decimal) and value < 0
            number = self.numbers.get(-value if negated else value)
            if number is None:
                return []
            places.append((number, negated))
        self.found += [number for number, _ in places]
        return places


def _at(places: Sequence[_Place], values: Sequence[_Value]) -> list[Any]:
    given: Sequence[Any] = values
    return [-given[number] if negated else given[number] for number, negated in places]


def _scalar(value: _Value) -> pa.Scalar:
    """As `constants.folded` reads it."""
    return decimal_of(value) if isinstance(value, Decimal) else pa.scalar(value, _TYPES[type(value)])


def _array(values: list[Any]) -> pa.Array:
    """As `sql` reads lists of literals."""
    return pa.array(values, _TYPES.get(type(values[0])))


_TYPES = {str: pa.string(), int: pa.int64(), date: pa.date32(), datetime: pa.timestamp("us")}


__all__ = ["Shapes"]
