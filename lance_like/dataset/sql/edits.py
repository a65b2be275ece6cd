"""DELETE, UPDATE and MERGE read as one SELECT each: the rows of a table, what becomes of each, and its new values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from lance_like.errors import InvalidInput, Unsupported
from lance_like.query.names import fold, quote
from lance_like.query.projection import ROW_ADDRESS
from lance_like.query.statement_text import Text, Word, closing, outside, parts
from lance_like.query.statements_duckdb import words

TARGET = "lance_like target"
CHOSEN = "lance_like chosen"
"""The column that says by its place among `Edit.actions` what becomes of a row."""

Columns = Callable[[Text], Sequence[str]]
"""Names the columns of a SELECT."""


@dataclass(frozen=True, slots=True)
class Action:
    """What becomes of some rows. values: new values of columns, of a changed or added row, as expressions."""

    kind: Literal["delete", "update", "insert", "nothing", "error"]
    values: dict[str, Text] = field(default_factory=dict)
    message: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """Rows that may change. head: WITH, or nothing; chosen: the expression of `CHOSEN`; rest: what follows FROM.

    actions: the places of those that it chooses from.
    """

    head: Text
    chosen: Text
    rest: Text
    actions: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of rows. alias: what the statement calls the table.

    queries: its parts; each names some of the actions.
    """

    alias: str
    actions: tuple[Action, ...]
    queries: tuple[Query, ...]

    def columns(self, kind: str) -> list[str]:
        """The columns that actions of a kind give values."""
        return list(dict.fromkeys(name for one in self.actions if one.kind == kind for name in one.values))

    @property
    def valued(self) -> list[str]:
        """The columns that get values, in the order of the SELECT."""
        return list(dict.fromkeys([*self.columns("update"), *self.columns("insert")]))

    def select(self, types: Mapping[str, str]) -> Text:
        """The SELECT that gives the address of each row that changes, null for a new one, `CHOSEN`, and its values.

        types: of the table's columns, as DuckDB writes them.
        """
        made = [self._select(query, types) for query in self.queries]
        text = made[0]
        for other in made[1:]:
            text = text + " UNION ALL " + other
        return text

    def _select(self, query: Query, types: Mapping[str, str]) -> Text:
        address = f"{quote(self.alias)}.{quote(ROW_ADDRESS)}"
        items = f"SELECT {address} AS {quote(ROW_ADDRESS)}, CAST(" + query.chosen + f" AS INTEGER) AS {quote(CHOSEN)}"
        for place, name in enumerate(self.valued):
            items += ", CASE " + quote(CHOSEN)
            for number in query.actions:
                value = self.actions[number].values.get(name)
                if value is not None:
                    items += f" WHEN {number} THEN CAST((" + value + f") AS {types[name]})"
            items += f" WHEN -1 THEN NULL ELSE {quote(self.alias)}.{quote(name)} END AS {quote(f'value {place}')}"
        return (
            "("
            + query.head
            + " SELECT * FROM ("
            + items
            + " FROM "
            + query.rest
            + f") WHERE {quote(CHOSEN)} IS NOT NULL)"
        )


class Reading:
    """The words of one statement, read from left to right."""

    def __init__(self, text: Text, found: Sequence[Word]) -> None:
        self.text = text
        self.words = list(found[:-1] if found[-1].text == ";" else found)
        self.at = 0

    @property
    def end(self) -> int:
        """How many words there are."""
        return len(self.words)

    def cut(self, start: int, end: int) -> Text:
        """The text of the words start … end."""
        return self.text.cut(self.words[start].start, self.words[end - 1].end) if start < end else Text.words("")

    def take(self, *keywords: str) -> bool:
        """Go past a word or sign, if it is there."""
        if self.at < self.end and self.words[self.at].is_(*keywords):
            self.at += 1
            return True
        return False

    def head(self, *verbs: str) -> Text:
        """What stands before the verb: WITH and its tables, or nothing. Goes past the verb."""
        verb = outside(self.words, 0, *verbs)
        self.at = verb + 1
        return self.cut(0, verb)

    def name(self) -> Word:
        """Go past the name of a table. Raises Unsupported for one in a schema."""
        word = self.words[self.at]
        self.at += 1
        if self.at < self.end and self.words[self.at].text == ".":
            raise Unsupported(f"{word.text}. is a schema: a dataset is in none", kind="sql")
        return word

    def alias(self, name: Word, *clauses: str) -> str:
        """What a table is called: by itself, or as what follows it unless that begins a clause."""
        named = self.take("AS")
        if named or (self.at < self.end and self.words[self.at].kind != "operator" and not self._is(clauses)):
            self.at += 1
            return self.words[self.at - 1].name
        return stem(name.name)

    def _is(self, clauses: Sequence[str]) -> bool:
        word = self.words[self.at]
        return word.text[0] not in "\"'" and word.is_(*clauses)

    def clause(self, keyword: str, *following: str) -> tuple[int, int] | None:
        """Where the words of a clause begin and end, when it comes next; goes past it."""
        if not self.take(keyword):
            return None
        start, self.at = self.at, min(self.at + self._length(following), self.end)
        return start, self.at

    def _length(self, following: Sequence[str]) -> int:
        return outside(self.words, self.at, *following, "RETURNING") - self.at

    def finish(self) -> None:
        """Raise Unsupported for what is left, such as RETURNING."""
        if self.at < self.end:
            rest = self.words[self.at].text.upper()
            raise Unsupported(f"{rest} is not supported in statements that change datasets", kind="sql")


