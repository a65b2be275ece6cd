"""Flags in parts agree with flags in one piece."""

import numpy as np
import pytest

from lance_like.query import flagged


def _parts(rng: np.random.Generator, lengths: list[int]) -> list[np.ndarray]:
    return [rng.random(length) < 0.5 for length in lengths]


@pytest.mark.parametrize("lengths", [[7], [3, 4], [1, 1, 5], [0, 7], [7, 0], [2, 0, 5]])
@pytest.mark.parametrize("pieces", [[7], [4, 3], [1, 5, 1], [2, 2, 2, 1]])
def test_parts_are_narrowed_by_pieces_that_are_cut_otherwise(lengths: list[int], pieces: list[int]) -> None:
    rng = np.random.default_rng(len(lengths) * 10 + len(pieces))
    parts, others = _parts(rng, lengths), _parts(rng, pieces)
    wanted = np.concatenate(parts) & np.concatenate(others)
    first = 0
    for piece in others:
        flagged.narrow(parts, first, piece)
        first += len(piece)
    assert flagged.whole(parts).tolist() == wanted.tolist()
    assert flagged.count(parts) == np.count_nonzero(wanted)


def test_flags_that_cannot_be_written_are_copied() -> None:
    stored = np.ones(4, bool)
    stored.setflags(write=False)
    parts = [np.ones(2, bool), stored]
    flagged.narrow(parts, 1, np.array([False, True, False]))
    assert flagged.whole(parts).tolist() == [True, False, True, False, True, True]
    assert stored.all()


def test_rows_outside_a_piece_stay_as_they_are() -> None:
    parts = [np.array([True, False]), np.array([True, True])]
    flagged.narrow(parts, 2, np.array([False]))
    assert flagged.whole(parts).tolist() == [True, False, False, True]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.2, 1.0])
@pytest.mark.parametrize("lengths", [[20_000], [9_000, 0, 1, 10_999]])
def test_picked_rows_are_those_that_are_flagged(lengths: list[int], share: float) -> None:
    rng = np.random.default_rng(6)
    parts = [rng.random(length) < share for length in lengths]
    every = np.concatenate(parts)
    picked = flagged.Picked.of(parts)
    assert (picked.num_rows, picked.count) == (20_000, np.count_nonzero(every))
    assert picked.rows().tolist() == np.flatnonzero(every).tolist()
    assert (picked.flags is None) == (share <= 0.05)
    for first, last in ((0, 20_000), (0, 9_000), (8_999, 9_002), (19_999, 20_000)):
        part = picked.part(first, last)
        assert (part.num_rows, part.count) == (last - first, np.count_nonzero(every[first:last]))
        assert part.rows().tolist() == np.flatnonzero(every[first:last]).tolist()


@pytest.mark.parametrize("others", [0.0, 3.0])
@pytest.mark.parametrize("share", [0.04, 0.5])
def test_pieces_take_as_much_memory_each(share: float, others: float) -> None:
    rng = np.random.default_rng(7)
    # Twice as many in the second half.
    every = rng.random(1 << 20) < np.repeat([share / 2, share], 1 << 19)
    each, step = 40.0, 1 << 10
    cuts = flagged.Picked.of([every]).cuts(4, each, others, step)
    assert (cuts % step == 0).all()
    sizes = [len(piece) * others + np.count_nonzero(piece) * each for piece in np.split(every, cuts)]
    assert max(sizes) < 1.05 * min(sizes)


@pytest.mark.parametrize("lengths", [[], [5], [300_000], [10, 0, 200_000]])
def test_rows_are_counted_until_there_are_enough(lengths: list[int]) -> None:
    rng = np.random.default_rng(8)
    parts = [rng.random(length) < 0.5 for length in lengths]
    count = flagged.count(parts)
    for than in (0, 0.5, 1, count - 1, count, count + 0.5, count + 1, 10**9):
        assert flagged.are_fewer(parts, than) == (count < than), than
