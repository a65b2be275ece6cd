"""Arguments of kinds that no caller should give, and of kinds that some do."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import lance_like
from lance_like import LanceDataset, col
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


def either_or_both(column: Any, depth: int) -> Any:
    """A condition of that depth: by turns all of it and another, and one of the two."""
    return reduce(lambda made, n: made | (column != n) if n % 2 else made & (column != n), range(depth), column > 1)


NESTED: dict[str, Callable[[int], Any]] = {
    "text": lambda depth: reduce(
        lambda made, n: f"({made}) {'or' if n % 2 else 'and'} i <> {n}", range(depth), "i > 1"
    ),
    "arrow": lambda depth: either_or_both(pc.field("i"), depth),
    "built": lambda depth: either_or_both(col("i"), depth),
    "negated": lambda depth: reduce(lambda made, _: ~made, range(depth), col("i") > 1),
}


@pytest.mark.parametrize("form", NESTED)
def test_a_condition_that_is_nested_too_deeply_is_refused_wherever_it_is_asked(form: str, ds: LanceDataset) -> None:
    few, many = NESTED[form](60), NESTED[form](600)
    assert ds.count_rows(few) <= 5
    assert ds.scanner(filter=few).explain_plan()
    for ask in (ds.count_rows, ds.delete, lambda one: ds.to_table({"x": one}), lambda one: ds.scanner(filter=one)):
        with pytest.raises(InvalidInput, match="nested too deeply"):
            ask(many)


def test_a_sum_of_too_many_numbers_is_refused(ds: LanceDataset) -> None:
    def sum_of(count: int) -> Any:
        return reduce(lambda made, _: made + 1, range(count), col("i"))

    assert ds.count_rows(sum_of(60) > 62) == 2
    assert ds.to_table({"x": sum_of(60)})["x"].to_pylist() == list(range(60, 65))
    for count in (600, 5000):
        with pytest.raises(InvalidInput):
            ds.count_rows(sum_of(count) > 1)
        with pytest.raises(InvalidInput):
            ds.to_table({"x": sum_of(count)})


def test_a_pattern_too_large_for_regular_expressions_is_judged(ds: LanceDataset) -> None:
    assert ds.count_rows("t like '" + "%_" * 50_000 + "'") == 0
    assert ds.count_rows("t not ilike '" + "_%" * 50_000 + "'") == 5


def test_half_letters_are_no_text_and_no_place(ds: LanceDataset, tmp_path: Any) -> None:
    with pytest.raises(InvalidInput, match="expected a text"):
        ds.to_table(full_text_query={"match": {"terms": "a\ud800", "column": "t"}})
    with pytest.raises(InvalidInput, match="is not a URI"):
        lance_like.write_dataset({"i": [1]}, f"{tmp_path}/\ud800")
    # One that stands for a byte which is no UTF-8 is a name of a file.
    assert lance_like.write_dataset({"i": [1]}, f"{tmp_path}/\udc80").count_rows() == 1
