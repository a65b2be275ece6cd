"""Patterns of LIKE: their parts, and the texts that match them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.physical import bits_of, valid_of
from lance_like.errors import InvalidInput
from lance_like.kept import of_texts
from lance_like.query.texts import containing, lowered, with_nulls_of


class Wild(Enum):
    """A wild card of LIKE."""

    ONE = "_"
    MANY = "%"


@of_texts
def parts_of(pattern: str, escape: str = "") -> tuple[str | Wild, ...]:
    """Split a pattern into texts and wild cards; neighbouring texts are one. escape: "" or one character.

    Raises InvalidInput if the escape is longer than one character or the pattern ends with it.
    """
    parts: list[str | Wild] = []
    letters = iter(pattern)
    if len(escape) > 1:
        raise InvalidInput(f"ESCAPE takes one character, not {escape!r}", kind="filter")
    for letter in letters:
        if letter == escape:
            text = next(letters, None)
            if text is None:
                raise InvalidInput(f"LIKE pattern {pattern!r} ends with its escape", kind="filter")
        elif letter in "%_":
            parts.append(Wild(letter))
            continue
        else:
            text = letter
        if parts and isinstance(parts[-1], str):
            parts[-1] += text
        else:
            parts.append(text)
    return tuple(parts)


def matching(array: pa.Array, parts: Sequence[str | Wild], *, case_insensitive: bool = False) -> pa.BooleanArray:
    """Which texts match a pattern; null for null. array: of type string or large_string."""
    if case_insensitive:
        array = lowered(array)
        parts = [pc.utf8_lower(part).as_py() if isinstance(part, str) else part for part in parts]
    match parts:
        case []:
            return pc.equal(array, pa.scalar("", array.type))
        case [str(text)]:
            return pc.equal(array, pa.scalar(text, array.type))
        case [str(text), Wild.MANY]:
            return pc.starts_with(array, text)
        case [Wild.MANY, str(text)]:
            return pc.ends_with(array, text)
        case [Wild.MANY, str(text), Wild.MANY]:
            return containing(array, text)
    return _matching(array, parts)


def _matching(array: pa.Array, parts: Sequence[str | Wild]) -> pa.BooleanArray:
    """Match any pattern: whole only the texts that hold the longest of its literal parts."""
    regex = {Wild.ONE: ".", Wild.MANY: ".*"}
    pattern = "".join(re.escape(part) if isinstance(part, str) else regex[part] for part in parts)
    pattern = rf"(?s)\A(?:{pattern})\z"
    longest = max((part for part in parts if isinstance(part, str)), key=len, default="")
    found = containing(array, longest)
    flags = bits_of(found) & valid_of(found)
    rows = np.flatnonzero(flags)
    if 2 * len(rows) > len(array):
        return pc.match_substring_regex(array, pattern)
    flags[rows] = bits_of(pc.match_substring_regex(array.take(pa.array(rows)), pattern))
    return with_nulls_of(array, flags)


__all__ = ["Wild", "matching", "parts_of"]
