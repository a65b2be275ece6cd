"""The parameters of scalar indexes: few, and checked once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lance_like.errors import Corrupt, InvalidInput, Unsupported
from lance_like.index.base import Segment


def no_params(given: Mapping[str, Any], index: str) -> None:
    """Raises InvalidInput when there are any."""
    known_params(given, index, ())


def known_params(given: Mapping[str, Any], index: str, names: tuple[str, ...]) -> None:
    """Raises InvalidInput for a parameter that an index does not have."""
    unknown = sorted(set(given) - set(names))
    if unknown:
        has = f"it has {', '.join(names)}" if names else "it has none"
        raise InvalidInput(f"an index of the type {index} has no parameter {unknown[0]!r}; {has}", kind="index")


def whole_number(given: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    """A parameter that is an integer. Raises InvalidInput."""
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidInput(
            f"the parameter {name!r} is {value!r:.40}, expected an integer from {low} to {high}", kind="index"
        )
    return value


def recorded(segment: Segment, name: str, low: int, high: int) -> int:
    """A number that `build` gave back. Raises Corrupt."""
    value = segment.detail.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Corrupt(f"the detail {name!r} of an index is {value!r:.40}, expected {low} to {high}", kind="index")
    return value


def check_version(segment: Segment, index: str, version: int) -> None:
    """Raises Unsupported when a segment was built by another version of a plug-in."""
    if segment.version != version:
        raise Unsupported(
            f"a segment of the index type {index} has the version {segment.version}, this package reads {version}",
            kind="index",
            hint="update lance_like, or drop the index and make it again",
        )


__all__ = ["check_version", "known_params", "no_params", "recorded", "whole_number"]
