"""Names and options of pylance's that stand for something small here."""

from __future__ import annotations

import importlib
import inspect
import json
import pickle
import uuid
from pathlib import Path
from types import FunctionType
from typing import Any

import pyarrow as pa
import pytest

import lance_like
from lance_like.dataset import ScannerBuilder
from lance_like.errors import Conflict, InvalidInput, NotFound
from lance_like.file import stable_version
from lance_like.fragment import DEFAULT_MAX_BYTES_PER_FILE, FragmentMetadata, LanceFragment, write_fragments
from lance_like.progress import FileSystemFragmentWriteProgress, FragmentWriteProgress
from lance_like.schema import LanceSchema

TABLE = pa.table({"x": range(10), "s": [{"a": i, "b": str(i)} for i in range(10)]})


@pytest.fixture
def dataset(tmp_path: Path) -> lance_like.LanceDataset:
    return lance_like.write_dataset(TABLE, tmp_path / "t", max_rows_per_file=4)


def test_a_schema_has_the_numbers_of_its_fields(dataset: lance_like.LanceDataset) -> None:
    dataset.drop_columns(["x"])
    dataset.add_columns({"y": "s.a + 1"})
    schema = dataset.lance_schema
    assert [(field.name(), field.id()) for field in schema.fields()] == [("s", 1), ("y", 4)]
    assert [(field.name(), field.id()) for field in schema.fields()[0].children()] == [("a", 2), ("b", 3)]
    assert dataset.max_field_id == 4
    assert schema.to_pyarrow() == dataset.schema
    assert pickle.loads(pickle.dumps(schema)) == schema
    dataset.alter_columns({"path": "s.a", "name": "other"})
    assert dataset.lance_schema.field("s.other").id() == 2
    assert dataset.lance_schema.field_case_insensitive("S.Other").id() == 2


def test_a_schema_of_a_new_table_is_numbered_from_0(dataset: lance_like.LanceDataset) -> None:
    assert LanceSchema.from_pyarrow(TABLE.schema) == dataset.lance_schema
    assert dataset.lance_schema.field("nothing") is None
    assert dataset.lance_schema.field_case_insensitive("s.nothing") is None
    with pytest.raises(InvalidInput, match="case"):
        LanceSchema.from_pyarrow(pa.schema({"_Aa": pa.int8(), "_AA": pa.int8()})).field_case_insensitive("_aa")


def test_field_metadata_is_text(dataset: lance_like.LanceDataset) -> None:
    dataset.update_field_metadata({"s.b": {"unit": "m"}})
    assert dataset.lance_schema.field("s.b").metadata == {"unit": "m"}


def test_a_sample_has_each_row_at_most_once(dataset: lance_like.LanceDataset) -> None:
    assert sorted(dataset.sample(10)["x"].to_pylist()) == list(range(10))
    some = dataset.sample(4, ["x"], randomize_order=False)["x"].to_pylist()
    assert some == sorted(set(some)) and len(some) == 4
    assert len(dataset.sample(0)) == 0
    with pytest.raises(InvalidInput, match="11"):
        dataset.sample(11)
    with pytest.raises(InvalidInput, match="expected an integer"):
        dataset.sample(2.5)  # type: ignore[arg-type]


def test_fragments_of_a_scan_may_come_from_an_iterator(dataset: lance_like.LanceDataset) -> None:
    fragments = dataset.get_fragments()
    assert dataset.scanner(["x"], fragments=iter(fragments[1:])).to_table()["x"].to_pylist() == list(range(4, 10))


@pytest.mark.parametrize("rows", [1, 3, 4, 7, 10, 100])
def test_strict_batches_have_so_many_rows(dataset: lance_like.LanceDataset, rows: int) -> None:
    batches = list(dataset.to_batches(batch_size=rows, strict_batch_size=True))
    assert [len(batch) for batch in batches[:-1]] == [rows] * (len(batches) - 1)
    assert pa.Table.from_batches(batches) == dataset.to_table()
    assert list(dataset.to_batches(filter="x > 99", batch_size=rows, strict_batch_size=True)) == []


def test_strict_batches_without_columns_have_their_rows(dataset: lance_like.LanceDataset) -> None:
    batches = dataset.to_batches([], filter="x != 5", batch_size=4, strict_batch_size=True)
    assert [len(batch) for batch in batches] == [4, 4, 1]


def test_a_dropped_table_is_gone_and_strangers_stay(tmp_path: Path) -> None:
    place = tmp_path / "t"
    dataset = lance_like.write_dataset(TABLE, place)
    dataset.create_branch("other").insert(TABLE)
    dataset.tags.create("one", 1)
    lance_like.LanceDataset.drop(place)
    assert not place.exists()
    lance_like.LanceDataset.drop(place, ignore_not_found=True)
    with pytest.raises(NotFound):
        lance_like.LanceDataset.drop(place)
    lance_like.write_dataset(TABLE, place)
    (place / "notes.txt").write_text("mine")
    lance_like.LanceDataset.drop(place)
    assert [path.name for path in place.iterdir()] == ["notes.txt"]


