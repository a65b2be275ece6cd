"""Checks of JSON that is parsed already: each takes a member out of an object or raises Corrupt with the place.

Whatever the bytes say, the rest of the table layer meets only integers in range, clean text and plain paths.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NoReturn, TypeVar

from lance_like.errors import Corrupt, InvalidInput
from lance_like.typing_ import Json

T = TypeVar("T")

# 2**53: every integer below it is exact in a JavaScript number too.
MAX_INTEGER = 2**53 - 1
_PATH_LIMIT = 1024
_DIGITS = frozenset("0123456789abcdef")
# Made once: `json.dumps` makes one a call.
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def dump(value: Json) -> bytes:
    """A value as compact UTF-8 JSON. Raises InvalidInput for text that is not valid Unicode."""
    try:
        return _JSON.encode(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput(f"a text is not valid Unicode: {error}", kind="text") from error


def refuse(found: object, expected: str, where: str) -> NoReturn:
    """Raise Corrupt: what was found, what was expected, where."""
    raise Corrupt(f"found {found!r:.80}, expected {expected}", kind="structure", where=where)


def mapping(value: Json, where: str) -> dict[str, Json]:
    """The value itself, an object."""
    return value if type(value) is dict else refuse(value, "an object", where)


def member(holder: dict[str, Json], name: str, where: str) -> Json:
    """A required member of any type."""
    try:
        return holder[name]
    except KeyError:
        raise Corrupt(f"the member {name!r} is missing", kind="structure", where=where) from None


def integer(holder: dict[str, Json], name: str, where: str, *, low: int = 0, high: int = MAX_INTEGER) -> int:
    """A required integer, low <= value <= high."""
    value = holder.get(name)
    if type(value) is int and low <= value <= high:
        return value
    return refuse(value, f"{name!r} as an integer from {low:,} to {high:,}", where)


def text(holder: dict[str, Json], name: str, where: str) -> str:
    """A required text of valid Unicode."""
    value = holder.get(name)
    return value if type(value) is str and value.isascii() else clean_text(value, repr(name), where)


def clean_text(value: Json, what: str, where: str) -> str:
    """The value itself, a text that UTF-8 can hold."""
    if type(value) is str:
        try:
            value.encode("utf-8")
            return value
        except UnicodeEncodeError:
            pass
    return refuse(value, f"{what} as text", where)


def array(holder: dict[str, Json], name: str, where: str) -> list[Json]:
    """A required array."""
    value = holder.get(name)
    return value if type(value) is list else refuse(value, f"{name!r} as an array", where)


def each(holder: dict[str, Json], name: str, where: str, read: Callable[[Json, str], T]) -> tuple[T, ...]:
    """A required array, every element read by `read(element, place)`."""
    return tuple([read(value, f"{where}, {name}[{i}]") for i, value in enumerate(array(holder, name, where))])


def pairs(
    holder: dict[str, Json], name: str, where: str, *, low: int = 0, high: int = MAX_INTEGER
) -> tuple[tuple[int, int], ...]:
    """A required array of pairs of integers, low <= first <= high, 0 <= second."""
    found: list[tuple[int, int]] = []
    for value in array(holder, name, where):
        if type(value) is not list or len(value) != 2:
            refuse(value, f"a pair in {name!r}", where)
        first, second = value
        if type(first) is not int or type(second) is not int:
            refuse(value, f"a pair of integers in {name!r}", where)
        if not (low <= first <= high and 0 <= second <= MAX_INTEGER):
            refuse(value, f"integers in range in {name!r}", where)
        found.append((first, second))
    return tuple(found)


def intervals(holder: dict[str, Json], name: str, where: str, *, high: int) -> tuple[tuple[int, int], ...]:
    """A required array of half-open intervals, 0 <= start < end <= high."""
    found = pairs(holder, name, where)
    for start, end in found:
        if not start < end <= high:
            refuse([start, end], f"0 <= start < end <= {high:,} in {name!r}", where)
    return found


def interval(holder: dict[str, Json], name: str, where: str, *, high: int) -> tuple[int, int]:
    """A required half-open interval."""
    return intervals({name: [holder.get(name)]}, name, where, high=high)[0]


def texts(holder: dict[str, Json], name: str, where: str) -> dict[str, str]:
    """A required object of texts."""
    found = mapping(member(holder, name, where), where)
    return {clean_text(key, name, where): clean_text(value, name, where) for key, value in found.items()}


def hexadecimal(value: Json, where: str) -> int:
    """A 64-bit number written as 16 lower-case hexadecimal digits."""
    if type(value) is str and len(value) == 16 and _DIGITS.issuperset(value):
        return int(value, 16)
    return refuse(value, "16 lower-case hexadecimal digits", where)


def uuid(holder: dict[str, Json], where: str) -> str:
    """A required member `uuid` of 32 lower-case hexadecimal digits."""
    value = text(holder, "uuid", where)
    if len(value) != 32 or not _DIGITS.issuperset(value):
        refuse(value, "32 lower-case hexadecimal digits", where)
    return value


def path(value: Json, where: str) -> str:
    """A relative path of plain parts (format_spec/table.md, "Paths")."""
    known = clean_text(value, "a path", where)
    if len(known) > _PATH_LIMIT or any(mark in known for mark in "\\:\0%"):
        refuse(known, "a path without backslash, colon, NUL or percent", where)
    if any(part in ("", ".", "..") for part in known.split("/")):
        refuse(known, "a relative path of plain parts", where)
    return known
