"""One step away from a file: a part changed under right checksums, or bytes changed and checksums mended or not."""

from __future__ import annotations

import random
import struct

from reshape import alone, changed, parts_of
from resum import resummed

from lance_like.errors import LanceLikeError

_NUMBERS = (0, 1, 2, 7, 63, 64, 4095, 4096, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63, 2**64 - 1)


def mutated(data: bytes, choice: random.Random) -> bytes:
    """Another file, most of the time with right checksums."""
    if choice.random() < 0.6:
        try:
            file = parts_of(data)
            if choice.random() < 0.2:
                file = alone(file, choice)
            for _ in range(choice.choice((1, 1, 1, 2, 4))):
                file = changed(file, choice)
            return file.bytes()
        except (LanceLikeError, struct.error, UnicodeEncodeError, RecursionError):
            pass  # no sound file, or a number that its field has no room for
    damaged = _damaged(bytearray(data), choice)
    return resummed(damaged) if choice.random() < 0.9 else damaged


def _damaged(out: bytearray, choice: random.Random) -> bytes:
    """Bytes changed anywhere: truncated, zeroed, overwritten with numbers, moved."""
    act = choice.random()
    if len(out) < 129:
        return bytes(out) + choice.randbytes(64)
    if act < 0.05:
        return bytes(out[: choice.randrange(len(out))])
    if act < 0.1:
        cut = choice.randrange(len(out))
        return bytes(out[:cut] + out[cut + choice.choice((1, 8, 64)) :])
    # The end holds the numbers that lead to everything else.
    at = choice.randrange(len(out)) if act < 0.5 else len(out) - 1 - min(len(out) - 1, int(choice.expovariate(1 / 400)))
    if act < 0.7:
        width = choice.choice((2, 4, 8))
        at -= at % width
        number = choice.choice(_NUMBERS) % (1 << 8 * width)
        out[at : at + width] = number.to_bytes(width, "little")[: len(out) - at]
    elif act < 0.85:
        size = choice.choice((1, 4, 64, 512, 4096))
        out[at : at + size] = bytes(len(out[at : at + size]))
    else:
        size, other = choice.choice((4, 8, 48, 64)), choice.randrange(len(out) - 64)
        out[at : at + size] = out[other : other + len(out[at : at + size])]
    return bytes(out)
