"""JSON values with one member changed: what damaged and hostile metadata look like."""

from __future__ import annotations

from collections.abc import Iterator

from lance_like.typing_ import Json


def members(value: Json, path: tuple = ()) -> Iterator[tuple]:
    """The paths of all members of a JSON value, its own () first."""
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from members(value[key], (*path, key))


def changed(value: Json, path: tuple, odd: Json) -> Json:
    """The value with one member replaced; removed when odd is Ellipsis."""
    if not path:
        return odd
    made = list(value) if isinstance(value, list) else dict(value)
    if len(path) == 1 and odd is ...:
        del made[path[0]]
    else:
        made[path[0]] = changed(value[path[0]], path[1:], odd)
    return made
