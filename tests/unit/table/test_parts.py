from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rowids import fragment

from lance_like.errors import Corrupt
from lance_like.table import parts
from lance_like.table.fragment import Fragment
from lance_like.table.parts import (
    FANOUT,
    Items,
    Part,
    PartEntry,
    Tree,
    decode_part,
    encode_part,
    extend,
    mapped,
    replaced,
)
from lance_like.table.reference import Ref


class Stored:
    """Parts as bytes; counts what is read."""

    def __init__(self) -> None:
        self.parts: dict[Ref, tuple[Fragment | Part, ...]] = {}
        self.reads: list[Ref] = []

    def _load(self, entry: PartEntry) -> tuple[Fragment | Part, ...]:
        self.reads.append(entry.ref)
        return self.parts[entry.ref]

    def written(self, tree: Tree) -> Tree:
        """The tree with parts that are read when they are asked for."""
        return Tree(tuple(self._write(part) for part in tree.parts), tree.tail)

    def _write(self, part: Part) -> Part:
        if part.stored is not None:
            return part
        items = tuple(self._write(item) if isinstance(item, Part) else item for item in part.items)
        ref = Ref(f"_meta/{len(self.parts):032x}.part", 1, 0)
        self.parts[ref] = items
        return Part(part.level, stored=part.written(ref, items).entry, load=self._load)


def singles(number: int, first: int = 0) -> tuple[Fragment, ...]:
    return tuple(fragment(i, [(i, i + 1)]) for i in range(first, first + number))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8))
def test_a_growing_tree_keeps_order_and_a_small_root_and_reads_no_part(steps: list[int]) -> None:
    stored, tree, all_fragments = Stored(), Tree(), ()
    for step in steps:
        added = singles(step, len(all_fragments))
        all_fragments += added
        tree = stored.written(extend(tree, added))
        assert len(tree.tail) <= FANOUT
        assert max(Counter(part.level for part in tree.parts).values(), default=0) < FANOUT
        assert (tree.count, tree.rows, tree.live_rows) == (len(all_fragments),) * 3
    assert not stored.reads
    assert tree.fragments == tuple(tree.iterate()) == all_fragments


def test_a_part_below_is_of_a_lower_level() -> None:
    child = Part(1).written(Ref(f"_meta/{'a' * 32}.part", 1, 2), singles(1))
    for level in (1, 2):
        data = encode_part(Part(level), [child])
        if level == 2:
            assert decode_part(data, "here", level=2) == (child.entry,)
        else:
            with pytest.raises(Corrupt, match="a level below 1"):
                decode_part(data, "here", level=1)
    with pytest.raises(Corrupt):
        decode_part(data, "here", level=0)


def test_an_append_writes_no_old_part_again() -> None:
    stored = Stored()
    before = stored.written(extend(Tree(), singles(FANOUT * 3 + 5)))
    after = extend(before, singles(1, 999))
    assert all(mine is theirs for mine, theirs in zip(before.parts, after.parts, strict=True))
    assert not stored.reads


def test_a_changed_fragment_rewrites_its_leaf_and_what_stands_above_it() -> None:
    stored = Stored()
    before = stored.written(extend(Tree(), singles(FANOUT * FANOUT + 2 * FANOUT + 1)))
    assert [part.level for part in before.parts] == [1, 0, 0]
    number = FANOUT + 6  # in the second leaf
    changed = fragment(number, [(number, number + 2)], [1])
    after = replaced(before, {number: (changed,)})
    assert [part.stored is None for part in after.parts] == [True, False, False]
    assert [item.stored is None for item in after.parts[0].items] == [False, True] + [False] * (FANOUT - 2)
    assert len(stored.reads) == 2
    assert after.find(number) is changed
    assert (after.count, after.rows, after.live_rows) == (before.count, before.rows + 1, before.live_rows)


