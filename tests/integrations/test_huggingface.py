"""Hugging Face datasets: written as they are, and made of tables, in memory and as streams."""

from __future__ import annotations

import numpy as np
import pytest

import lance_like
from lance_like.errors import InvalidInput

hf = pytest.importorskip("datasets")
from datasets.distributed import split_dataset_by_node  # noqa: E402

from lance_like.integrations.huggingface import to_dataset, to_iterable_dataset  # noqa: E402

ROWS = 2500
FEATURES = hf.Features(
    {
        "a": hf.Value("int64"),
        "label": hf.ClassLabel(names=["cat", "dog"]),
        "img": hf.Image(decode=False),
        "grid": hf.Array2D((2, 3), "float32"),
        "words": hf.Sequence(hf.Value("string")),
    }
)


@pytest.fixture(scope="module")
def source():
    rows = {
        "a": list(range(ROWS)),
        "label": [i % 2 for i in range(ROWS)],
        "img": [{"bytes": bytes([i % 256]), "path": None} for i in range(ROWS)],
        "grid": [np.full((2, 3), i, np.float32) for i in range(ROWS)],
        "words": [["w"] * (i % 3) for i in range(ROWS)],
    }
    return hf.Dataset.from_dict(rows, features=FEATURES)


@pytest.fixture(scope="module")
def table(source):
    return lance_like.write_dataset(source, "memory://hf-table", mode="overwrite", max_rows_per_file=1000)


def test_a_dataset_is_written_and_comes_back_with_its_features(source, table):
    made = to_dataset(table)
    assert made.features == FEATURES
    assert made[:] == source[:]


def test_the_order_and_choice_of_rows_of_a_dataset_are_kept(source):
    shuffled = source.shuffle(seed=3).select(range(1100)).with_format("numpy")
    made = lance_like.write_dataset(shuffled, "memory://hf-shuffled", mode="overwrite")
    assert made.to_table(["a"])["a"].to_pylist() == shuffled.with_format(None)["a"][:]


def test_some_columns_and_rows(table):
    made = to_dataset(table, ["label", "a"], "a < 3")
    assert made.features == hf.Features({"label": FEATURES["label"], "a": FEATURES["a"]})
    assert made.to_dict() == {"label": [0, 1, 0], "a": [0, 1, 2]}


def test_a_stream_has_a_shard_a_fragment_and_gives_every_row_once(source, table):
    stream = to_iterable_dataset(table, ["a", "words"])
    assert stream.n_shards == 3
    assert [row["a"] for row in stream] == list(range(ROWS))
    dealt = [row["a"] for rank in range(3) for row in split_dataset_by_node(stream, rank, 3)]
    assert sorted(dealt) == list(range(ROWS))
    assert [row["a"] for row in to_iterable_dataset(table, ["a"], "a >= 2490")] == list(range(2490, ROWS))


def test_a_column_that_the_features_do_not_name_has_the_feature_of_its_type(table):
    branch = lance_like.write_dataset(table, "memory://hf-more", mode="overwrite")
    branch.add_columns({"twice": "a * 2"})
    assert to_dataset(branch, ["twice", "label"]).features == hf.Features(
        {"twice": hf.Value("int64"), "label": FEATURES["label"]}
    )


def test_streams_of_theirs_are_written_with_and_without_features(source):
    known = source.to_iterable_dataset(num_shards=2)
    made = lance_like.write_dataset(known, "memory://hf-stream", mode="overwrite")
    assert made.to_table(["a"])["a"].to_pylist() == list(range(ROWS))
    mapped = known.select_columns(["a"]).map(lambda row: {"b": row["a"] + 1})
    assert mapped.features is None
    made = lance_like.write_dataset(mapped, "memory://hf-stream", mode="overwrite")
    assert made.to_table(["b"])["b"].to_pylist() == list(range(1, ROWS + 1))


def test_several_datasets_in_one_are_refused(source):
    with pytest.raises(InvalidInput, match="several datasets"):
        lance_like.write_dataset(hf.DatasetDict({"train": source}), "memory://hf-dict")


def test_an_empty_table_makes_an_empty_stream(source):
    made = lance_like.write_dataset(source.select([]), "memory://hf-empty", mode="overwrite")
    assert to_dataset(made).features == FEATURES
    assert list(to_iterable_dataset(made)) == []
