"""create, append, overwrite and insert: what fits, what is refused, how files are cut, how progress is told."""

from __future__ import annotations

import datetime as dt
import io
import os
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from dataset_values import assert_same, people
from tqdm import tqdm

import lance_like
from lance_like import WriteProgress
from lance_like.errors import AlreadyExists, InvalidInput


def test_create_refuses_a_place_that_is_taken_and_says_what_to_do(uri):
    lance_like.write_dataset({"a": [1]}, uri)
    with pytest.raises(AlreadyExists, match=r"version 1.*mode='append'"):
        lance_like.write_dataset({"a": [2]}, uri)
    assert lance_like.dataset(uri).to_table().to_pydict() == {"a": [1]}


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_append_and_overwrite_create_what_is_missing(mode, uri):
    assert lance_like.write_dataset({"a": [1]}, uri, mode=mode).version == 1


def test_an_unknown_mode_is_refused(uri):
    with pytest.raises(InvalidInput, match="'create', 'append' or 'overwrite'"):
        lance_like.write_dataset({"a": [1]}, uri, mode="replace")
    ds = lance_like.write_dataset({"a": [1]}, uri)
    with pytest.raises(InvalidInput, match="'append' or 'overwrite'"):
        ds.insert({"a": [2]}, mode="create")
    assert ds.latest_version == 1


def test_append_keeps_the_rows_and_their_order(uri):
    lance_like.write_dataset(people(5), uri)
    ds = lance_like.write_dataset(people(3), uri, mode="append")
    assert ds.version == 2
    assert_same(ds.to_table(), pa.concat_tables([people(5), people(3)]))


def test_overwrite_may_change_every_column(uri):
    lance_like.write_dataset(people(5), uri)
    ds = lance_like.write_dataset({"i": ["text now"]}, uri, mode="overwrite")
    assert ds.to_table().to_pydict() == {"i": ["text now"]}
    assert_same(ds.checkout_version(1).to_table(), people(5))


def test_append_matches_columns_by_name_and_fills_missing_ones_with_null(uri):
    ds = lance_like.write_dataset(people(1), uri)
    ds.insert({"t": ["new"], "i": [5]})
    ds.insert([{"s": {"y": {"z": "deep"}}}])
    assert ds.to_table().to_pylist()[1:] == [
        {"i": 5, "s": None, "t": "new"},
        {"i": None, "s": {"x": None, "y": {"z": "deep"}}, "t": None},
    ]


def test_append_of_no_rows_and_of_no_columns_changes_no_row(uri):
    ds = lance_like.write_dataset(people(2), uri)
    ds.insert(people(0))
    ds.insert({})
    assert_same(ds.to_table(), people(2))


def test_append_refuses_a_column_that_the_table_does_not_have(uri):
    ds = lance_like.write_dataset({"a": [1]}, uri)
    with pytest.raises(InvalidInput, match=r"'b'.*add_columns"):
        ds.insert({"a": [1], "b": [2]})
    with pytest.raises(InvalidInput, match="two columns 'a'"):
        ds.insert(pa.table([[1], [2]], names=["a", "a"]))


def test_append_refuses_to_leave_out_a_column_that_may_not_be_null(uri):
    schema = pa.schema([pa.field("a", pa.int64(), False), pa.field("b", pa.int64())])
    ds = lance_like.write_dataset({"a": [1], "b": [1]}, uri, schema=schema)
    with pytest.raises(InvalidInput, match="lacks 'a'"):
        ds.insert({"b": [1]})
    with pytest.raises(InvalidInput, match="'a' may not be null"):
        ds.insert({"a": pa.array([None], pa.int64())})
    assert ds.latest_version == 1


