"""Questions to the letters of texts, asked of the bytes of all texts of an array at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.physical import buffer_bytes, offsets_of
from lance_like.typing_ import Bytes, Int64s

# What is compared in one go, and stays in the processor's cache.
_PIECE_NBYTES = 1 << 18
# Of so many bytes the rarest of a text are learnt.
_SAMPLE_NBYTES = 1 << 14
# Below, Arrow is as fast.
_LEAST_NBYTES = 1 << 15
# A place takes as long as 64 bytes at which nothing is found; to compare it, as long as hundreds side by side.
_MOST_PLACES, _FEW_PLACES = 1 / 64, 1 / 512


def containing(array: pa.Array, text: str) -> pa.BooleanArray:
    """Which texts hold another one; null for null. array: of type string or large_string.

    Cost: 0.2 ns a byte and 60 ns for each that holds it; Arrow alone takes 1.8 ns a byte.
    """
    flags = _containing(array, text.encode())
    return pc.match_substring(array, text) if flags is None else with_nulls_of(array, flags)


def with_nulls_of(array: pa.Array, flags: npt.NDArray[np.bool_]) -> pa.BooleanArray:
    """Answers, null where an array is. flags: bool[len(array)]."""
    answers = pa.array(flags)
    return pc.if_else(array.is_valid(), answers, None) if array.null_count else answers


def lowered(array: pa.Array) -> pa.Array:
    """Texts in lower case. Cost: 0.05 ns a byte where all letters are ASCII, else 0.7 ns."""
    return pc.ascii_lower(array) if is_ascii(array) else pc.utf8_lower(array)


def ascii_lower(array: pa.Array) -> pa.Array:
    """Texts in lower case. Raises ArrowInvalid for other letters than ASCII, on whose cases libraries disagree."""
    return pc.ascii_lower(_of_ascii(array))


def ascii_upper(array: pa.Array) -> pa.Array:
    """Texts in upper case. Raises as `ascii_lower`."""
    return pc.ascii_upper(_of_ascii(array))


def _of_ascii(array: pa.Array) -> pa.Array:
    if not is_ascii(array):
        raise pa.ArrowInvalid("a letter is not ASCII")
    return array


def lengths(array: pa.Array) -> pa.Array:
    """int64[n]: the letters of texts, counted as code points. Cost: 0.02 ns a byte of ASCII, else 0.3 ns."""
    return (pc.binary_length if is_ascii(array) else pc.utf8_length)(array).cast(pa.int64())


def is_ascii(array: pa.Array) -> bool:
    """Whether all letters of texts are ASCII, and of what lies behind nulls. Cost: 0.01 ns a byte."""
    data = _data(array, offsets_of(array))
    return len(data) == 0 or int(data.max()) < 128


def _data(array: pa.Array, offsets: Int64s) -> Bytes:
    return buffer_bytes(array.buffers()[2])[int(offsets[0]) : int(offsets[-1])]


def _containing(array: pa.Array, wanted: bytes) -> npt.NDArray[np.bool_] | None:
    """bool[n]: which texts hold bytes; None where Arrow is as fast."""
    offsets = offsets_of(array)
    data = _data(array, offsets)
    if not wanted or len(data) < _LEAST_NBYTES:
        return None
    places = _places(data, np.frombuffer(wanted, np.uint8))
    if places is None:
        return None
    places += offsets[0]
    rows = offsets.searchsorted(places, "right") - 1
    flags = np.zeros(len(array), bool)
    # Not those that begin in one text and end in the next one.
    flags[rows[places + len(wanted) <= offsets[rows + 1]]] = True
    return flags


def _places(data: Bytes, wanted: Bytes) -> Int64s | None:
    """int64[n]: where bytes lie in others, ascending; None if at too many places."""
    counts = np.bincount(data[:_SAMPLE_NBYTES], minlength=256)
    rarest_first = np.argsort(counts[wanted], kind="stable").tolist()
    last = len(data) - len(wanted) + 1
    found = [np.zeros(0, np.int64)]
    count = 0
    for start in range(0, last, _PIECE_NBYTES):
        end = min(start + _PIECE_NBYTES, last)
        places = _places_between(data, start, end, wanted, rarest_first)
        count += len(places)
        if count > _MOST_PLACES * end:
            return None
        found.append(places)
    return np.concatenate(found)


def _places_between(data: Bytes, start: int, end: int, wanted: Bytes, order: Sequence[int]) -> Int64s:
    """int64[n]: at which bytes start … end others begin. order: in which they are compared.

    At first everywhere, then at the places that are left, once these are few.
    """
    flags = data[start + order[0] : end + order[0]] == wanted[order[0]]
    compared = 1
    while compared < len(order) and np.count_nonzero(flags) > _FEW_PLACES * len(flags):
        at = order[compared]
        flags &= data[start + at : end + at] == wanted[at]
        compared += 1
    places = flags.nonzero()[0] + start
    for at in order[compared:]:
        places = places[data[places + at] == wanted[at]]
    return places


__all__ = ["ascii_lower", "ascii_upper", "containing", "is_ascii", "lengths", "lowered", "with_nulls_of"]
