"""Lists of ordinals and their bytes, as format_spec/index/postings.md has them."""

import numpy as np
import pyarrow as pa
import pytest
from pyroaring import BitMap

from lance_like.errors import Corrupt
from lance_like.index.scalar.postings import bitmaps_of, cells_of, checked_set, set_of, union_of

# The examples of the spec.
FEW = [1, 5, 300]
SPLIT = [3, 70, 130, 200, 270, 333, 400, 470, 530]
RUN = list(range(1000, 1200))


def _cell(ordinals):
    return cells_of(np.array([len(ordinals)]), np.array(ordinals, np.uint32))[0].as_py()


def _back(cell, count, rows=1 << 32):
    return bitmaps_of(pa.array([cell], pa.large_binary()), np.array([count]), rows)[0]


def test_cells_are_those_of_the_spec():
    assert _cell(FEW).hex(" ") == "01 00 00 00 05 00 00 00 2c 01 00 00"
    assert _cell(SPLIT).hex(" ") == "04 21 00 97 01 b2 00 38 00 21 84 10 82 10 02"
    assert _cell(RUN).hex(" ") == "ff 3b 30 00 00 01 00 00 c7 00 01 00 e8 03 c7 00"


@pytest.mark.parametrize("count", [1, 8, 9, 10, 100, 511, 512, 3000, 60_000])
@pytest.mark.parametrize("rows", [60_000, 1 << 20, 1 << 32])
def test_what_is_packed_comes_back(count, rows):
    random = np.random.default_rng(count)
    for ordinals in (
        np.unique(random.integers(0, rows, count, dtype=np.int64)),
        rows - count + np.arange(count),
        np.unique(np.minimum(random.integers(0, rows, count), random.integers(0, rows, count))),
    ):
        expected = BitMap(ordinals.tolist())
        cell = _cell(ordinals)
        assert _back(cell, len(ordinals), rows) == expected
        assert len(cell) <= max(4 * count, 3 + len(expected.serialize()))


def test_lists_are_united_whatever_their_forms():
    random = np.random.default_rng(3)
    lists = [np.unique(random.integers(0, 10_000, n)) for n in (1, 3, 5, 50, 500, 5000)] + [np.arange(100, 9000)]
    ends, counts = np.cumsum([len(part) for part in lists]), np.array([len(part) for part in lists])
    cells = cells_of(ends, np.concatenate(lists).astype(np.uint32))
    for chosen in ([0], [0, 1, 2], [3, 4, 5], [6], list(range(7)), []):
        some = cells.take(pa.array(chosen, pa.int64()))
        expected = BitMap(np.concatenate([np.empty(0, np.int64), *(lists[i] for i in chosen)]).tolist())
        assert union_of(some, counts[chosen], 10_000) == expected
    assert union_of(cells.slice(2, 3), counts[2:5], 10_000) == BitMap(np.concatenate(lists[2:5]).tolist())


@pytest.mark.parametrize("rows", [700, 1 << 20])
def test_lists_that_share_rows_are_united(rows):
    lists = [[n % 600, n % 600 + 1, n % 600 + 7] for n in range(900)]
    cells = cells_of(np.arange(1, 901) * 3, np.concatenate(lists).astype(np.uint32))
    assert union_of(cells, np.full(900, 3), rows) == BitMap(range(607))


@pytest.mark.parametrize("ordinals", [FEW, SPLIT, RUN])
def test_a_cell_that_is_not_what_it_says_is_corrupt(ordinals):
    cell, count = _cell(ordinals), len(ordinals)
    wrong = [(cell, count + 1), (cell, count - 1), (cell, 0), (cell, 1 << 31), (cell[:-1], count), (b"", count)]
    if count > 8:
        wrong += [(bytes([form]) + cell[1:], count) for form in (25, 100, 254)]
    for data, number in wrong:
        with pytest.raises(Corrupt):
            _back(data, number)
    with pytest.raises(Corrupt):
        _back(cell, count, rows=ordinals[-1])


def test_ordinals_that_do_not_ascend_are_corrupt():
    for few in ([5, 1, 300], [5, 5]):
        with pytest.raises(Corrupt):
            _back(np.array(few, "<u4").tobytes(), len(few))
    with pytest.raises(Corrupt):
        checked_set(np.array([1, 7], np.uint32), 7)


def test_a_set_is_made_of_ordinals_however_dense():
    random = np.random.default_rng(4)
    for count, rows in ((0, 10), (1, 10), (600, 1 << 31), (600, 700), (100_000, 200_000), (5000, 1 << 20)):
        ordinals = np.unique(random.integers(0, rows, count)).astype(np.uint32)
        assert set_of(ordinals) == BitMap(ordinals.tolist())
        assert checked_set(random.permutation(ordinals), rows) == BitMap(ordinals.tolist())
