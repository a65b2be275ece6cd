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