def stem(name: str) -> str:
    """What a statement calls a table by default: a path by its last part, as DuckDB does."""
    return Path(name.rstrip("/")).stem if "/" in name or name.endswith(".lance") else name


def read_target(text: Text) -> tuple[Reading, Text, Word]:
    """The statement past the name of its table; what stands before; and the name."""
    reading = Reading(text, words(text))
    head = reading.head("INSERT", "DELETE", "UPDATE", "MERGE", "TRUNCATE")
    reading.take("INTO", "FROM", "TABLE")
    return reading, head, reading.name()


def read_delete(reading: Reading, head: Text, name: Word) -> tuple[Edit, Text | None]:
    """A DELETE, and its condition where it needs no other tables."""
    alias = reading.alias(name, "USING", "WHERE", "RETURNING")
    using = reading.clause("USING", "WHERE")
    where = reading.clause("WHERE")
    reading.finish()
    edit = Edit(alias, (Action("delete"),), (_all_of(reading, head, alias, using, where),))
    if using or head.data:
        return edit, None
    return edit, reading.cut(*where) if where else Text.words("true")


def read_update(
    reading: Reading, head: Text, name: Word, columns: Sequence[str]
) -> tuple[Edit, tuple[dict[str, Text], Text | None] | None]:
    """An UPDATE; and its values and condition where it needs no other tables. columns: of the table."""
    alias = reading.alias(name, "SET")
    assigned = reading.clause("SET", "FROM", "WHERE")
    others = reading.clause("FROM", "WHERE")
    where = reading.clause("WHERE")
    reading.finish()
    assert assigned is not None
    values = _assignments(reading, *assigned, columns)
    edit = Edit(alias, (Action("update", values),), (_all_of(reading, head, alias, others, where),))
    return edit, None if others or head.data else (values, reading.cut(*where) if where else None)


def _all_of(
    reading: Reading, head: Text, alias: str, others: tuple[int, int] | None, where: tuple[int, int] | None
) -> Query:
    """A query of the rows of the table that pass, each with the first action."""
    rest = Text.words(f"{quote(TARGET)} AS {quote(alias)}")
    if others:
        rest = rest + ", " + reading.cut(*others)
    if where:
        rest = rest + " WHERE " + reading.cut(*where)
    return Query(head, Text.words("0"), rest)


def _assignments(reading: Reading, start: int, end: int, columns: Sequence[str]) -> dict[str, Text]:
    found: dict[str, Text] = {}
    for first, last in parts(reading.words, start, end):
        if reading.words[first].text == "(" or reading.words[first + 1].text != "=":
            raise Unsupported(
                f"SET {reading.words[first].text} … assigns no single column",
                kind="sql",
                hint="write SET a = …, b = …",
            )
        column = spelled(reading.words[first].name, columns)
        if column in found:
            raise InvalidInput(f"the column {column!r} is set twice", kind="sql")
        default = last == first + 3 and reading.words[first + 2].is_("DEFAULT")
        found[column] = Text.words("NULL") if default else reading.cut(first + 2, last)
    return found


def spelled(name: str, columns: Sequence[str]) -> str:
    """A column as the table spells it. Raises InvalidInput for one that it does not have."""
    found = [column for column in columns if fold(column) == fold(name)]
    if name in found or len(found) == 1:
        return name if name in found else found[0]
    raise InvalidInput(f"the table has no column {name!r}", kind="sql", hint=f"it has {', '.join(columns)}")


def read_merge(reading: Reading, head: Text, name: Word, columns: Sequence[str], columns_of: Columns) -> Edit:
    """A MERGE. columns: of the table; columns_of: of its source, where rows are given by position or by name."""
    alias = reading.alias(name, "USING")
    reading.take("USING")
    first_when = outside(reading.words, reading.at, "WHEN")
    join = outside(reading.words, reading.at, "ON", "USING")
    while (following := outside(reading.words, join + 1, "ON", "USING")) < first_when:
        join = following
    source, join_text = (reading.at, join), reading.cut(join, first_when)
    reading.at = first_when
    clauses = []
    while reading.take("WHEN"):
        clauses.append(_clause(reading, source, columns, columns_of, head))
    reading.finish()
    target, address = f"{quote(TARGET)} AS {quote(alias)}", f"{quote(alias)}.{quote(ROW_ADDRESS)}"
    joined = tuple(place for place, (when, _, _) in enumerate(clauses) if when != "BY SOURCE")
    alone = tuple(place for place, (when, _, _) in enumerate(clauses) if when == "BY SOURCE")
    queries = []
    if joined:
        kind = "LEFT" if any(when == "NOT" for when, _, _ in clauses) else "INNER"
        rest = reading.cut(*source) + f" {kind} JOIN {target} " + join_text
        queries.append(Query(head, _which(clauses, joined, address), rest, joined))
    if alone:
        rest = target + " ANTI JOIN " + reading.cut(*source) + " " + join_text
        queries.append(Query(head, _which(clauses, alone, address), rest, alone))
    return Edit(alias, tuple(action for _, _, action in clauses), tuple(queries))


