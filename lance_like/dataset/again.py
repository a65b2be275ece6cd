"""Searches that a handle settled, to be asked again for other vectors: to read and check the options of one takes a
good part of the time that its answer takes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from lance_like.dataset.scanner import LanceScanner
from lance_like.kept import Kept, room_of_text

_KEPT = 64
# Options of these types are equal when they ask for the same, and never change.
_PLAIN = frozenset([str, int, float, bool, type(None)])
_APART = frozenset(["nearest", "columns"])


class Searches:
    """Searches of one version, by their options but for the vectors; those used longest ago go first."""

    def __init__(self) -> None:
        self._kept: Kept[LanceScanner] = Kept(_KEPT)

    def scan(self, options: Mapping[str, Any], make: Callable[[], LanceScanner]) -> LanceScanner:
        """The scan of these options: of a search that is known for their vectors, any other as it is made."""
        asked = _key_of(options)
        if asked is None:
            return make()
        known = self._kept.get(asked)
        found = known and known.near_to(options["nearest"])
        if found is None:
            found = make()
            self._kept.put(asked, found, room_of_text(str(options.get("filter"))))
        return found


def _key_of(options: Mapping[str, Any]) -> Hashable | None:
    """What tells a search by vectors from others but for the vectors; None where an option may be anything."""
    nearest = options.get("nearest")
    if type(nearest) is not dict or "q" not in nearest:
        return None
    columns = options.get("columns")
    if columns is not None and type(columns) is not list:
        return None
    said = [(name, value) for name, value in nearest.items() if name != "q"]
    said += [(name, value) for name, value in options.items() if name not in _APART]
    kinds = [type(value) for _, value in said]
    if columns is not None:
        kinds += map(type, columns)
        columns = tuple(columns)
    return (columns, len(nearest), tuple(said), tuple(kinds)) if _PLAIN.issuperset(kinds) else None


__all__ = ["Searches"]
