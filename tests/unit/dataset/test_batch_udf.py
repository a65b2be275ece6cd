"""Functions with a schema and a checkpoint: after a crash, only what is missing is computed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dataset_values import three_fragments

import lance_like
from lance_like.errors import InvalidInput

SCHEMA = pa.schema([("n", pa.int64())])


class Crash(BaseException):
    """A process that ends."""


class Doubler:
    """Doubles `i`; ends the process in the call number `dies_at`."""

    def __init__(self, dies_at: int | None = None, schema: pa.Schema | None = SCHEMA) -> None:
        self.calls: list[int] = []
        self.dies_at, self.schema = dies_at, schema

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if len(self.calls) == self.dies_at:
            raise Crash
        self.calls.append(batch["i"][0].as_py())
        return pa.record_batch({"n": pc.multiply(batch["i"], 2)})

    def add(self, ds: lance_like.LanceDataset, checkpoint: Path) -> None:
        udf = lance_like.batch_udf(output_schema=self.schema, checkpoint_file=checkpoint)(self)
        ds.add_columns(udf, read_columns=["i"], batch_size=2)


@pytest.fixture
def ds(tmp_path):
    return three_fragments(str(tmp_path / "table"))


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return tmp_path / "checkpoint.sqlite"


def crashed(ds, checkpoint: Path, calls: int, schema: pa.Schema | None = SCHEMA) -> None:
    with pytest.raises(Crash):
        Doubler(calls, schema).add(ds, checkpoint)


@pytest.mark.parametrize("schema", [SCHEMA, None], ids=["known", "as the first answer"])
@pytest.mark.parametrize("calls", range(5))
def test_after_a_crash_only_what_is_missing_is_computed(ds, checkpoint, calls, schema):
    crashed(ds, checkpoint, calls, schema)
    assert ds.latest_version == 1
    rest = Doubler(schema=schema)
    rest.add(ds, checkpoint)
    assert rest.calls == [0, 2, 4, 6, 8][calls:]
    assert ds.to_table(["n"])["n"].to_pylist() == [2 * i for i in range(10)]
    assert not checkpoint.exists()


def test_finished_files_are_used_and_not_written_again(ds, checkpoint, tmp_path):
    crashed(ds, checkpoint, 4)
    before = set((tmp_path / "table" / "data").iterdir())
    Doubler().add(ds, checkpoint)
    assert len(set((tmp_path / "table" / "data").iterdir()) - before) == 1


def test_what_changed_since_the_crash_is_computed_anew(ds, checkpoint):
    crashed(ds, checkpoint, 4)
    ds.update({"i": "i + 100"}, where="i < 4")
    ds.delete("i = 8")
    ds.insert([{"i": 50}])
    rest = Doubler()
    rest.add(ds, checkpoint)
    assert sorted(rest.calls) == [9, 50, 100, 102]
    assert ds.count_rows("n = 2 * i") == ds.count_rows() == 10


def test_what_other_columns_became_since_the_crash_costs_nothing(ds, checkpoint):
    crashed(ds, checkpoint, 4)
    ds.update({"t": "'x'"})
    ds.add_columns({"other": "i"})
    rest = Doubler()
    rest.add(ds, checkpoint)
    assert rest.calls == [8]


def test_rows_deleted_since_the_crash_leave_finished_files_as_they_are(ds, checkpoint):
    crashed(ds, checkpoint, 4)
    ds.delete("i in (0, 5)")
    rest = Doubler()
    rest.add(ds, checkpoint)
    assert rest.calls == [8]
    assert ds.count_rows("n = 2 * i") == ds.count_rows() == 8


def test_a_crash_after_the_commit_is_told_by_the_name(ds, checkpoint):
    crashed(ds, checkpoint, 4)
    kept = checkpoint.read_bytes()
    Doubler().add(ds, checkpoint)
    checkpoint.write_bytes(kept)
    again = Doubler()
    with pytest.raises(InvalidInput, match="two columns 'n'"):
        again.add(ds, checkpoint)
    assert again.calls == []
    ds.drop_columns(["n"])
    again.add(ds, checkpoint)
    assert ds.count_rows("n = 2 * i") == 10
    for fragment in ds.get_fragments():
        names = [file.path for file in fragment.data_files()]
        assert len(set(names)) == len(names)


def test_a_file_that_was_cleaned_up_is_computed_again(ds, checkpoint, tmp_path):
    before = set((tmp_path / "table" / "data").iterdir())
    crashed(ds, checkpoint, 4)
    for path in set((tmp_path / "table" / "data").iterdir()) - before:
        path.unlink()
    rest = Doubler()
    rest.add(ds, checkpoint)
    assert rest.calls == [0, 2, 4, 6, 8]


def test_damaged_results_are_computed_again(ds, checkpoint):
    crashed(ds, checkpoint, 1)
    with sqlite3.connect(checkpoint) as connection:
        [[data]] = connection.execute("SELECT data FROM batches").fetchall()
        connection.execute("UPDATE batches SET data = ?", (data[:-12] + b"\x07" + data[-11:],))
    rest = Doubler()
    rest.add(ds, checkpoint)
    assert rest.calls == [0, 2, 4, 6, 8]
    assert ds.count_rows("n = 2 * i") == 10


def test_a_checkpoint_of_another_table_or_other_columns_is_not_mixed_in(ds, checkpoint, uri):
    crashed(ds, checkpoint, 4)
    other = three_fragments(uri)
    rest = Doubler()
    rest.add(other, checkpoint)
    assert rest.calls == [0, 2, 4, 6, 8]
    crashed(ds, checkpoint, 3)
    with pytest.raises(InvalidInput, match="checkpoint is of columns n: int64"):
        Doubler(schema=pa.schema([("n", pa.int32())])).add(ds, checkpoint)


def test_a_file_that_is_no_checkpoint_is_refused(ds, checkpoint):
    checkpoint.write_bytes(b"not a database" * 100)
    with pytest.raises(InvalidInput, match="is no checkpoint"):
        Doubler().add(ds, checkpoint)
    assert checkpoint.exists()


def test_a_function_made_by_the_decorator_is_still_itself(ds):
    @lance_like.batch_udf()
    def double(batch: pa.RecordBatch) -> pd.DataFrame:
        frame = batch.to_pandas()
        return pd.DataFrame({"n": 2 * frame["i"], "text": frame["t"].fillna("none")})

    assert isinstance(double, lance_like.BatchUDF)
    assert double(pa.record_batch({"i": [4], "t": ["a"]}))["n"].to_list() == [8]
    ds.add_columns(double)
    assert ds.schema.field("n").type == pa.int64()
    assert ds.to_table(["n", "text"]).to_pylist()[:2] == [{"n": 0, "text": "none"}, {"n": 2, "text": "t1"}]
    assert ds.schema.metadata is None


def test_a_schema_of_a_function_is_what_its_answers_are_cast_to(ds):
    ds.add_columns(lance_like.batch_udf(pa.schema([("n", pa.int8())]))(lambda batch: {"n": [1] * len(batch)}))
    assert ds.schema.field("n").type == pa.int8()
    with pytest.raises(InvalidInput, match="output_schema is a list"):
        lance_like.batch_udf([("n", pa.int8())])(lambda batch: batch)  # type: ignore[arg-type]


def test_a_checkpoint_serves_fields_of_structs_and_row_addresses(ds, checkpoint):
    calls: list[int] = []

    @lance_like.batch_udf(checkpoint_file=checkpoint)
    def add(batch: pa.RecordBatch) -> dict[str, pa.Array]:
        if len(calls) == 2:
            raise Crash
        calls.append(len(batch))
        return {"s.row": batch["_rowaddr"]}

    for _ in range(2):
        with pytest.raises(Crash):
            ds.add_columns(add, read_columns=["_rowaddr"])
    calls.clear()
    ds.add_columns(add, read_columns=["_rowaddr"])
    assert calls == [2]
    found = ds.to_table(["s.row"], with_row_address=True).to_pydict()
    assert found["s.row"] == found["_rowaddr"]


def test_the_index_of_a_frame_that_a_function_gives_is_no_column(uri):
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["p", "q"], name="k"))
    ds = lance_like.write_dataset(frame, uri)
    ds.add_columns(lambda batch: batch.to_pandas()[["a"]].rename(columns={"a": "b"}))
    ds.add_columns(ds.to_table().to_pandas()[["a"]].rename(columns={"a": "c"}))
    assert ds.to_table().to_pydict() == {"a": [1, 2], "k": ["p", "q"], "b": [1, 2], "c": [1, 2]}
