from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rowids import fragment

from lance_like.errors import Corrupt
from lance_like.table.fragment import Ref
from lance_like.table.parts import FANOUT, Part, Tree, arrange, decode_part, encode_part, with_children, with_ref


def written(tree: Tree) -> Tree:
    return replace(tree, parts=tuple(_written(part) for part in tree.parts))


def _written(part: Part) -> Part:
    if part.ref is not None:
        return part
    part = with_children(part, tuple(_written(child) for child in part.children))
    return with_ref(part, Ref("_meta/x.part", 1, id(part)))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8))
def test_a_growing_tree_keeps_order_and_a_small_root(steps: list[int]) -> None:
    tree, all_fragments = Tree(), ()
    for step in steps:
        start = len(all_fragments)
        all_fragments += tuple(fragment(i, [(i, i + 1)]) for i in range(start, start + step))
        tree = written(arrange(tree, all_fragments))
        assert tree.fragments == all_fragments
        assert len(tree.tail) <= FANOUT
        assert max(Counter(part.level for part in tree.parts).values(), default=0) < FANOUT


def test_a_part_below_is_of_a_lower_level() -> None:
    child = Part(1, (fragment(0, [(0, 1)]),), (), Ref(f"_meta/{'a' * 32}.part", 1, 2))
    for level in (1, 2):
        data = encode_part(Part(level, child.fragments, (child,)))
        if level == 2:
            assert decode_part(data, "here", level=2) == (child.entry,)
        else:
            with pytest.raises(Corrupt, match="a level below 1"):
                decode_part(data, "here", level=1)
    with pytest.raises(Corrupt):
        decode_part(data, "here", level=0)


def test_an_append_writes_no_old_part_again() -> None:
    fragments = tuple(fragment(i, [(i, i + 1)]) for i in range(FANOUT * 3 + 5))
    before = written(arrange(Tree(), fragments))
    after = arrange(before, (*fragments, fragment(999, [(999, 1000)])))
    assert all(mine is theirs for mine, theirs in zip(before.parts, after.parts, strict=True))


def test_a_changed_fragment_rewrites_its_leaf_and_what_stands_above_it() -> None:
    fragments = tuple(fragment(i, [(i, i + 1)]) for i in range(FANOUT * FANOUT + 2 * FANOUT + 1))
    before = written(arrange(Tree(), fragments))
    assert [part.level for part in before.parts] == [1, 0, 0]
    changed = (*fragments[:70], replace(fragments[70], created=((2, 1),)), *fragments[71:])
    after = arrange(before, changed)
    assert after.fragments == changed
    assert [part.ref is None for part in after.parts] == [True, False, False]
    assert [part.ref is None for part in after.parts[0].children] == [False, True] + [False] * (FANOUT - 2)
