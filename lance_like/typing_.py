"""Shared aliases: the vocabulary of reads."""

from __future__ import annotations

import operator
from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

Int64s: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]

Offsets: TypeAlias = Int64s | range
"""Rows of a fragment or file: int64[n], or a run of them."""

Ranges: TypeAlias = tuple[Int64s, Int64s]
"""Half-open byte ranges: int64[n] starts and int64[n] ends, in the order the answer is wanted."""


class Spanning(NamedTuple):
    """Ranges, ascending and at least one, that are answered by one view from the first start to the last end.

    Only the ranges are read; what lies between them in the answer means nothing.
    """

    starts: Int64s
    ends: Int64s


Conversation: TypeAlias = Generator[list[Ranges], list[Bytes], T]
"""A read: asks for lists of ranges, is sent one uint8 buffer for each, its ranges end to end (but see
`Spanning`), and returns its answer. Each exchange is one round."""

Json: TypeAlias = Any
"""What json.loads returns; every reader of one checks it before use."""


def whole(value: Any, low: int = 0) -> int | None:
    """An integer in any form that callers have, also numpy's and Arrow's; None for all else, and below `low`."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        number = operator.index(value)
    except (TypeError, ValueError):
        return None
    return number if number >= low else None
