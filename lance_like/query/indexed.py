"""Which parts of a condition indexes answer, as questions to them; what is left is asked of the rows found. Pure.

1. A condition is split at its ANDs. Each part becomes a tree of questions, joined as it is by AND and OR; NOT is pushed
   down to the leaves, where it turns a comparison round or asks for the rows with a value that do not match.
2. A part is *exact* when its tree is true of just the rows that pass it, as far as the indexes know them. Of a part
   that is not, and of one that no index answers, the rows found are asked again.

The tree of a part stands for a superset of the rows that pass it: an AND may leave out what no index answers, an OR may
not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.file.carry import carried_type
from lance_like.index.base import IndexPlugin
from lance_like.index.questions import (
    Answer,
    Contains,
    HasAll,
    HasAny,
    IsNull,
    Like,
    OneOf,
    Question,
    Range,
    StartsWith,
)
from lance_like.query import expr
from lance_like.query.calls import VALUE, comparison_of, json_condition, json_keys, matches_of
from lance_like.query.evaluate import cost
from lance_like.query.expr import And, BoolColumn, Compare, Expr, Has, In, Literal, Not, Opaque, Or, Wild
from lance_like.query.literals import is_text, item_type
from lance_like.query.names import Path
from lance_like.table.indices import JsonPath
from lance_like.typing_ import Json

_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


@dataclass(frozen=True, slots=True, eq=False)
class FilterIndex:
    """An index that may be asked. type: of the values it holds. json: where in the cells they are; None: the cells."""

    name: str
    plugin: IndexPlugin
    type: pa.DataType
    params: Mapping[str, Json]
    json: JsonPath | None = None

    @property
    def value_type(self) -> pa.DataType:
        """The type of the values as such, however they are encoded."""
        kind = carried_type(self.type)
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    def answers(self, question: Question) -> Answer:
        """How well it answers a question."""
        return self.plugin.answers(self.type, self.params, question)


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """The rows that an index finds. opposite: those with a value that it does not find."""

    index: FilterIndex
    question: Question
    opposite: bool = False

    def __str__(self) -> str:
        words = f"not {self.question}" if self.opposite else str(self.question)
        return f"{self.index.name} ({self.index.plugin.name}), {words}"


@dataclass(frozen=True, slots=True, eq=False)
class AllOf:
    """Rows that are in all of some sets, two at least."""

    sets: tuple[Tree, ...]


@dataclass(frozen=True, slots=True, eq=False)
class AnyOf:
    """Rows that are in any of some sets; in none when there are none."""

    sets: tuple[Tree, ...]


Tree: TypeAlias = Ask | AllOf | AnyOf


@dataclass(frozen=True, eq=False)
class Answered:
    """A part of a condition, and the rows among which are all that pass it. exact: no others are."""

    condition: Expr
    tree: Tree
    exact: bool

    @cached
    def asks(self) -> tuple[Ask, ...]:
        """The questions, in order."""
        return tuple(_asks(self.tree))


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """answered: the parts that indexes answer, one at least. rest: those that none does. cost: of judging a row."""

    answered: tuple[Answered, ...]
    rest: tuple[Expr, ...]
    cost: int


Indexes: TypeAlias = Callable[[Path], Sequence[FilterIndex]]
"""The indexes of what a path of a condition names."""


def plan_lookup(condition: Expr, indexes: Indexes) -> Lookup | None:
    """What to ask indexes. condition: bound. Returns None when no part of it is answered. Cost: no I/O."""
    parts = expr.conjuncts(condition)
    found = [(part, _set(part, True, indexes)) for part in parts]
    known = [(part, *one) for part, one in found if one is not None]
    answered = [
        Answered(expr.all_of(known[place][0] for place in places), tree, all(known[place][2] for place in places))
        for tree, places in _met([tree for _, tree, _ in known])
    ]
    rest = tuple(part for part, one in found if one is None)
    return Lookup(tuple(answered), rest, cost(condition)) if answered else None


def _asks(tree: Tree) -> Iterator[Ask]:
    if isinstance(tree, Ask):
        yield tree
    else:
        for child in tree.sets:
            yield from _asks(child)


_Set: TypeAlias = tuple[Tree, bool] | None
"""A set of rows and whether it is exact; None: nothing is known."""


def _set(condition: Expr, wanted: bool, indexes: Indexes) -> _Set:
    """The rows for which a condition is true, or false if that is wanted."""
    match condition:
        case Not(child):
            return _set(child, not wanted, indexes)
        case And(children) | Or(children):
            join = _within_all if isinstance(condition, And) is wanted else _within_any
            return join([_set(child, wanted, indexes) for child in children])
        case Literal(value):
            return None if value is wanted else (AnyOf(()), True)
        case Opaque(_, columns) if len(columns) != 1 or condition.maybe or condition.calls:
            return None
        case Opaque(_, columns):
            known = indexes(next(iter(columns)))
            best = _of_leaf(condition, wanted, _of_cells(known))
            return best or _of_json(condition, wanted, [index for index in known if index.json])
        case _:
            return _of_leaf(condition, wanted, _of_cells(indexes(condition.path)))


def _of_cells(indexes: Sequence[FilterIndex]) -> list[FilterIndex]:
    return [index for index in indexes if index.json is None]


def _of_json(condition: Opaque, wanted: bool, indexes: Sequence[FilterIndex]) -> _Set:
    """What indexes of JSON paths say of a condition on the value at one."""
    found = json_condition(condition.sql) if indexes else None
    if found is None:
        return None
    place, inner = found
    for index in indexes:
        if index.json is not None and json_keys(index.json.path) == place.keys and index.json.type == place.type:
            inside = replace(index, json=None)
            bound = expr.bind(inner, pa.schema([(VALUE, index.type)]))
            best = _set(bound, wanted, lambda _, inside=inside: [inside])
            if best is not None:
                return best
    return None


def _within_all(found: Sequence[_Set]) -> _Set:
    known = [one for one in found if one is not None]
    if not known:
        return None
    exact = len(known) == len(found) and all(exact for _, exact in known)
    trees = [tree for tree, _ in _met([tree for tree, _ in known])]
    return (AllOf(tuple(trees)) if len(trees) > 1 else trees[0]), exact


def _within_any(found: Sequence[_Set]) -> _Set:
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    return AnyOf(tuple(tree for tree, _ in known)), all(exact for _, exact in known)


def _met(trees: Sequence[Tree]) -> list[tuple[Tree, tuple[int, ...]]]:
    """The sets of an AND, with the places of those that each is made of: two bounds of one index are one question."""
    found: list[tuple[Tree, tuple[int, ...]]] = []
    for place, tree in enumerate(trees):
        for at, (other, places) in enumerate(found):
            both = _between(tree, other)
            if both is not None:
                found[at] = both, (*places, place)
                break
        else:
            found.append((tree, (place,)))
    return found


def _between(one: Tree, other: Tree) -> Ask | None:
    """Two questions for the values on one side of a bound as one; None where they are not that."""
    if not isinstance(one, Ask) or not isinstance(other, Ask) or one.index.name != other.index.name:
        return None
    ranges = [ask.question for ask in (one, other) if isinstance(ask.question, Range) and not ask.opposite]
    lows = [found for found in ranges if found.high is None]
    highs = [found for found in ranges if found.low is None]
    if len(lows) != 1 or len(highs) != 1:
        return None
    return Ask(one.index, Range(lows[0].low, highs[0].high, lows[0].low_included, highs[0].high_included))


def _of_leaf(leaf: Expr, wanted: bool, indexes: Sequence[FilterIndex]) -> _Set:
    """The best answer of several indexes to a condition on one column."""
    best: _Set = None
    for index in indexes:
        for asking in questions_of(leaf, wanted, index.value_type):
            found = _answer(index, asking)
            if found is not None and (best is None or (found[1] and not best[1])):
                best = found
    return best


class Asking(NamedTuple):
    """A question that may stand for a condition.

    question: None: no row passes. opposite: rows with a value pass of which the question is not true. exact: and no
    others; else more rows are found.
    """

    question: Question | None
    opposite: bool = False
    exact: bool = True


def _answer(index: FilterIndex, asking: Asking) -> _Set:
    question = asking.question
    if question is None:
        return AnyOf(()), True
    answer = index.answers(question)
    if answer is Answer.NO:
        return None
    if asking.opposite:
        nulls = answer if isinstance(question, IsNull) else index.answers(IsNull())
        if answer is not Answer.EXACT or nulls is not Answer.EXACT:
            return None
    return Ask(index, question, asking.opposite), asking.exact and answer is Answer.EXACT


def questions_of(leaf: Expr, wanted: bool, type_: pa.DataType) -> list[Asking]:
    """Questions of a type that each stand for a condition on one column being true, or false if that is wanted."""
    match leaf:
        case BoolColumn():
            return [Asking(OneOf(pa.array([wanted])))]
        case expr.IsNull():
            return [Asking(IsNull(), not wanted)]
        case Compare(op, _, value):
            return _of_compare(op if wanted else _OPPOSITE[op], value, type_)
        case In(_, values):
            if not wanted and values.null_count:
                return [Asking(None)]
            return [_one_of(values.drop_null(), type_, not wanted)]
        case expr.Like():
            return [Asking(question, not wanted) for question in _of_like(leaf)]
        case Has(function, _, values):
            question = HasAll(values) if function == "list_has_all" else HasAny(values)
            return [Asking(question, not wanted)] if item_type(type_) is not None else []
        case Opaque():
            matches = matches_of(leaf.sql) if is_text(type_) else None
            return _near(leaf.sql, wanted, type_) if matches is None else [Asking(matches, not wanted)]
        case _:
            return []


def _of_compare(op: str, value: pa.Scalar, type_: pa.DataType) -> list[Asking]:
    if op in ("=", "<>"):
        return [_one_of(pa.repeat(value, 1), type_, op == "<>")]
    bound = bound_in(value, op, type_)
    return [] if bound is None else [Asking(_beyond(op, *bound))]


def _beyond(op: str, bound: pa.Scalar, included: bool) -> Range:
    """The values on one side of a bound."""
    if op in (">", ">="):
        return Range(bound, None, low_included=included)
    return Range(None, bound, high_included=included)


def _near(sql: str, wanted: bool, type_: pa.DataType) -> list[Asking]:
    """A comparison with a number that only DuckDB rounds as it does: it lies near the one that is meant."""
    compared = comparison_of(sql)
    if compared is None or not (pa.types.is_floating(type_) or pa.types.is_integer(type_)):
        return []
    op = compared[0] if wanted else _OPPOSITE[compared[0]]
    low, high = (pa.scalar(bound, pa.float64()) for bound in _around(compared[1], type_))
    if op == "=":
        first, last = bound_in(low, ">=", type_), bound_in(high, "<=", type_)
        return [] if first is None or last is None else [Asking(Range(first[0], last[0]), exact=False)]
    bound = bound_in(low, ">=", type_) if op in (">", ">=") else bound_in(high, "<=", type_)
    return [] if bound is None or op == "<>" else [Asking(_beyond(op, bound[0], True), exact=False)]


def _around(number: float, type_: pa.DataType) -> tuple[float, float]:
    """Bounds so wide that every way to read a number as one of a type lies between them, and whole for integers."""
    if pa.types.is_integer(type_):
        wide = 1 + abs(number) * 2.0**-50
        return float(math.floor(number - wide)), float(math.ceil(number + wide))
    wide = abs(number) * 2.0 ** (-50 if pa.types.is_float64(type_) else -9) + 1e-300
    return number - wide, number + wide


def _one_of(values: pa.Array, type_: pa.DataType, opposite: bool) -> Asking:
    """Equality with any of some values. Those that no value of the type equals are left out."""
    fitting = values_in(values, type_)
    if len(fitting):
        return Asking(OneOf(fitting), opposite)
    # None is equal: with a value, all are unequal.
    return Asking(IsNull(), True) if opposite else Asking(None)


def _of_like(like: expr.Like) -> list[Question]:
    """From the plainest to the most general."""
    general = Like(like.pattern, like.escape or None, like.case_insensitive)
    if like.case_insensitive:
        return [general]
    match expr.like_parts(like):
        case [str(text)]:
            return [OneOf(pa.array([text]))]
        case [str(text), Wild.MANY]:
            return [StartsWith(text), general]
        case [Wild.MANY, str(text), Wild.MANY]:
            return [Contains(text), general]
        case _:
            return [general]


def bound_in(value: pa.Scalar, op: str, type_: pa.DataType) -> tuple[pa.Scalar, bool] | None:
    """A bound in the type of the values: the same rows are on its side. Returns it and whether it is included.

    None when the type holds no such bound.
    """
    included = op in ("<=", ">=")
    if value.type == type_:
        return value, included
    try:
        cast = value.cast(type_, safe=False) if pa.types.is_floating(type_) else value.cast(type_)
    except pa.ArrowInvalid:
        return None
    if pa.types.is_floating(type_):
        number, near = float(value.as_py()), float(cast.as_py())
        if near != number and not np.isnan(number):
            # The next value of the type on the side that is asked for.
            up = op in (">", ">=")
            if (near < number) if up else (near > number):
                width = np.dtype(type_.to_pandas_dtype()).type
                near = np.nextafter(width(near), width(np.inf if up else -np.inf))
            return pa.scalar(near, type_), True
    return cast, included


def values_in(values: pa.Array, type_: pa.DataType) -> pa.Array:
    """Values in another type, without those that it does not hold."""
    if values.type == type_:
        return values
    kept: list[pa.Array] = []
    for value in values:
        try:
            cast = value.cast(type_, safe=False) if pa.types.is_floating(type_) else value.cast(type_)
        except pa.ArrowInvalid:
            continue
        same = not pa.types.is_floating(type_) or np.array_equal(cast.as_py(), value.as_py(), equal_nan=True)
        if same:
            kept.append(pa.repeat(cast, 1))
    return pa.concat_arrays(kept) if kept else pa.nulls(0, type_)


__all__ = [
    "AllOf",
    "Answered",
    "AnyOf",
    "Ask",
    "Asking",
    "FilterIndex",
    "Indexes",
    "Lookup",
    "Tree",
    "plan_lookup",
    "questions_of",
]
