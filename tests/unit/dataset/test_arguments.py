"""Arguments of kinds that no caller should give, and of kinds that some do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.errors import InvalidInput


@pytest.fixture
def ds(uri: Any) -> LanceDataset:
    return lance_like.write_dataset({"i": range(5), "t": ["a"] * 5}, uri)


@pytest.mark.parametrize("wrong", [-1, 1.5, object(), {"i": "t"}, [1], ["i", None], b"i", pa.scalar(1)], ids=str)
@pytest.mark.parametrize(
    "call",
    [
        lambda ds, wrong: ds.drop_columns(wrong),
        lambda ds, wrong: ds.merge_insert(wrong),
        lambda ds, wrong: ds.create_scalar_index(wrong, "BTREE"),
        lambda ds, wrong: ds.to_table(order_by=wrong),
        lambda ds, wrong: ds.sql(wrong),
    ],
    ids=["drop", "merge", "index", "order", "sql"],
)
def test_names_and_texts_that_are_none_are_refused(
    call: Callable[[LanceDataset, Any], object], wrong: Any, ds: LanceDataset
) -> None:
    with pytest.raises(InvalidInput):
        call(ds, wrong)


def test_one_name_is_no_list_of_columns_to_drop(ds: LanceDataset) -> None:
    with pytest.raises(InvalidInput, match="list of names"):
        ds.drop_columns("i")


def test_names_may_come_one_by_one(ds: LanceDataset) -> None:
    assert ds.to_table(["i"], order_by=iter(["t", "i"]), limit=2)["i"].to_pylist() == [0, 1]
    ds.merge_insert(iter(["i"])).when_not_matched_insert_all().execute({"i": [5], "t": ["b"]})
    ds.create_scalar_index(iter(["i"]), "BTREE")
    ds.drop_columns(iter(["i"]))
    assert ds.to_table().to_pydict() == {"t": [*["a"] * 5, "b"]}


def test_numbers_larger_than_any_table_are_numbers(ds: LanceDataset) -> None:
    assert [batch.num_rows for batch in ds.to_batches(batch_size=10**30)] == [5]
    assert ds.to_table(limit=10**30, offset=2).num_rows == 3
    assert ds.to_table(offset=10**30).num_rows == 0


def test_a_number_of_arrow_is_a_number_of_rows_and_a_version(ds: LanceDataset) -> None:
    assert ds.sample(pa.scalar(5)).num_rows == 5
    told = ds.read_transaction(pa.scalar(1))
    assert told is not None and told.read_version == 0
