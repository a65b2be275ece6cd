"""What segments answer for, against sets of rows: any deletions, moves and invalidations."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lance_like.errors import Corrupt
from lance_like.index.coverage import coverage_of, merged, subtracted, unopened, within
from lance_like.table.deletions import Deletions
from lance_like.table.fragment import Fragment
from lance_like.table.indices import IndexEntry, IndexSegment, RowRuns
from lance_like.table.lineage import Lineage, of_rows, spread
from lance_like.table.manifest import Manifest, Transaction
from lance_like.table.parts import Tree
from lance_like.table.schema import Schema

ROWS = 40
BITS = st.sets(st.integers(0, ROWS - 1))


def intervals(members: set[int]) -> np.ndarray:
    return RowRuns.of(np.array(sorted(members))).runs if members else np.empty((0, 2), np.int64)


@given(BITS, BITS)
def test_intervals_are_sets(some: set[int], others: set[int]) -> None:
    assert set(spread(subtracted(intervals(some), intervals(others))).tolist()) == some - others


@given(BITS, BITS)
def test_intervals_that_touch_are_one(some: set[int], cuts: set[int]) -> None:
    cut = [[low, high] for i in sorted(some) for low, high in [(i, i + 1)] if i in cuts or i - 1 not in some]
    for span in cut:
        while span[1] in some and span[1] not in cuts:
            span[1] += 1
    assert merged(np.array(cut, np.int64).reshape(-1, 2)).tolist() == intervals(some).tolist()


@given(st.permutations(range(ROWS)), BITS, BITS)
def test_rows_within_intervals_are_where_they_are(ids: list[int], deleted: set[int], asked: set[int]) -> None:
    case = Case([ids[:15], ids[15:]], deleted)
    live = case.manifest().tree.all_row_ids
    found = within(live, intervals(asked))
    rows = spread(np.stack((found.starts, found.ends), axis=1))
    assert rows.tolist() == sorted(asked - deleted)
    fragments, offsets = live.find(rows)
    assert fragments.tolist() == np.repeat(found.fragments, found.ends - found.starts).tolist()
    assert (
        offsets.tolist()
        == spread(np.stack((found.offsets, found.offsets + found.ends - found.starts), axis=1)).tolist()
    )


@dataclass
class Case:
    """Fragments of row ids in any order, some of them deleted; segments of ids with some invalidated."""

    fragments: list[list[int]]
    deleted: set[int]
    segments: list[tuple[set[int], set[int]]] = field(default_factory=list)

    @property
    def live(self) -> set[int]:
        return {i for ids in self.fragments for i in ids} - self.deleted

    def manifest(self) -> Manifest:
        made = tuple(self._fragment(number, ids) for number, ids in enumerate(self.fragments))
        transaction = Transaction("0" * 32, "later", 0)
        entry = IndexEntry("i", "LATER", (0,), {}, tuple(self._segment(*one) for one in self.segments))
        return Manifest(
            1, 1, ("w", "1"), 0, 0, ROWS, 1, 9, Schema.of((), {}), None, Tree((), made), {}, {}, (entry,), transaction
        )

    def _fragment(self, number: int, ids: list[int]) -> Fragment:
        ones = np.ones(len(ids), np.int64)
        gone = np.flatnonzero(np.isin(ids, list(self.deleted)))
        deletions = Deletions.of(gone) if len(gone) else None
        return Fragment(number, len(ids), (), Lineage.of(of_rows(np.array(ids), ones, ones)), deletions)

    def _segment(self, ids: set[int], invalid: set[int]) -> IndexSegment:
        made = IndexSegment("0" * 32, 1, 1, 1, (), RowRuns.of(np.array(sorted(ids))), {})
        left = made.without(np.array(sorted(invalid), np.int64))
        assert left is not None
        return left


@st.composite
def cases(draw: st.DrawFn) -> Case:
    ids = draw(st.permutations(range(ROWS)))[: draw(st.integers(1, ROWS))]
    cuts = sorted(draw(st.sets(st.integers(1, len(ids)), max_size=4)) - {len(ids)})
    fragments = [list(ids[start:end]) for start, end in zip([0, *cuts], [*cuts, len(ids)], strict=True)]
    kept = {fragment[-1] for fragment in fragments}
    case = Case(fragments, draw(BITS) - kept)
    free = set(range(ROWS))
    for _ in range(draw(st.integers(0, 3))):
        held = draw(BITS)
        invalid = (held & draw(BITS)) | (held - free)
        if held - invalid:
            case.segments.append((held, invalid))
            free -= held - invalid
    return case


@given(cases())
def test_every_live_row_is_covered_once_or_left_to_be_searched(case: Case) -> None:
    manifest = case.manifest()
    coverage = coverage_of(manifest, manifest.indices[0], unopened)
    covered: set[int] = set()
    for segment, (held, invalid) in zip(coverage.segments, case.segments, strict=True):
        expected = (held - invalid) & case.live
        ordinals = np.arange(segment.rows) if segment.valid is None else np.array(segment.valid, np.int64)
        assert set(segment.ids(ordinals).tolist()) == expected
        assert (segment.valid is None) == (held == expected)
        assert segment.valid_rows == len(expected)
        covered |= expected
    left = {(f.id, i) for f, offsets in coverage.uncovered for i in offsets.tolist()}
    rows = {(n, i): row for n, ids in enumerate(case.fragments) for i, row in enumerate(ids)}
    assert {rows[place] for place in left} == case.live - covered
    assert [f.id for f, _ in coverage.uncovered] == sorted({n for n, _ in left})
    assert all((np.diff(offsets) > 0).all() for _, offsets in coverage.uncovered)
    assert (coverage.covered_rows, coverage.uncovered_rows) == (len(covered), len(left))
    for segment in coverage.segments:
        held = spread(coverage.left([segment]).spans)
        ordinals = np.arange(segment.rows) if segment.valid is None else np.array(segment.valid, np.int64)
        assert set(held.tolist()) == (case.live - covered) | set(segment.ids(ordinals).tolist())


def test_a_row_in_two_segments_is_corrupt() -> None:
    case = Case([[0, 1, 2]], set(), [({0, 1}, set()), ({1, 2}, set())])
    manifest = case.manifest()
    with pytest.raises(Corrupt, match="row id 1 is in two segments"):
        _ = coverage_of(manifest, manifest.indices[0], unopened).covered_rows
