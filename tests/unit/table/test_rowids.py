from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lance_like.errors import Corrupt
from lance_like.table.deletions import Deletions
from lance_like.table.fragment import DataFile, Fragment
from lance_like.table.lineage import Lineage, Runs
from lance_like.table.rowids import RowIdMap, ids_at


def fragment(fragment_id: int, spans: list[tuple[int, int]], deleted: Sequence[int] = ()) -> Fragment:
    rows = sum(end - start for start, end in spans)
    made = np.array([[1, rows]])
    file = DataFile("data/a.lnl", 64, 0, rows, ((0, 1),))
    deletions = Deletions.of(np.array(deleted)) if deleted else None
    return Fragment(fragment_id, rows, (file,), Lineage.of(Runs(np.array(spans), made, made)), deletions)


@st.composite
def tables(draw: st.DrawFn) -> list[Fragment]:
    """Fragments whose ranges of ids are in any order, and of which some rows are deleted; some of those moved."""
    shapes = draw(st.lists(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=4)))
    spans, start = [], 0
    for rows, hole in (span for shape in shapes for span in shape):
        spans.append((start, start + rows))
        start += rows + hole
    spans = draw(st.permutations(spans))
    fragments, moved, used = [], [], 0
    for number, shape in enumerate(shapes):
        held = spans[used : used + len(shape)]
        used += len(shape)
        ids = [row_id for first, end in held for row_id in range(first, end)]
        deleted = sorted(draw(st.sets(st.integers(0, len(ids) - 1), max_size=len(ids) - 1)) if len(ids) > 1 else [])
        fragments.append(fragment(10 * number, held, deleted))
        moved += [ids[offset] for offset in deleted if draw(st.booleans())]
    if moved:
        fragments.append(fragment(7, [(row_id, row_id + 1) for row_id in draw(st.permutations(moved))]))
    return fragments


@given(tables())
def test_ids_and_places_agree_with_a_list_of_all_live_rows(fragments: list[Fragment]) -> None:
    expected: dict[int, tuple[int, int]] = {}
    for index, one in enumerate(fragments):
        ids = [row_id for first, end in one.runs.row_ids.tolist() for row_id in range(first, end)]
        assert ids_at(one, np.arange(one.rows)).tolist() == ids
        gone = set(one.deleted.tolist())
        expected |= {row_id: (index, offset) for offset, row_id in enumerate(ids) if offset not in gone}
    asked = np.arange(-2, max(expected, default=0) + 5)
    index, offsets = RowIdMap.of(fragments).find(asked)
    found = {row_id: (i, o) for row_id, i, o in zip(asked.tolist(), index.tolist(), offsets.tolist(), strict=True)}
    assert {row_id: place for row_id, place in found.items() if place[0] >= 0} == expected


@given(tables())
def test_a_run_is_found_where_all_its_ids_follow_one_another_in_one_fragment(fragments: list[Fragment]) -> None:
    known = RowIdMap.of(fragments)
    last = max((int(one.runs.row_ids.max()) for one in fragments), default=0)
    for first in range(-1, last + 2):
        for end in range(first + 1, last + 3):
            index, offsets = (found.tolist() for found in known.find(np.arange(first, end)))
            place = known.find_run(first, end)
            in_order = offsets == list(range(offsets[0], offsets[0] + end - first))
            if place is not None:
                assert in_order and {place[0]} == set(index) and place[1] == offsets[0] and place[0] >= 0
            elif end == first + 1:
                assert index == [-1]


def test_an_id_used_twice_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="row id 4 is used twice") as caught:
        RowIdMap.of([fragment(0, [(0, 5)]), fragment(1, [(4, 6)])])
    assert caught.value.kind == "row-ids"
    with pytest.raises(Corrupt, match="row id 1 is used twice"):
        RowIdMap.of([fragment(0, [(0, 2), (1, 3)])])


def test_an_id_may_stand_twice_where_one_of_the_rows_is_deleted() -> None:
    moved = [fragment(0, [(0, 5)], [4]), fragment(1, [(4, 6)])]
    assert [found.tolist() for found in RowIdMap.of(moved).find(np.array([4, 3]))] == [[1, 0], [0, 3]]


def test_no_fragments_have_no_rows() -> None:
    assert RowIdMap.of([]).find(np.array([0, 5]))[0].tolist() == [-1, -1]
