"""Tables of other formats become datasets: `lance_like.convert`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

import lance_like
from lance_like.dataset.verify import verify_dataset
from lance_like.errors import AlreadyExists, InvalidInput, MissingDependency, NotFound, Unsupported
from lance_like.integrations.convert import parquet, version

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False, metadata={"unit": "none"}),
        pa.field("text", pa.string()),
        pa.field("list", pa.list_(pa.float32())),
        pa.field("point", pa.struct([pa.field("x", pa.float64()), pa.field("name", pa.string())])),
    ],
    metadata={"made by": "a test"},
)


def rows(start: int, end: int) -> pa.Table:
    ids = range(start, end)
    columns = [
        list(ids),
        [None if i % 3 == 0 else f"text {i}" for i in ids],
        [None if i % 4 == 0 else [i / 2] * (i % 5) for i in ids],
        [{"x": float(i), "name": str(i)} for i in ids],
    ]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def properties(ds: lance_like.LanceDataset) -> list[dict[str, Any]]:
    return [entry["metadata"] for entry in ds.versions()]


# -- Lance --


@pytest.fixture
def lance() -> Any:
    return pytest.importorskip("lance")


def test_the_newest_version_of_a_lance_table_keeps_rows_and_metadata(lance: Any, tmp_path: Path) -> None:
    source = lance.write_dataset(rows(0, 100), tmp_path / "l", max_rows_per_file=30)
    source.delete("id = 7 or id = 95")
    ds = lance_like.convert(tmp_path / "l", tmp_path / "t")
    expected = source.to_table()
    assert ds.to_table().equals(expected)
    assert ds.schema.equals(expected.schema, check_metadata=True)
    assert ds.version == 1
    about = properties(ds)[0]
    assert (about["source_format"], about["source_version"]) == ("lance", "2")
    assert about["source"] == str(tmp_path / "l")


def test_tagged_versions_become_tagged_versions(lance: Any, tmp_path: Path) -> None:
    source = lance.write_dataset(rows(0, 50), tmp_path / "l")
    source.tags.create("first", 1)
    source.tags.create("also-first", 1)
    source.insert(rows(50, 60))
    source.insert(rows(60, 70))
    source.tags.create("grown", 3)
    source.delete("id < 10")
    source.tags.create("less", 4)
    source.insert(rows(70, 71))
    ds = lance_like.convert(tmp_path / "l", tmp_path / "t")
    assert {tag: about["version"] for tag, about in ds.tags.list().items()} == {
        "also-first": 1,
        "first": 1,
        "grown": 2,
        "less": 3,
    }
    for tag in ("first", "grown", "less"):
        assert ds.checkout_version(tag).to_table().equals(source.checkout_version(tag).to_table())
    assert ds.to_table().equals(source.to_table())
    assert [about["source_version"] for about in properties(ds)] == ["1", "3", "4", "5"]


def test_versions_that_append_share_the_rows_before(lance: Any, tmp_path: Path) -> None:
    source = lance.write_dataset(rows(0, 50), tmp_path / "l")
    source.tags.create("first", 1)
    source.insert(rows(50, 60))
    source.tags.create("second", 2)
    source.delete("id = 3")
    ds = lance_like.convert(tmp_path / "l", tmp_path / "t")
    assert [about["kind"] for about in properties(ds)] == ["create", "append", "overwrite"]


def test_columns_that_came_later_are_those_of_their_versions(lance: Any, tmp_path: Path) -> None:
    source = lance.write_dataset(rows(0, 10), tmp_path / "l")
    source.tags.create("narrow", 1)
    source.add_columns({"double": "id * 2"})
    ds = lance_like.convert(tmp_path / "l", tmp_path / "t")
    assert ds.checkout_version("narrow").schema.names == SCHEMA.names
    assert ds.to_table(columns=["double"])["double"].to_pylist() == [2 * i for i in range(10)]


def test_tags_can_be_left_behind(lance: Any, tmp_path: Path) -> None:
    source = lance.write_dataset(rows(0, 10), tmp_path / "l")
    source.tags.create("first", 1)
    source.insert(rows(10, 20))
    ds = lance_like.convert(tmp_path / "l", tmp_path / "t", tagged=False)
    assert (ds.version, ds.count_rows(), ds.tags.list()) == (1, 20, {})


def branching(lance: Any, place: Path) -> Any:
    """A table of 3 versions. dev begins at 2 and has 2 more; dev/sub at the first of it, with 1 more; idle at 3."""
    source = lance.write_dataset(rows(0, 10), place)
    source.insert(rows(10, 20))
    dev = source.create_branch("dev", 2)
    dev.insert(rows(20, 25))
    dev.delete("id = 3")
    source.create_branch("dev/sub", ("dev", 2)).insert(rows(30, 31))
    source.insert(rows(20, 40))
    source.create_branch("idle")
    return source


def test_branches_are_converted_with_their_tags(lance: Any, tmp_path: Path) -> None:
    source = branching(lance, tmp_path / "l")
    places = {"begun": ("dev", 2), "grown": ("dev", 3), "idle": ("idle", 3), "old": (None, 1)}
    for tag, place in places.items():
        source.tags.create(tag, place)
    ds = lance_like.convert(tmp_path / "l", tmp_path / "t")
    for reference in (*places, (None, None), ("dev", None), ("dev/sub", None), ("idle", None)):
        assert ds.checkout_version(reference).to_table().equals(source.checkout_version(reference).to_table())
    assert {tag: about["branch"] for tag, about in ds.tags.list().items()} == {
        tag: branch for tag, (branch, _) in places.items()
    }
    assert {name: (about["parent_branch"], about["parent_version"]) for name, about in ds.branches.list().items()} == {
        "dev": (None, 2),
        "dev/sub": ("dev", 2),
        "idle": (None, 3),
    }
    kinds = [about["kind"] for about in properties(ds.checkout_version(("dev", None)))]
    assert kinds == ["append", "append", "overwrite"]
    assert verify_dataset(ds._store).ok


def test_branches_can_be_left_behind(lance: Any, tmp_path: Path) -> None:
    source = branching(lance, tmp_path / "l")
    ds = lance_like.convert(tmp_path / "l", tmp_path / "t", branched=False)
    assert (ds.version, ds.branches.list()) == (1, {})
    source.tags.create("there", ("dev", 3))
    with pytest.raises(Unsupported, match="'there' names a version in the branch 'dev'"):
        lance_like.convert(tmp_path / "l", tmp_path / "other", branched=False)
    assert not (tmp_path / "other").exists()
    assert lance_like.convert(tmp_path / "l", tmp_path / "other", branched=False, tagged=False).count_rows() == 40


def test_metadata_and_configuration_of_each_version_are_kept(lance: Any, tmp_path: Path) -> None:
    options = {"interval": 50, "older_than_seconds": 14 * 86_400}
    source = lance.write_dataset(rows(0, 10), tmp_path / "l", auto_cleanup_options=options)
    source.update_metadata({"owner": "first"})
    source.tags.create("first", source.version)
    source.insert(rows(10, 20))
    source.update_metadata({"owner": "second"})
    ds = lance_like.convert(tmp_path / "l", tmp_path / "t")
    first = ds.checkout_version("first")
    assert (first.metadata, ds.metadata) == ({"owner": "first"}, {"owner": "second"})
    assert ds.config() == first.config() == source.config()
    assert [about["kind"] for about in properties(ds)] == ["create", "update_metadata", "append", "update_metadata"]
    for _ in range(50):
        ds.insert(rows(0, 1))


@pytest.mark.parametrize("stored", ["2.1", "2.2"])
def test_blob_columns_stay_blob_columns(lance: Any, tmp_path: Path, stored: str) -> None:
    cells = [b"small", None, b"L" * 200_000, b""]
    if stored == "2.1":
        field = pa.field("video", pa.large_binary(), metadata={"lance-encoding:blob": "true"})
        blobs = pa.array(cells, pa.large_binary())
    else:
        field, blobs = lance.blob_field("video"), lance.blob_array(cells)
    table = pa.table([pa.array(range(4)), blobs], schema=pa.schema([pa.field("id", pa.int64()), field]))
    lance.write_dataset(table, tmp_path / "l", data_storage_version=stored)
    ds = lance_like.convert(tmp_path / "l", tmp_path / "t")
    assert ds.schema.field("video").metadata[b"lance-encoding:blob"] == b"true"
    assert pa.types.is_struct(ds.schema.field("video").type)
    files = ds.take_blobs("video", indices=range(4))
    assert [None if file is None else file.read() for file in files] == cells


def test_windows_of_rows_grow_and_shrink_with_their_bytes(
    lance: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lance_like.integrations.convert import lance as reader

    cells = [b"x" * (10 if i < 100 else 10_000) for i in range(170)]
    lance.write_dataset(pa.table({"b": cells}), tmp_path / "l", max_rows_per_file=100)
    monkeypatch.setattr(reader, "BATCH_NBYTES", 20_000)
    asked: list[int] = []
    scan = reader._scan

    def counted(table: Any, fragment: Any, start: int, count: int) -> Any:
        asked.append(count)
        return scan(table, fragment, start, count)

    monkeypatch.setattr(reader, "_scan", counted)
    ds = lance_like.convert(tmp_path / "l", tmp_path / "t")
    assert ds.to_table()["b"].to_pylist() == cells
    assert asked[:6] == [1, 4, 16, 64, 15, 60]
    assert asked[6:] == [1] * 10


# -- Parquet --


def test_a_parquet_file_keeps_rows_and_metadata(tmp_path: Path) -> None:
    pq.write_table(rows(0, 100), tmp_path / "x.parquet", row_group_size=30)
    ds = lance_like.convert(tmp_path / "x.parquet", tmp_path / "t")
    # Parquet calls the items of a list "element".
    assert ds.schema.equals(pq.read_schema(tmp_path / "x.parquet"), check_metadata=True)
    assert ds.schema.metadata == SCHEMA.metadata
    assert ds.to_table().to_pydict() == rows(0, 100).to_pydict()


def test_parquet_files_of_a_folder_follow_by_name(tmp_path: Path) -> None:
    for name, start in (("b", 10), ("a", 0), ("c", 20)):
        (tmp_path / "p" / name).mkdir(parents=True)
        pq.write_table(rows(start, start + 10), tmp_path / "p" / name / "x.parquet")
    ds = lance_like.convert(tmp_path / "p", tmp_path / "t", format="parquet")
    assert ds.to_table()["id"].to_pylist() == list(range(30))


def test_hive_partitions_become_columns(tmp_path: Path) -> None:
    table = pa.table({"id": range(6), "day": ["a b", "c=d", "a b", None, "c=d", None], "hour": [1, 2, 1, 2, 3, 3]})
    pa.dataset.write_dataset(
        table, tmp_path / "p", format="parquet", partitioning=["day", "hour"], partitioning_flavor="hive"
    )
    ds = lance_like.convert(tmp_path / "p", tmp_path / "t")
    found = ds.to_table(columns=["id", "day", "hour"]).sort_by("id")
    assert found.to_pydict() == table.to_pydict()


def test_a_partition_column_that_files_hold_too_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "p" / "day=1").mkdir(parents=True)
    pq.write_table(pa.table({"day": pa.array([1, 1], pa.int32()), "a": [1, 2]}), tmp_path / "p" / "day=1" / "x.parquet")
    ds = lance_like.convert(tmp_path / "p", tmp_path / "t")
    assert ds.to_table().to_pydict() == {"day": [1, 1], "a": [1, 2]}


def test_parquet_files_of_different_columns_make_one_schema(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    pq.write_table(pa.table({"a": pa.array([1], pa.int32())}), tmp_path / "p" / "1.parquet")
    pq.write_table(pa.table({"b": ["x"], "a": pa.array([2], pa.int64())}), tmp_path / "p" / "2.parquet")
    ds = lance_like.convert(tmp_path / "p", tmp_path / "t")
    assert ds.to_table().to_pydict() == {"a": [1, 2], "b": [None, "x"]}
    assert ds.schema.field("a").type == pa.int64()


def test_parquet_columns_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "p" / "1.parquet")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "p" / "2.parquet")
    with pytest.raises(InvalidInput, match="Field a has incompatible types"):
        lance_like.convert(tmp_path / "p", tmp_path / "t")


def test_wide_parquet_rows_are_read_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BATCH_NBYTES", 100_000)
    table = pa.table({"b": [np.random.default_rng(i).bytes(10_000) for i in range(50)]})
    pq.write_table(table, tmp_path / "x.parquet")
    [found] = parquet.read_parquet(str(tmp_path / "x.parquet"), version.Wanted())
    assert max(len(batch) for batch in found.batches()) <= 10


def test_a_damaged_parquet_file_is_an_error_of_ours(tmp_path: Path) -> None:
    pq.write_table(rows(0, 1_000), tmp_path / "x.parquet", compression="none")
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    data[10:4_000] = b"\xff" * 3_990
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(InvalidInput, match="the Parquet table cannot be read") as caught:
        lance_like.convert(tmp_path / "x.parquet", tmp_path / "t")
    assert caught.value.where.endswith("x.parquet")


def test_an_empty_table_keeps_its_schema(tmp_path: Path) -> None:
    pq.write_table(rows(0, 0), tmp_path / "x.parquet")
    ds = lance_like.convert(tmp_path / "x.parquet", tmp_path / "t")
    assert ds.count_rows() == 0
    assert ds.schema.equals(pq.read_schema(tmp_path / "x.parquet"), check_metadata=True)


# -- Delta --


@pytest.fixture
def delta() -> Any:
    return pytest.importorskip("deltalake")


def test_the_newest_version_of_a_delta_table_keeps_rows_and_field_metadata(delta: Any, tmp_path: Path) -> None:
    delta.write_deltalake(tmp_path / "d", rows(0, 60))
    delta.write_deltalake(tmp_path / "d", rows(60, 100), mode="append")
    delta.DeltaTable(tmp_path / "d").delete("id = 7")
    ds = lance_like.convert(tmp_path / "d", tmp_path / "t")
    expected = pa.concat_tables([rows(0, 7), rows(8, 100)])
    assert ds.to_table().sort_by("id").to_pydict() == expected.to_pydict()
    assert ds.schema.field("id") == SCHEMA.field("id")
    assert ds.schema.field("id").metadata == {b"unit": b"none"}
    assert ds.schema.field("text").type == pa.string()
    assert properties(ds)[0]["source_version"] == "2"


def test_partition_columns_of_delta_tables_are_kept(delta: Any, tmp_path: Path) -> None:
    table = pa.table({"id": range(6), "day": ["a b", "c=d", "a b", None, "c=d", None]})
    delta.write_deltalake(tmp_path / "d", table, partition_by=["day"])
    ds = lance_like.convert(tmp_path / "d", tmp_path / "t")
    assert ds.to_table().sort_by("id").to_pydict() == table.to_pydict()


def test_a_delta_table_with_features_of_readers_is_read(delta: Any, tmp_path: Path) -> None:
    delta.write_deltalake(tmp_path / "d", rows(0, 10), configuration={"delta.enableDeletionVectors": "true"})
    assert delta.DeltaTable(tmp_path / "d").protocol().min_reader_version == 3
    ds = lance_like.convert(tmp_path / "d", tmp_path / "t")
    assert ds.to_table().sort_by("id").to_pydict() == rows(0, 10).to_pydict()
    assert ds.schema.field("text").type == pa.string()


# -- places --


def test_a_dataset_of_another_format_says_what_to_call(tmp_path: Path) -> None:
    (tmp_path / "p" / "day=1").mkdir(parents=True)
    pq.write_table(rows(0, 10), tmp_path / "p" / "day=1" / "x.parquet")
    with pytest.raises(NotFound, match="this is a Parquet table") as caught:
        lance_like.dataset(tmp_path / "p")
    assert f"lance_like.convert({str(tmp_path / 'p')!r}, " in caught.value.hint


def test_a_format_that_is_not_converted_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "i" / "metadata").mkdir(parents=True)
    (tmp_path / "i" / "metadata" / "v1.metadata.json").write_text("{}")
    with pytest.raises(NotFound, match="Iceberg") as caught:
        lance_like.dataset(tmp_path / "i")
    assert "its own library" in caught.value.hint
    with pytest.raises(InvalidInput, match="the table of another format here is Iceberg"):
        lance_like.convert(tmp_path / "i", tmp_path / "t")


@pytest.mark.parametrize("content", ["nothing", "text", "dataset"])
def test_a_source_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    if content == "text":
        (tmp_path / "s").write_text("hello")
    if content == "dataset":
        lance_like.write_dataset(rows(0, 1), tmp_path / "s")
    with pytest.raises(InvalidInput) as caught:
        lance_like.convert(tmp_path / "s", tmp_path / "t")
    assert caught.value.where == str(tmp_path / "s")
    assert not (tmp_path / "t").exists()


def test_the_place_must_be_free(tmp_path: Path) -> None:
    pq.write_table(rows(0, 10), tmp_path / "x.parquet")
    lance_like.write_dataset(rows(0, 1), tmp_path / "taken")
    for place in (tmp_path / "taken", tmp_path):
        with pytest.raises(AlreadyExists, match="choose another place"):
            lance_like.convert(tmp_path / "x.parquet", place)
    assert lance_like.dataset(tmp_path / "taken").version == 1


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'delta', 'lance', 'parquet'"):
        lance_like.convert(tmp_path, tmp_path / "t", format="orc")  # type: ignore[arg-type]


@pytest.mark.parametrize(("library", "extra"), [("lance", "lance"), ("deltalake", "delta")])
def test_a_missing_library_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependency) as caught:
        lance_like.convert(tmp_path, tmp_path / "t", format=extra)  # type: ignore[arg-type]
    assert f"lance_like[{extra}]" in caught.value.hint


@pytest.mark.parametrize("library", ["lance", "deltalake"])
def test_what_a_library_cannot_read_is_an_error_of_ours(tmp_path: Path, library: str) -> None:
    pytest.importorskip(library)
    name = {"lance": "lance", "deltalake": "delta"}[library]
    (tmp_path / "s").mkdir()
    with pytest.raises(InvalidInput, match="cannot be read") as caught:
        lance_like.convert(tmp_path / "s", tmp_path / "t", format=name)  # type: ignore[arg-type]
    assert (caught.value.kind, caught.value.where) == ("source", str(tmp_path / "s"))


def test_errors_while_reading_carry_the_place() -> None:
    def broken() -> Any:
        yield 1
        raise KeyError("gone")

    found = version.each(broken(), "table", "there")
    assert next(found) == 1
    with pytest.raises(InvalidInput, match="gone") as caught:
        next(found)
    assert caught.value.where == "there"


def test_progress_is_told(tmp_path: Path) -> None:
    pq.write_table(rows(0, 100), tmp_path / "x.parquet")
    seen: list[int] = []
    lance_like.convert(tmp_path / "x.parquet", tmp_path / "t", progress=lambda now: seen.append(now.rows))
    assert seen[-1] == 100
