"""Keys are searched as Python's bisect would, and what a question asks for comes as keys in their order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from lance_like.errors import InvalidInput
from lance_like.index.scalar.keys import Keys, keys_of, keys_of_values

RNG = np.random.default_rng(4)


def texts(count: int, distinct: int) -> list[bytes]:
    """Texts in order, most of them several times where few are distinct."""
    return sorted(f"text {number:05d}".encode() for number in RNG.integers(0, distinct, count))


HELD = {
    "no texts": [],
    "few texts": texts(40, 12),
    "texts once": [f"{number:04d}".encode() for number in range(0, 600, 2)],
    "many texts": texts(5000, 900),
    "long texts": [bytes([65 + number]) * 5000 for number in range(20)],
    "numbers": sorted(RNG.integers(0, 300, 1000).tolist()),
}


def keys(values: list[bytes] | list[int]) -> Keys:
    kind = pa.int64() if values and isinstance(values[0], int) else pa.large_binary()
    return keys_of(pa.array(values, kind))


@pytest.mark.parametrize("asked", [1, 2, 400])
@pytest.mark.parametrize("case", HELD)
def test_keys_are_found_as_by_bisect(case: str, asked: int) -> None:
    held = HELD[case]
    near = [0, 7, 299, 300, *held] if case == "numbers" else [b"", b"text 00003", b"text 1", b"z", b"0002", b"B", *held]
    wanted = sorted({near[place % len(near)] for place in RNG.integers(0, 1 << 20, asked)})
    found, left, right = keys(held), *([side(held, one) for one in wanted] for side in (bisect_left, bisect_right))
    assert found.find(keys(wanted), "left").tolist() == left
    assert found.find(keys(wanted), "right").tolist() == right
    starts, ends = found.around(keys(wanted))
    assert (starts.tolist(), ends.tolist()) == (left, right)


@pytest.mark.parametrize("count", [1, 3, 200])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_texts_that_are_asked_for_come_in_order_each_once(kind: pa.DataType, count: int) -> None:
    values = [f"é{number % 70}" for number in range(count, 0, -1)]
    found = keys_of_values(pa.array(["left out", *values], kind)[1:], pa.large_string())
    assert found.values(pa.large_string()).to_pylist() == sorted(set(values), key=str.encode)


def test_one_value_is_one_key() -> None:
    when = datetime(2020, 1, 2, 3, 4, 5)
    for value, kind in [
        (7, pa.int64()),
        (200, pa.uint8()),
        (when, pa.timestamp("us")),
        (2.5, pa.float32()),
        ("a", None),
    ]:
        scalar = pa.scalar(value, kind)
        kind = kind or pa.large_string()
        assert keys_of_values(scalar, kind).values(kind).to_pylist() == [value]
    with pytest.raises(InvalidInput, match="the index holds int64"):
        keys_of_values(pa.scalar(7, pa.int32()), pa.int64())
