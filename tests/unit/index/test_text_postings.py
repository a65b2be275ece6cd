"""The bytes of postings and places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lance_like.errors import Corrupt
from lance_like.index.text.bits import pack, packed_nbytes, unpack, widths_of
from lance_like.index.text.lists import TermList
from lance_like.index.text.phrases import exact_frequency, sloppy_frequency
from lance_like.index.text.places import decode_places, encode_places
from lance_like.index.text.postings import BLOCK, decode, encode
from lance_like.testing.naive_texts import occurrences

ROWS = 100_000


def postings(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and counts of terms of some sizes, and the lengths of all rows."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([np.sort(rng.choice(ROWS, size, replace=False)) for size in sizes]).astype(np.uint32)
    return rows, rng.geometric(0.7, len(rows)).astype(np.uint32), rng.integers(1, 300, ROWS).astype(np.uint32)


@settings(deadline=None)
@given(blocks=st.lists(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=130), min_size=1, max_size=6))
def test_packed_blocks_come_back(blocks: list[list[int]]) -> None:
    counts = np.array([len(block) for block in blocks])
    values = np.concatenate([np.array(block, np.int64) for block in blocks])
    widths = widths_of(np.array([max(block) for block in blocks]))
    data = pack(values, counts, widths)
    nbytes = packed_nbytes(counts, widths)
    assert len(data) == nbytes.sum()
    padded = np.append(data, np.zeros(8, np.uint8))
    assert (unpack(padded, counts, widths, np.cumsum(nbytes) - nbytes) == values).all()


@settings(deadline=None)
@given(blocks=st.integers(9, 300), count=st.integers(1, 130), last=st.integers(1, 130), seed=st.integers(0, 99))
def test_many_packed_blocks_alike_come_back(blocks: int, count: int, last: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.append(np.full(blocks - 1, count), min(last, count))
    widths = rng.integers(0, 33, blocks).astype(np.uint8)
    values = rng.integers(0, 2**32, counts.sum()) & ((1 << np.repeat(widths.astype(np.int64), counts)) - 1)
    nbytes = packed_nbytes(counts, widths)
    padded = np.append(pack(values, counts, widths), np.zeros(8, np.uint8))
    assert (unpack(padded, counts, widths, np.cumsum(nbytes) - nbytes) == values).all()


def test_postings_come_back_all_or_some_blocks() -> None:
    sizes = [1, 5, BLOCK, BLOCK + 1, 3000, ROWS, 1]
    rows, counts, lengths = postings(sizes)
    data, nbytes = encode(np.array(sizes), rows, counts, lengths)
    ends, begins = np.cumsum(nbytes), np.cumsum(sizes) - sizes
    for size, end, taken, begin in zip(sizes, ends, nbytes, begins, strict=True):
        blocks = decode(data[end - taken : end], size, ROWS)
        mine = slice(begin, begin + size)
        assert all((got == want[mine]).all() for got, want in zip(blocks.rows(), (rows, counts), strict=True))
        chosen = np.arange(0, len(blocks), 3)
        at = np.concatenate([np.arange(size)[number * BLOCK : (number + 1) * BLOCK] for number in chosen])
        assert (blocks.rows(chosen)[0] == rows[mine][at]).all()
        assert (TermList(blocks, ROWS).counts_in(np.arange(ROWS)).nonzero()[0] == rows[mine]).all()


@pytest.mark.parametrize("average", [3.0, 100.0, 5000.0])
def test_the_pairs_of_a_block_tell_its_best_score(average: float) -> None:
    rows, counts, lengths = postings([5000])
    data, _ = encode(np.array([5000]), rows, counts, lengths)
    blocks = decode(data, 5000, ROWS)

    def score(count: np.ndarray, length: np.ndarray) -> np.ndarray:
        return count / (count + 1.2 * (0.25 + 0.75 * length / average))

    told = np.maximum.reduceat(score(blocks.pairs[:, 0], blocks.pairs[:, 1]), blocks.pair_begins)
    true = np.maximum.reduceat(score(counts, lengths[rows]), np.arange(0, 5000, BLOCK))
    assert (told == true).all()
    assert len(blocks.pairs) < 8 * len(blocks)


def test_bytes_that_do_not_agree_are_corrupt() -> None:
    rows, counts, lengths = postings([1000])
    data, _ = encode(np.array([1000]), rows, counts, lengths)
    for wrong in (data[:-1], data[:3], np.append(data, np.uint8(0)), data[:0]):
        with pytest.raises(Corrupt):
            decode(wrong, 1000, ROWS)
    for size, of in ((0, ROWS), (1001, ROWS), (1000, 999), (2**31, 2**32)):
        with pytest.raises(Corrupt):
            decode(data, size, of)
    for at in range(32, 48):
        wide = data.copy()
        wide[at] = 200
        with pytest.raises(Corrupt):
            decode(wide, 1000, ROWS)


def test_rows_that_do_not_ascend_are_corrupt() -> None:
    rows, counts, lengths = postings([1000])
    data, _ = encode(np.array([1000]), rows, counts, lengths)
    swapped, late = data.copy(), data.copy()
    swapped[:8] = data[[4, 5, 6, 7, 0, 1, 2, 3]]
    late[28:32] = np.array([ROWS - 1], "<u4").view(np.uint8)
    for wrong in (swapped, late):
        with pytest.raises(Corrupt):
            decode(wrong, 1000, ROWS).rows()


def test_places_come_back() -> None:
    sizes = np.array([1, 300])
    _, counts, _ = postings([1, 300])
    rng = np.random.default_rng(1)
    places = np.concatenate([np.sort(rng.choice(1000, count, replace=False)) for count in counts])
    data, nbytes = encode_places(sizes, counts, places)
    found = decode_places(data[nbytes[0] :], 300)
    mine = counts[1:].astype(np.int64)
    assert (found.places(np.arange(3), mine) == places[counts[0] :]).all()
    middle = mine[BLOCK : 2 * BLOCK]
    before = int(mine[:BLOCK].sum())
    assert (found.places(np.array([1]), middle) == places[counts[0] + before :][: int(middle.sum())]).all()
    with pytest.raises(Corrupt):
        found.places(np.array([0]), middle + 1)
    with pytest.raises(Corrupt):
        decode_places(data[nbytes[0] :][:-1], 300)


@settings(deadline=None)
@given(
    texts=st.lists(st.text(st.sampled_from("abc"), max_size=12), min_size=1, max_size=5),
    phrase=st.text(st.sampled_from("abc"), min_size=2, max_size=4),
    gap=st.integers(0, 2),
    slop=st.integers(0, 4),
)
def test_phrases_occur_as_often_as_their_definition_says(texts: list[str], phrase: str, gap: int, slop: int) -> None:
    offsets = [at + (gap if at else 0) for at in range(len(phrase))]
    words = []
    for letter in phrase:
        held = [(row, at) for row, text in enumerate(texts) for at, other in enumerate(text) if other == letter]
        words.append(tuple(np.array([pair[part] for pair in held], np.int64) for part in (0, 1)))
    expected = [occurrences(list(zip(t, range(len(t)), strict=True)), list(phrase), offsets, slop) for t in texts]
    sloppy = sloppy_frequency(len(texts), words, offsets, slop)
    found = sloppy if slop else exact_frequency(len(texts), words, offsets)
    assert found.tolist() == pytest.approx(expected)
