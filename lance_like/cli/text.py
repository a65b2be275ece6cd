"""Words and tables for people: pure functions from values to text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

# Wider cells are cut: a table that wraps cannot be read.
_CELL = 40


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[bool]) -> str:
    """A table in lines, columns aligned. right: which columns are numbers, aligned to the right."""
    cells = [list(head), *([cut(cell) for cell in row] for row in rows)]
    widths = [max(_width(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "  ".join(_fit(cell, width, to) for cell, width, to in zip(row, widths, right, strict=True)) for row in cells
    ]
    rule = "  ".join("─" * width for width in widths)
    return "\n".join(line.rstrip() for line in (lines[0], rule, *lines[1:]))


def cut(text: str, width: int = _CELL) -> str:
    """Text in one line of at most a width, control characters made visible."""
    shown = "".join(mark if mark.isprintable() else "�" for mark in text)
    while _width(shown) > width:
        shown = shown[:-2] + "…"
    return shown


def count(number: int, word: str) -> str:
    """`1 page`, `1,234 pages`, `2 branches`."""
    ending = "" if number == 1 else "es" if word.endswith("ch") else "s"
    return f"{number:,} {word}{ending}"


def nbytes(number: int) -> str:
    """A size: `812 B`, `3.4 KiB`, `1.2 GiB`."""
    size, unit = float(number), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{number:,} B" if unit == "B" else f"{size:.1f} {unit}"


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(mark) in "WF" for mark in text)
    return len(text) + wide - sum(unicodedata.combining(mark) > 0 for mark in text)


def _fit(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
