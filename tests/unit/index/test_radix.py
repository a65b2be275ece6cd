"""Integers in order, packed with their places or by 16 bits at a time."""

import numpy as np
import pytest

from lance_like.index.radix import stable_order


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"])
@pytest.mark.parametrize("share", [1, 1 << 6, 1 << 12, 1 << 40])
def test_it_is_the_order_that_comparing_gives(dtype: str, share: int) -> None:
    kind = np.iinfo(dtype)
    numbers = np.random.default_rng(share).integers(kind.min, kind.max, 3000, np.dtype(dtype), endpoint=True)
    numbers[:2] = kind.min, kind.max
    for some in (numbers, numbers // max(1, min(share, kind.max)), numbers[:1], numbers[:0]):
        assert (stable_order(some) == np.argsort(some, kind="stable")).all()


def test_equal_numbers_stay_as_they_came() -> None:
    assert stable_order(np.full(100, -7)).tolist() == [*range(100)]
    for high in (1, 1 << 20, 1 << 62):
        assert stable_order(np.array([high, 0, high, 0])).tolist() == [1, 3, 0, 2]
        assert stable_order(np.array([high, -high, high, -high])).tolist() == [1, 3, 0, 2]
