"""Signatures of sets of shingles, and what they tell (format_spec/index/minhash.md, "Signatures").

Two sets share the least value of a random function as often as their Jaccard similarity says. A signature is a byte of
the least value of each of some functions. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import pyarrow as pa

from lance_like.index.duplicates.shingles import Hashes, Shingles, mixed, pieces, shingles
from lance_like.typing_ import Bytes, Json

# Products made at a time: so many u64 stay in the cache of a core.
_BLOCK = 1 << 15
_CHANCE = 1 / 256
_BYTE = np.uint64(32)


def factors(count: int) -> Hashes:
    """The odd numbers that shingles are multiplied by, one a byte of a signature: uint64[count]."""
    number = np.arange(1, count + 1, dtype=np.uint64)
    seed = np.zeros(count, np.uint64)
    return mixed(mixed(seed, number), number, np.uint64(0x94D049BB133111EB)) | np.uint64(1)


def sign(found: Shingles, by: Hashes) -> Bytes:
    """The signatures of texts that have shingles: uint8[n, len(by)], in order.

    Cost: about 2 ns a shingle and function.
    """
    signed = found.counts > 0
    starts = found.starts[:-1][signed]
    ends = np.append(starts[1:], found.starts[-1])
    made = np.empty((len(starts), len(by)), np.uint8)
    cuts = [0]
    while cuts[-1] < len(starts):
        cuts.append(max(int(np.searchsorted(ends, starts[cuts[-1]] + _BLOCK, side="right")), cuts[-1] + 1))
    for first, last in pairwise(cuts):
        hashes = found.hashes[starts[first] : ends[last - 1]]
        places = starts[first:last] - starts[first]
        at_once = max(_BLOCK // max(len(hashes), 1), 1)
        for number in range(0, len(by), at_once):
            product = np.multiply.outer(by[number : number + at_once], hashes)
            least = np.minimum.reduceat(product, places, axis=1)
            made[first:last, number : number + at_once] = (least >> _BYTE).T
    return made


def signatures(texts: pa.Array, params: Mapping[str, Json]) -> Iterator[tuple[pa.Array, Bytes]]:
    """Sign texts a piece at a time.

    texts: of any type of text, nulls among them. params: those of the index.
    Yields for each piece which of its rows have a signature (bool[n]), and the signatures: uint8[signed, hashes].
    """
    by = factors(params["num_hashes"])
    filled = texts.cast(pa.large_string()).fill_null("")
    for piece in pieces(filled):
        found = shingles(piece, params["shingle_size"], params["tokenizer"], lower_case=params["lower_case"])
        yield found.counts > 0, sign(found, by)


def similarity(one: Bytes, other: Bytes) -> np.ndarray:
    """The Jaccard similarity that pairs of signatures let expect: float32[n], 0 to 1. one, other: uint8[n, hashes]."""
    shared = np.count_nonzero(one == other, axis=1) / one.shape[1]
    return np.clip((shared - _CHANCE) / (1 - _CHANCE), 0, 1).astype(np.float32)


def keys(signed: Bytes, bands: int) -> Hashes:
    """What tells equal bands: uint64[bands, n]. signed: uint8[n, hashes], of which each band has the same number."""
    rows, hashes = signed.shape
    width = hashes // bands
    filled = np.zeros((bands, rows, -(-width // 8) * 8), np.uint8)
    filled[:, :, :width] = signed[:, : width * bands].reshape(rows, bands, width).transpose(1, 0, 2)
    words = filled.view("<u8")
    found = np.zeros((bands, rows), np.uint64)
    for place in range(words.shape[2]):
        found = mixed(found, words[:, :, place])
    return found


__all__ = ["factors", "keys", "sign", "signatures", "similarity"]