def test_what_is_no_table_is_not_dropped(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").write_text("mine")
    with pytest.raises(NotFound):
        lance_like.LanceDataset.drop(tmp_path)
    assert (tmp_path / "data" / "mine").read_text() == "mine"


class Watcher(FragmentWriteProgress):
    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def begin(self, fragment: FragmentMetadata, **options: Any) -> None:
        self.seen.append(("begin", fragment.id, fragment.physical_rows))

    def complete(self, fragment: FragmentMetadata, **options: Any) -> None:
        self.seen.append(("complete", fragment.id, fragment.physical_rows))


def test_a_watcher_is_told_of_each_file(tmp_path: Path) -> None:
    watcher = Watcher()
    expected = [("begin", 0, 0), ("complete", 0, 4), ("begin", 1, 0), ("complete", 1, 4), ("begin", 2, 0)]
    expected.append(("complete", 2, 2))
    lance_like.write_dataset(TABLE, tmp_path / "t", max_rows_per_file=4, progress=watcher)
    assert watcher.seen == expected
    watcher.seen.clear()
    write_fragments(TABLE, tmp_path / "t", max_rows_per_file=4, progress=watcher)
    assert watcher.seen == expected


def test_a_folder_tells_what_is_being_written(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    progress = FileSystemFragmentWriteProgress(notes, {"worker": "7"})
    made = LanceFragment.create(tmp_path / "t", TABLE, progress=progress)
    assert [path.name for path in notes.iterdir()] == ["fragment_0.json"]
    noted = FragmentMetadata.from_json((notes / "fragment_0.json").read_text())
    assert [file.path for file in noted.files] == [file.path for file in made.files]

    def broken() -> Any:
        yield TABLE.to_batches()[0]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_fragments(broken(), tmp_path / "t", TABLE.schema, progress=progress)
    begun = json.loads((notes / "fragment_0.in_progress").read_text())
    assert begun == {"fragment_id": 0, "metadata": {"worker": "7"}}


def test_writers_of_fragments_with_numbers_share_a_folder(tmp_path: Path) -> None:
    progress = FileSystemFragmentWriteProgress(tmp_path / "notes")
    made = [LanceFragment.create(tmp_path / "t", TABLE, number, progress=progress) for number in (3, 5)]
    for one in made:
        noted = FragmentMetadata.from_json((tmp_path / "notes" / f"fragment_{one.id}.json").read_text())
        assert (noted.id, noted.files[0].path) == (one.id, one.files[0].path)
    assert len(list((tmp_path / "notes").iterdir())) == 2
    with pytest.raises(InvalidInput, match="fragment_id=-1"):
        LanceFragment.create(tmp_path / "t", TABLE, -1, progress=progress)
    assert len(list((tmp_path / "t" / "data").iterdir())) == 2


def test_operations_take_schemas_with_numbers(dataset: lance_like.LanceDataset) -> None:
    made = [fragment.merge_columns({"y": "x * 2"}) for fragment in dataset.get_fragments()]
    merge = lance_like.LanceOperation.Merge([fragment for fragment, _ in made], made[0][1])
    dataset = lance_like.LanceDataset.commit(dataset, merge, read_version=1)
    assert dataset.to_table(["y"])["y"].to_pylist() == list(range(0, 20, 2))
    other = LanceSchema.from_pyarrow(pa.schema([("z", pa.int64()), *list(dataset.schema)[1:]]))
    dataset = lance_like.LanceDataset.commit(dataset, lance_like.LanceOperation.Project(other), read_version=2)
    assert dataset.schema.names == ["z", "s", "y"]


def test_without_retries_a_commit_follows_its_version_or_fails(dataset: lance_like.LanceDataset) -> None:
    fragments = write_fragments(TABLE, dataset.uri, mode="overwrite", data_storage_version="stable")
    overwrite = lance_like.LanceOperation.Overwrite(TABLE.schema, fragments)
    lance_like.LanceDataset.commit(dataset.uri, overwrite, read_version=1, max_retries=0)
    with pytest.raises(Conflict, match="version 2"):
        lance_like.LanceDataset.commit(dataset.uri, overwrite, read_version=1, max_retries=0)
    assert lance_like.dataset(dataset.uri).version == 2
    lance_like.LanceDataset.commit(dataset.uri, overwrite, read_version=1)
    assert lance_like.dataset(dataset.uri).version == 3


# What programs for pylance import from its modules, and has a meaning here.
IMPORTED = {
    "dataset": "AlterColumn AutoCleanupConfig BatchUDF BlobFile Branch Branches BulkCommitResult ColumnOrdering "
    "Compaction CompactionMetrics DataFile DatasetDelta DatasetOptimizer DatasetStats DataStatistics DeleteResult "
    "ExecuteResult FieldStatistics FragmentMetadata FullTextQuery Index IndexConfig IndexFile IndexInformation "
    "LanceDataset LanceFragment LanceOperation LanceScanner LanceSchema LanceStats MergeInsertBuilder "
    "ScannerBuilder SqlQuery SqlQueryBuilder Tag Tags Transaction UpdateResult VectorSearchQuery Version "
    "VersionRef batch_udf write_dataset",
    "blob": "Blob BlobColumn BlobFile BlobType blob_array blob_field",
    "udf": "BatchUDF batch_udf",
    "indices": "IndexConfig IndicesBuilder IvfModel PqModel",
    "schema": "LanceSchema json_to_schema schema_to_json",
    "vector": "validate_vector_index vec_to_table",
    "file": "LanceFileReader LanceFileSession LanceFileWriter stable_version",
}


@pytest.mark.parametrize(("module", "name"), [(key, name) for key, names in IMPORTED.items() for name in names.split()])
def test_names_are_where_pylance_has_them(module: str, name: str) -> None:
    assert name in importlib.import_module(f"lance_like.{module}").__all__
    assert isinstance(getattr(importlib.import_module(f"lance_like.{module}"), name), type | FunctionType)


def test_cells_in_memory_are_files_too() -> None:
    cells = pa.chunked_array([pa.array([b"abc", None]), pa.array([b""])])
    files = list(lance_like.BlobColumn(cells))
    assert [None if file is None else file.read() for file in files] == [b"abc", None, b""]
    for wrong in (cells.cast(pa.string()), [b"abc"]):
        with pytest.raises(InvalidInput):
            lance_like.BlobColumn(wrong)  # type: ignore[arg-type]


def test_files_are_written_beside_those_of_a_table_and_committed(dataset: lance_like.LanceDataset) -> None:
    assert dataset.initial_storage_options is dataset.latest_storage_options() is None
    files, name = dataset.new_file_session(), f"data/{uuid.uuid4().hex}.lnl"
    with files.open_writer(name, schema=TABLE.schema, version=stable_version(), max_page_bytes=1000) as writer:
        writer.write_batch(TABLE)
    assert files.contains(name)
    append = lance_like.LanceOperation.Append([LanceFragment.create_from_file(name, dataset, 0)])
    assert lance_like.LanceDataset.commit(dataset, append, read_version=1).count_rows() == 20
    assert dataset.data_storage_version == stable_version()


def test_options_of_changes_that_say_nothing_here(dataset: lance_like.LanceDataset) -> None:
    assert dataset.update({"x": "1"}, where="x = 0", data_storage_version="2.1") == {"num_rows_updated": 1}
    merge = dataset.merge_insert("x").when_not_matched_insert_all().data_storage_version("2.1")
    merge.execute(TABLE.slice(0, 1))
    assert dataset.optimize.compact_files(data_storage_version="2.1").fragments_added == 1
    [fragment] = dataset.get_fragments()
    update = lance_like.LanceOperation.Update([], [fragment.metadata], fields_modified=[0], update_mode="rewrite_rows")
    assert update.update_mode == "rewrite_rows"
    group = lance_like.LanceOperation.RewriteGroup([fragment.metadata], [fragment.metadata])
    assert lance_like.LanceOperation.Rewrite([group], []).groups == [group]
    dataset.create_scalar_index("x", "BTREE")
    index = lance_like.dataset(dataset.uri).read_transaction(dataset.version).operation
    assert isinstance(index, lance_like.LanceOperation.CreateIndex)
    with pytest.raises(InvalidInput, match="rewritten_indices"):
        lance_like.LanceOperation.Rewrite([group], list(index.new_indices))


def test_a_scan_put_together_tells_what_it_read(dataset: lance_like.LanceDataset) -> None:
    told: list[lance_like.ScanStatistics] = []
    assert len(ScannerBuilder(dataset).scan_stats_callback(told.append).to_scanner().to_table()) == 10
    assert len(told) == 1 and told[0].bytes_read > 0


def test_a_delete_may_say_anything_of_why(dataset: lance_like.LanceDataset) -> None:
    [first, *_] = dataset.get_fragments()
    delete = lance_like.LanceOperation.Delete([first.delete("x = 1")], [], "because of ticket 17")
    dataset = lance_like.LanceDataset.commit(dataset, delete, read_version=1)
    assert dataset.count_rows() == 9
    assert dataset.read_transaction(2).operation.predicate == "because of ticket 17"


def test_the_default_size_of_files_can_be_named(tmp_path: Path) -> None:
    [one] = write_fragments(TABLE, tmp_path / "named", max_bytes_per_file=DEFAULT_MAX_BYTES_PER_FILE)
    assert one.physical_rows == 10
    assert inspect.signature(write_fragments).parameters["max_bytes_per_file"].default == DEFAULT_MAX_BYTES_PER_FILE


def test_blob_arrays_are_made_by_their_class() -> None:
    made = lance_like.BlobArray.from_pylist([b"a", None])
    assert isinstance(made, lance_like.blob.BlobArray) and made.equals(lance_like.blob_array([b"a", None]))


def test_a_lock_may_raise_a_conflict_without_words() -> None:
    from lance_like.commit import CommitConflictError

    assert str(CommitConflictError()) and CommitConflictError().retryable
