"""bfloat16 in Arrow: rounding, casts, and tables of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like.arrow import BFloat16Array, BFloat16Type, bfloat16_array, cast
from lance_like.errors import InvalidInput

RANDOM = np.random.default_rng(7)
# Of all sizes, and numbers exactly between two of bfloat16.
NUMBERS = np.concatenate(
    (
        RANDOM.integers(0, 1 << 32, 5_000, dtype=np.uint32).view(np.float32),
        ((RANDOM.integers(0, 1 << 15, 500, dtype=np.uint32) << 16) | 0x8000).view(np.float32),
        np.array([0.0, -0.0, np.inf, -np.inf, 1.0, 3.4e38], np.float32),
    )
)


def nearest(number: np.float32) -> float:
    """The nearest number of which 16 bits are enough, the even one of two; above the largest, infinity."""
    low = int(number.view(np.uint32)) >> 16
    below, above = (np.array([bits << 16], np.uint32).view(np.float32)[0] for bits in (low, low + 1))
    if not np.isfinite(number) or number == below:
        return float(below)
    # The step above the largest counts as long as the one below it.
    end = math.copysign(2.0**128, number) if not np.isfinite(above) else float(above)
    down, up = abs(float(number) - float(below)), abs(end - float(number))
    return float(below) if down < up or (down == up and low % 2 == 0) else float(above)


def test_numbers_are_rounded_to_the_nearest() -> None:
    numbers = NUMBERS[~np.isnan(NUMBERS)]
    made = BFloat16Array.from_numpy(numbers).to_numpy()
    assert made.dtype == np.float32
    assert made.tolist() == [nearest(number) for number in numbers]
    assert np.isnan(BFloat16Array.from_numpy(NUMBERS[np.isnan(NUMBERS)]).to_numpy()).all()


def test_an_array_has_nulls_slices_and_texts() -> None:
    made = bfloat16_array([1.5, None, "-2", float("inf")])
    assert (made.type, made.null_count, made.to_pylist()) == (BFloat16Type(), 1, [1.5, None, -2.0, float("inf")])
    assert made[2:].to_numpy().tolist() == [-2.0, float("inf")]
    assert len(bfloat16_array([])) == 0
    with pytest.raises(InvalidInput, match="null"):
        made.to_numpy()
    with pytest.raises(InvalidInput, match="numbers"):
        bfloat16_array(["one"])
    with pytest.raises(InvalidInput, match="dimensions"):
        BFloat16Array.from_numpy(np.zeros((2, 2)))


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_floats_are_cast_there_and_back(kind: pa.DataType) -> None:
    floats = pa.array([0.5, None, -3.0, 256.0], kind)
    for name in ("bfloat16", "bf16", BFloat16Type()):
        assert cast(cast(floats, name), kind) == floats
    assert cast(cast(floats, "bf16")[1:], kind) == floats[1:]
    lists = pa.FixedSizeListArray.from_arrays(floats, 2, mask=pa.array([False, True]))
    halves = cast(lists, pa.list_(BFloat16Type(), 2))
    assert cast(halves, pa.list_(kind, 2)) == lists
    assert cast(halves[:1], pa.list_(kind, 2)) == lists[:1]


def test_other_casts_are_those_of_arrow_or_refused() -> None:
    assert cast(pa.array([1, 2]), pa.int8()) == pa.array([1, 2], pa.int8())
    made = bfloat16_array([1])
    assert cast(made, "bf16") is made
    for wrong in (lambda: cast(made, pa.int8()), lambda: cast(pa.array([1]), "bf16")):
        with pytest.raises(InvalidInput, match="floats"):
            wrong()
    with pytest.raises(InvalidInput, match="2 items"):
        cast(pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0]), 2), pa.list_(BFloat16Type(), 3))


def test_tables_hold_them_and_vectors_of_them_are_searched(tmp_path: Path) -> None:
    numbers = RANDOM.normal(size=400 * 8).astype(np.float32)
    halves = BFloat16Array.from_numpy(numbers)
    table = pa.table({"n": halves[:400], "v": pa.FixedSizeListArray.from_arrays(halves, 8), "i": range(400)})
    ds = lance_like.write_dataset(table, tmp_path / "t")
    ds = lance_like.dataset(tmp_path / "t")
    assert (ds.schema, ds.to_table()) == (table.schema, table)
    assert ds.take([7, 3], ["n"])["n"].to_pylist() == [table["n"][7].as_py(), table["n"][3].as_py()]
    query = {"column": "v", "q": halves.to_numpy()[8 * 17 : 8 * 18], "k": 3}
    expected = ds.to_table(["i"], nearest=query)["i"].to_pylist()
    assert expected[0] == 17
    ds.create_index("v", "IVF_FLAT", num_partitions=2)
    assert ds.to_table(["i"], nearest={**query, "nprobes": 2})["i"].to_pylist() == expected