def test_what_no_part_holds_changes_no_part() -> None:
    stored = Stored()
    before = stored.written(extend(Tree(), singles(FANOUT + 3)))
    after = replaced(before, {FANOUT + 1: (), 999: ()})
    assert after.parts[0] is before.parts[0]
    assert after.tail == (before.tail[0], before.tail[2])
    assert not stored.reads


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("extend"), st.integers(1, 12)),
        st.tuples(st.just("replace"), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=8)),
        st.tuples(st.just("map"), st.integers(1, 2)),
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(CHANGES)
def test_a_tree_is_the_list_of_its_fragments(changes: list) -> None:
    with mock.patch.object(parts, "FANOUT", 3):
        stored, tree, expected, ids = Stored(), Tree(), [], count()
        for kind, value in changes:
            if kind == "extend":
                added = [fragment(i, [(i, i + 2)]) for _, i in zip(range(value), ids, strict=False)]
                tree, expected = extend(tree, added), expected + added
            elif kind == "replace":
                new = {old: _fresh(ids, number) for old, number in value}
                tree = replaced(tree, new)
                expected = [made for one in expected for made in new.get(one.id, (one,))]
            else:
                tree = mapped(tree, lambda one, rows=value: replace(one, rows=rows))
                expected = [replace(one, rows=value) for one in expected]
            tree = stored.written(tree)
            assert (tree.count, tree.rows) == (len(expected), sum(one.rows for one in expected))
            assert list(tree.fragments) == expected
            assert len(tree.tail) <= 3
        for number in range(next(ids) + 1):
            found = [one for one in expected if one.id == number]
            assert tree.find(number) == (found[0] if found else None)


def _fresh(ids: Iterable[int], number: int) -> tuple[Fragment, ...]:
    return tuple(fragment(i, [(i, i + 1)]) for _, i in zip(range(number), ids, strict=False))


def test_a_fragment_is_found_by_reading_the_parts_that_may_hold_it() -> None:
    stored = Stored()
    tree = stored.written(extend(Tree(), singles(FANOUT * FANOUT + 2 * FANOUT + 1)))
    found = tree.find(FANOUT + 6)
    assert found is not None
    assert found.id == FANOUT + 6
    assert len(stored.reads) == 2
    assert tree.find(FANOUT * FANOUT + 2 * FANOUT) is tree.tail[0]
    assert tree.find(10**6) is None
    assert len(stored.reads) == 2


def test_a_part_that_is_not_as_its_parent_says_is_corrupt_when_it_is_read() -> None:
    part = Part(0, singles(3)).written(Ref(f"_meta/{'a' * 32}.part", 1, 2), singles(3))
    wrong: Mapping[str, object] = {
        "fragments": 2,
        "rows": 4,
        "live_rows": 2,
        "fragment_ids": (0, 4),
        "row_ids": (0, 9),
    }
    for name, value in wrong.items():
        entry = replace(part.entry, **{name: value})
        bad = Part(0, stored=entry, load=lambda _: singles(3))
        assert getattr(bad, name) == value
        with pytest.raises(Corrupt):
            _ = bad.items
    assert Part(0, stored=part.entry, load=lambda _: singles(3)).items == singles(3)


def test_deleted_rows_count_in_no_live_rows() -> None:
    held: Items = Part(0, (fragment(0, [(0, 5)], [1, 2]), fragment(1, [(5, 8)])))
    assert held.live_starts.tolist() == [0, 3, 6]
    assert (held.rows, held.live_rows) == (8, 6)


def test_a_fragment_id_in_two_parts_is_found_by_who_goes_through_all() -> None:
    once = extend(Tree(), singles(2 * FANOUT + 1))
    twice = Stored().written(Tree((*once.parts, *extend(Tree(), singles(FANOUT + 1)).parts)))
    found = twice.iterate()
    assert [next(found).id for _ in range(2 * FANOUT)] == list(range(2 * FANOUT))
    with pytest.raises(Corrupt, match="id 0 stands twice"):
        next(found)
    with pytest.raises(Corrupt, match="id 0 stands twice"):
        _ = twice.fragments