HALF = [
    (pa.int64(), pa.array([1, None], pa.int8()), [1, None]),
    (pa.int8(), pa.array([1], pa.int64()), [1]),
    (pa.int64(), pa.array([2.0]), [2]),
    (pa.float64(), pa.array([3], pa.int32()), [3.0]),
    (pa.float32(), pa.array([0.5, float("inf"), None]), [0.5, float("inf"), None]),
    (pa.string(), pa.array(["x"], pa.large_string()), ["x"]),
    (pa.string(), pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
    (pa.dictionary(pa.int8(), pa.string()), pa.array(["x", None]), ["x", None]),
    (pa.binary(2), pa.array([b"xy"]), [b"xy"]),
    (pa.timestamp("ns"), pa.array([dt.datetime(2020, 1, 1)], pa.timestamp("s")), [dt.datetime(2020, 1, 1)]),
    (pa.timestamp("s"), pa.array([dt.datetime(2020, 1, 1)], pa.timestamp("us")), [dt.datetime(2020, 1, 1)]),
    (pa.decimal128(10, 2), pa.array([Decimal("1.5")]), [Decimal("1.50")]),
    (pa.list_(pa.float32(), 2), pa.array([[1.0, 2.0]]), [[1.0, 2.0]]),
    (pa.struct([("x", pa.int64()), ("y", pa.string())]), pa.array([{"y": "q"}]), [{"x": None, "y": "q"}]),
    (pa.int64(), pa.nulls(2), [None, None]),
]


@pytest.mark.parametrize(("kind", "given", "stored"), HALF, ids=lambda value: str(getattr(value, "type", value))[:40])
def test_append_casts_where_no_value_changes(kind, given, stored, uri):
    ds = lance_like.write_dataset(pa.table({"a": pa.array([], kind)}), uri)
    ds.insert(pa.table({"a": given}))
    assert ds.to_table()["a"].to_pylist() == stored
    assert ds.schema.field("a").type == kind


CHANGING = [
    (pa.int8(), pa.array([300])),
    (pa.int64(), pa.array([1.5])),
    (pa.uint8(), pa.array([-1])),
    (pa.float64(), pa.array([2**53 + 1])),
    (pa.float32(), pa.array([1e300])),
    (pa.float16(), pa.array([1e30], pa.float32())),
    (pa.list_(pa.float32()), pa.array([[1e300]])),
    (pa.struct([("x", pa.float32())]), pa.array([{"x": 1e300}])),
    (pa.bool_(), pa.array([5])),
    (pa.bool_(), pa.array([0.5])),
    (pa.decimal128(10, 2), pa.array([1.257])),
    (pa.decimal128(10, 2), pa.array([Decimal("1.257")])),
    (pa.date32(), pa.array([dt.datetime(2020, 1, 1, 5)])),
    (pa.date64(), pa.array([dt.datetime(2020, 1, 1, 5)])),
    (pa.time64("us"), pa.array([dt.datetime(2020, 1, 1, 5)])),
    (pa.timestamp("s"), pa.array([dt.datetime(2020, 1, 1, microsecond=5)])),
    (pa.timestamp("us", "UTC"), pa.array([dt.datetime(2020, 1, 1)])),
    (pa.timestamp("us"), pa.array([0], pa.timestamp("us", "Europe/Paris"))),
    (pa.struct([("x", pa.int64())]), pa.array([{"x": 1, "lost": 2}])),
    (pa.list_(pa.struct([("x", pa.int64())])), pa.array([[{"x": 1, "lost": 2}]])),
    (pa.list_(pa.float32(), 2), pa.array([[1.0, 2.0, 3.0]])),
    (pa.binary(2), pa.array([b"xyz"])),
    (pa.string(), pa.array([b"\xff"])),
    (pa.string(), pa.array([{"x": 1}])),
]


@pytest.mark.parametrize(("kind", "given"), CHANGING, ids=lambda value: str(getattr(value, "type", value))[:40])
def test_append_refuses_a_cast_that_would_change_a_value(kind, given, uri):
    ds = lance_like.write_dataset(pa.table({"a": pa.array([], kind)}), uri)
    with pytest.raises(InvalidInput, match=r"'a' of type .* does not fit"):
        ds.insert(pa.table({"a": given}))
    assert ds.latest_version == 1


def test_insert_can_overwrite_and_insert_a_dataset_into_itself(uri):
    ds = lance_like.write_dataset(people(3), uri)
    ds.insert(ds)
    assert_same(ds.to_table(), pa.concat_tables([people(3), people(3)]))
    ds.insert({"q": [1]}, mode="overwrite")
    assert ds.to_table().to_pydict() == {"q": [1]}


def test_insert_takes_the_options_of_write_dataset_and_no_others(uri):
    ds = lance_like.write_dataset({"a": [1]}, uri)
    told: list[WriteProgress] = []
    ds.insert(
        pa.table({"a": ["2", "3"]}),
        schema=pa.schema([("a", pa.int64())]),
        max_rows_per_file=1,
        progress=told.append,
        commit_message="more",
        transaction_properties={"why": "test"},
    )
    assert len(ds.get_fragments()) == 3
    assert told[-1].rows == 2
    about = ds.versions()[-1]["metadata"]
    assert (about["message"], about["why"]) == ("more", "test")
    with pytest.raises(InvalidInput, match="'spped' is not an option"):
        ds.insert({"a": [1]}, spped=1)


# Files


@pytest.mark.parametrize(
    ("limit", "cut"), [(4, [4, 4, 2]), (1, [1] * 10), (10, [10]), (11, [10]), (np.int64(5), [5, 5])]
)
def test_files_are_cut_at_the_row_limit_exactly(limit, cut, uri):
    for source in (people(10), people(10).to_reader(3), iter(people(10).to_batches(max_chunksize=7))):
        ds = lance_like.write_dataset(source, uri, mode="overwrite", max_rows_per_file=limit)
        assert [fragment.physical_rows for fragment in ds.get_fragments()] == cut
        assert_same(ds.to_table(), people(10))


def test_files_are_cut_at_about_the_byte_limit(uri):
    table = pa.table({"a": [b"x" * 1000] * 64})
    ds = lance_like.write_dataset(table.to_reader(8), uri, max_bytes_per_file=16_000)
    assert [fragment.physical_rows for fragment in ds.get_fragments()] == [16] * 4


def test_one_big_batch_is_cut_at_the_row_limit_without_reading_ahead(uri):
    pulled = []

    def batches():
        for start in range(0, 10, 2):
            pulled.append(start)
            yield people(10).slice(start, 2).combine_chunks().to_batches()[0]

    told: list[tuple[int, int]] = []
    lance_like.write_dataset(batches(), uri, progress=lambda now: told.append((now.rows, len(pulled))))
    assert all(ahead <= rows // 2 + 1 for rows, ahead in told)


@pytest.mark.parametrize("limit", [0, -1, "3", 2.5, None])
def test_a_limit_that_is_no_positive_integer_is_refused(limit, uri):
    for name in ("max_rows_per_file", "max_bytes_per_file"):
        with pytest.raises(InvalidInput, match=name):
            lance_like.write_dataset({"a": [1]}, uri, **{name: limit})


def test_progress_only_grows_and_ends_with_all_rows_bytes_and_files(tmp_path):
    told: list[WriteProgress] = []
    lance_like.write_dataset(people(10).to_reader(2), tmp_path, max_rows_per_file=4, progress=told.append)
    steps = [(now.files, now.rows) for now in told]
    assert steps == sorted(steps)
    stored = sum(path.stat().st_size for path in (tmp_path / "data").iterdir())
    assert told[-1] == WriteProgress(rows=10, nbytes=stored, files=3)


@pytest.mark.parametrize("values", [[True, False] * 4000, [1, 2] * 63, ["", "x" * 990, ""]], ids=["bit", "int", "text"])
def test_a_large_batch_is_taken_in_pieces_of_about_equal_bytes(values, uri, monkeypatch):
    monkeypatch.setattr("lance_like.dataset.write._PIECE_NBYTES", 500)
    told: list[int] = []
    table = pa.table({"a": values})
    ds = lance_like.write_dataset(table, uri, progress=lambda now: told.append(now.rows))
    assert len(set(told)) == max(2, len(values) * -(-table.nbytes // 500) // len(values))
    assert_same(ds.to_table(), table)


def test_a_commit_syncs_each_file_and_each_folder_once(tmp_path, monkeypatch):
    synced: list[int] = []
    real = os.fsync

    def sync(descriptor):
        synced.append(descriptor)
        real(descriptor)

    # Now the folders above are known to be durable.
    lance_like.write_dataset(people(3), tmp_path / "other")
    monkeypatch.setattr(os, "fsync", sync)
    lance_like.write_dataset(people(3), tmp_path / "t")
    # Three files; the folders that hold them; _versions, the table's own folder and what holds that.
    assert len(synced) == 3 + 3 + 3
    synced.clear()
    lance_like.write_dataset(people(3), tmp_path / "t", mode="append")
    assert len(synced) == 2 + 2


def test_progress_drives_a_bar(uri):
    with tqdm(total=10, file=io.StringIO()) as bar:
        lance_like.write_dataset(
            people(10).to_reader(3), uri, max_rows_per_group=2, progress=lambda now: bar.update(now.rows - bar.n)
        )
        assert bar.n == 10


def test_an_error_of_progress_stops_the_write(uri):
    def stop(now: WriteProgress) -> None:
        raise RuntimeError(f"stopped at {now.rows}")

    with pytest.raises(RuntimeError, match="stopped at 10"):
        lance_like.write_dataset(people(10), uri, progress=stop)
    with pytest.raises(lance_like.errors.NotFound):
        lance_like.dataset(uri)


# What is kept about a commit


def test_messages_and_properties_are_kept(uri):
    ds = lance_like.write_dataset({"a": [1]}, uri, commit_message="né", transaction_properties={"job": "7"})
    about = ds.versions()[0]["metadata"]
    assert (about["kind"], about["message"], about["job"]) == ("create", "né", "7")


@pytest.mark.parametrize(
    "options",
    [
        {"commit_message": 5},
        {"commit_message": "\ud800"},
        {"transaction_properties": {"a": 5}},
        {"transaction_properties": {5: "a"}},
    ],
    ids=str,
)
def test_a_message_that_is_no_text_is_refused_before_anything_is_visible(options, uri):
    with pytest.raises(InvalidInput):
        lance_like.write_dataset({"a": [1]}, uri, **options)
    with pytest.raises(lance_like.errors.NotFound):
        lance_like.dataset(uri)


def test_an_unknown_durability_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="durability"):
        lance_like.write_dataset({"a": [1]}, tmp_path, durability="often")


def test_a_dataset_in_memory_and_one_on_disk_answer_alike(uri, tmp_path):
    for place in (uri, tmp_path / "full"):
        ds = lance_like.write_dataset(people(9), place, max_rows_per_file=4)
        assert_same(ds.to_table(), people(9))
    ds = lance_like.write_dataset(people(9), tmp_path / "process", durability="process")
    assert_same(ds.to_table(), people(9))