_Clause: TypeAlias = tuple[str, Text | None, Action]


def _which(clauses: Sequence[_Clause], numbers: Sequence[int], address: str) -> Text:
    """The number of the first of some clauses that holds; null when none does, or it does nothing."""
    text = Text.words("CASE")
    for number in numbers:
        when, test, action = clauses[number]
        text = text + f" WHEN {address} IS {'' if when == 'NOT' else 'NOT '}NULL"
        if test is not None:
            text = text + " AND (" + test + ")"
        text = text + (" THEN NULL" if action.kind == "nothing" else f" THEN {number}")
    return text + " END"


def _clause(
    reading: Reading, source: tuple[int, int], columns: Sequence[str], columns_of: Columns, head: Text
) -> _Clause:
    """One WHEN: "" (matched), "NOT" or "BY SOURCE"; its condition; and what it does."""
    when = "NOT" if reading.take("NOT") else ""
    reading.take("MATCHED")
    if reading.take("BY") and reading.take("SOURCE", "TARGET") and reading.words[reading.at - 1].is_("SOURCE"):
        when = "BY SOURCE"
    tested = reading.clause("AND", "THEN")
    reading.take("THEN")
    start, reading.at = reading.at, outside(reading.words, reading.at, "WHEN", "RETURNING")
    part = Reading(reading.text, reading.words)
    part.words, part.at = reading.words[: reading.at], start
    action = _action(part, source, columns, columns_of, head)
    return when, reading.cut(*tested) if tested else None, action


def _action(
    reading: Reading, source: tuple[int, int], columns: Sequence[str], columns_of: Columns, head: Text
) -> Action:
    """What a WHEN does."""
    if reading.take("DO"):
        return Action("nothing")
    if reading.take("DELETE"):
        return Action("delete")
    if reading.take("ERROR"):
        message = reading.words[reading.at].name if reading.at < reading.end else "a row met WHEN … THEN ERROR"
        return Action("error", message=message)
    updates = reading.take("UPDATE")
    kind = "update" if updates else "insert"
    if not updates:
        reading.take("INSERT")
    if updates and reading.take("SET") and not reading.take("*"):
        return Action(kind, _assignments(reading, reading.at, reading.end, columns))
    reading.take("*")
    listed = list(columns)
    if reading.at < reading.end and reading.words[reading.at].text == "(":
        close = closing(reading.words, reading.at)
        listed = [
            spelled(reading.words[first].name, columns) for first, _ in parts(reading.words, reading.at + 1, close)
        ]
        reading.at = close + 1
    if reading.take("VALUES"):
        given = [reading.cut(*one) for one in parts(reading.words, reading.at + 1, reading.end - 1)]
        given = [Text.words("NULL") if str(one).upper() == "DEFAULT" else one for one in given]
        return Action(kind, _paired(listed, given))
    by_name = reading.take("BY") and reading.take("NAME", "POSITION") and reading.words[reading.at - 1].is_("NAME")
    reading.finish()
    alias = _source_alias(reading, source)
    names = columns_of(head + " SELECT * FROM " + reading.cut(*source))
    given = [Text.words(f"{quote(alias)}.{quote(name)}") for name in names]
    return Action(kind, _paired([spelled(name, columns) for name in names] if by_name else listed, given))


def _paired(names: Sequence[str], values: Sequence[Text]) -> dict[str, Text]:
    if len(names) != len(values):
        raise InvalidInput(f"{len(names)} columns and {len(values)} values for them", kind="sql")
    return dict(zip(names, values, strict=True))


def _source_alias(reading: Reading, source: tuple[int, int]) -> str:
    """What the source of a MERGE is called: the last name that stands in no bracket."""
    start, end = source
    at, names = start, []
    while at < end:
        word = reading.words[at]
        if word.is_("AT") and reading.words[at + 1].text == "(":
            break
        if word.kind != "operator":
            names.append(word.name)
        at = closing(reading.words, at) + 1
    if not names:
        raise InvalidInput("the source of the MERGE needs a name", kind="sql", hint="write USING (…) AS source")
    return stem(names[-1]) if len(names) == 1 else names[-1]


__all__ = [
    "CHOSEN",
    "TARGET",
    "Action",
    "Columns",
    "Edit",
    "Reading",
    "read_delete",
    "read_merge",
    "read_target",
    "read_update",
    "spelled",
]
