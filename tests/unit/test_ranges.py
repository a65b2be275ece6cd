"""Arithmetic on byte ranges, against slices of Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lance_like.ranges import answer_from, answer_from_parts, coalesce, gather_from, has_negative, lengths_to_offsets
from lance_like.typing_ import Ranges, Spanning

DATA = np.random.default_rng(0).integers(0, 256, 300, np.uint8)


def as_ranges(pairs: list[tuple[int, int]]) -> Ranges:
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


pair = st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda ends: (min(ends), max(ends)))
any_pairs = st.lists(pair, max_size=40)


@st.composite
def equal_pairs(draw: st.DrawFn) -> list[tuple[int, int]]:
    width = draw(st.integers(0, 300))
    starts = draw(st.lists(st.integers(0, 300 - width), max_size=40))
    return [(start, start + width) for start in starts]


@given(any_pairs | equal_pairs())
def test_ranges_are_gathered_end_to_end_in_the_order_given(pairs: list[tuple[int, int]]) -> None:
    gathered = gather_from(DATA, *as_ranges(pairs))
    assert gathered.dtype == np.uint8
    assert gathered.flags.c_contiguous
    assert gathered.tobytes() == b"".join(DATA[start:end].tobytes() for start, end in pairs)


@given(pair)
def test_one_range_is_a_view(ends: tuple[int, int]) -> None:
    gathered = gather_from(DATA, *as_ranges([ends]))
    assert gathered.base is DATA
    assert len(gathered) == ends[1] - ends[0]


def test_a_spanning_ask_is_answered_by_one_view() -> None:
    answer = answer_from(DATA, Spanning(*as_ranges([(7, 9), (20, 31)])))
    assert answer.base is DATA
    assert answer.tobytes() == DATA[7:31].tobytes()


def test_gathering_from_nothing() -> None:
    none = np.empty(0, np.uint8)
    for pairs in ([], [(0, 0)], [(0, 0)] * 3):
        assert len(gather_from(none, *as_ranges(pairs))) == 0


def test_a_read_only_source_is_gathered() -> None:
    data = np.frombuffer(b"0123456789", np.uint8)
    assert gather_from(data, *as_ranges([(8, 10), (0, 2)])).tobytes() == b"8901"
    assert gather_from(data, *as_ranges([(8, 10), (0, 3)])).tobytes() == b"89012"


@given(any_pairs, st.integers(0, 50))
def test_coalesced_ranges_ascend_and_cover_the_same_bytes(pairs: list[tuple[int, int]], gap: int) -> None:
    starts, ends = coalesce(*as_ranges(pairs), gap=gap)
    wanted = {byte for start, end in pairs for byte in range(start, end)}
    covered = [byte for start, end in zip(starts.tolist(), ends.tolist(), strict=True) for byte in range(start, end)]
    assert wanted <= set(covered)
    assert len(covered) == len(set(covered))
    assert (starts[1:] > ends[:-1] + gap).all()
    edges = set(as_ranges(pairs)[0].tolist()) | set(as_ranges(pairs)[1].tolist())
    assert set(starts.tolist()) | set(ends.tolist()) <= edges


@given(any_pairs)
def test_without_a_gap_nothing_more_is_covered(pairs: list[tuple[int, int]]) -> None:
    starts, ends = coalesce(*as_ranges(pairs), gap=0)
    assert int((ends - starts).sum()) == len({byte for start, end in pairs for byte in range(start, end)})


@given(st.lists(st.integers(0, 2**40), max_size=100))
def test_offsets_are_the_sums_of_lengths(lengths: list[int]) -> None:
    offsets = lengths_to_offsets(np.array(lengths, np.int64))
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [sum(lengths[:i]) for i in range(len(lengths) + 1)]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=100))
def test_a_number_below_0_is_seen_among_any(numbers: list[int]) -> None:
    assert has_negative(np.array(numbers, np.int64)) == any(number < 0 for number in numbers)


# Few ranges and many, equal and not, narrow and wide: each has a way of its own.
@pytest.mark.parametrize("count", [2, 32, 33, 600])
@pytest.mark.parametrize("width", [3, 5000])
@pytest.mark.parametrize("spread", [0, 1, 3])
def test_any_number_of_ranges_of_any_width_is_gathered_in_the_order_asked(count: int, width: int, spread: int) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, 20_000, np.uint8)
    starts = rng.integers(0, 10_000, count)
    ends = starts + width - rng.integers(0, spread + 1, count)
    wanted = b"".join(data[start:end].tobytes() for start, end in zip(starts, ends, strict=True))
    assert gather_from(data, starts, ends).tobytes() == wanted


def test_ranges_farther_apart_than_memory_is_large_are_answered_by_one_buffer() -> None:
    parts = as_ranges([(5, 15), (1 << 40, (1 << 40) + 20)])
    ask = Spanning(*as_ranges([(7, 9), ((1 << 40) + 3, (1 << 40) + 10)]))
    answer = answer_from_parts(DATA[:30], *parts, ask)
    assert len(answer) == (1 << 40) + 3
    assert answer[:2].tolist() == DATA[2:4].tolist()
    assert answer[-7:].tolist() == DATA[13:20].tolist()
    assert not answer.flags.writeable
