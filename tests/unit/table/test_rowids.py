from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lance_like.errors import Corrupt
from lance_like.table.fragment import DataFile, Fragment
from lance_like.table.rowids import RowIdMap, ids_at


def fragment(fragment_id: int, spans: list[tuple[int, int]]) -> Fragment:
    rows = sum(end - start for start, end in spans)
    file = DataFile("data/a.lnl", 64, 0, rows, ((0, 1),))
    return Fragment(fragment_id, rows, tuple(spans), (file,), ((1, rows),), ((1, rows),))


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=4), max_size=5),
    st.randoms(),
)
def test_ids_and_addresses_agree_with_a_list_of_all_rows(shapes: list, random) -> None:
    spans, start = [], 0
    for shape in shapes:
        for rows, hole in shape:
            spans.append((start, start + rows))
            start += rows + hole
    random.shuffle(spans)
    fragments, used = [], 0
    for number, shape in enumerate(shapes):
        fragments.append(fragment(10 * number, spans[used : used + len(shape)]))
        used += len(shape)
    row_ids = RowIdMap.of(fragments)
    expected = {}
    for one in fragments:
        ids = [row_id for first, end in one.row_ids for row_id in range(first, end)]
        assert ids_at(one, np.arange(one.rows)).tolist() == ids
        expected |= {row_id: one.id << 32 | offset for offset, row_id in enumerate(ids)}
    asked = np.arange(-2, start + 3)
    assert row_ids.addresses(asked).tolist() == [expected.get(row_id, -1) for row_id in asked.tolist()]


def test_an_id_used_twice_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="row id 4 is used twice"):
        RowIdMap.of([fragment(0, [(0, 5)]), fragment(1, [(4, 6)])])


def test_no_fragments_have_no_rows() -> None:
    assert RowIdMap.of([]).addresses(np.array([0, 5])).tolist() == [-1, -1]
