"""SQL expressions over a batch: one value per row, the same in every thread and process."""

from __future__ import annotations

import multiprocessing
import threading

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from lance_like.errors import InvalidInput
from lance_like.query import engine_duckdb, evaluate, sql

BATCH = pa.record_batch({"a": [3, None, 1], "b": ["x", "y", None], "s": [{"c": 1}, None, {"c": 2}]})


def test_one_value_per_row_in_order() -> None:
    answer = engine_duckdb.evaluate({"n": "a + 1", "m": "upper(b)", "k": "s.c", "one": "1"}, BATCH)
    assert answer.to_pydict() == {"n": [4, None, 2], "m": ["X", "Y", None], "k": [1, None, 2], "one": [1, 1, 1]}


def test_types_do_not_depend_on_the_rows() -> None:
    wanted = {"n": "a + 1", "m": "[a, 2]", "k": "{'x': b}", "d": "a / 2", "t": "DATE '2020-01-01' + 1"}
    full, empty = engine_duckdb.evaluate(wanted, BATCH), engine_duckdb.evaluate(wanted, BATCH.slice(0, 0))
    assert full.schema == empty.schema
    assert empty.num_rows == 0


def test_texts_with_nul_are_written_back_whole() -> None:
    query = "SELECT (a = 'x\0y\0'), \"n\0m\", '\\u0000\ue000\\\0' FROM t"
    assert engine_duckdb.deserialize(engine_duckdb.serialize(query)) == query
    condition = evaluate.prepare("trim(b) = 'x\0y'", BATCH.schema)
    assert condition is not None
    assert evaluate.select(condition, BATCH).tolist() == []


def test_large_batches_keep_their_order() -> None:
    batch = pa.record_batch({"a": list(range(300_000))})
    assert engine_duckdb.evaluate({"b": "a"}, batch).column(0).equals(batch.column(0))


def test_a_batch_without_columns_keeps_its_rows() -> None:
    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * 5, pa.struct([])))
    assert engine_duckdb.evaluate({"b": "7"}, batch).column(0).to_pylist() == [7] * 5


@pytest.mark.parametrize("text", ["unnest([1, 2])", "sum(a)", "nope", "a + b", "read_text('/etc/hosts')", "b::INTEGER"])
def test_what_duckdb_refuses_is_invalid_input(text: str) -> None:
    with pytest.raises(InvalidInput):
        engine_duckdb.evaluate({"x": text}, BATCH)


def test_names_that_differ_only_by_case_are_refused() -> None:
    batch = pa.record_batch({"a": [1], "A": [2]})
    with pytest.raises(InvalidInput, match="ignores case"):
        engine_duckdb.evaluate({"x": "a"}, batch)
    condition = evaluate.prepare("abs(A) % 2 = 0", batch.schema)
    assert condition is not None
    assert evaluate.select(condition, batch).tolist() == [0]
    with pytest.raises(InvalidInput, match="ignores case"):
        evaluate.prepare("abs(a) % 2 = A", batch.schema)


@pytest.mark.parametrize("names", [("a", "A"), ("a", "a\0b")], ids=repr)
@pytest.mark.parametrize("around", [lambda kind: kind, pa.list_, lambda kind: pa.struct([("deep", kind)])])
def test_fields_that_are_one_name_to_duckdb_are_refused(names: tuple[str, str], around) -> None:
    batch = pa.record_batch([pa.nulls(1, around(pa.struct([(name, pa.int64()) for name in names])))], names=["s"])
    with pytest.raises(InvalidInput, match="one name to DuckDB"):
        engine_duckdb.evaluate({"x": "s IS NULL"}, batch)


def test_variables_of_the_caller_are_out_of_reach() -> None:
    secret = pa.table({"z": [1]})
    with pytest.raises(InvalidInput):
        engine_duckdb.evaluate({"x": "(SELECT z FROM secret)"}, BATCH)
    assert secret.num_rows == 1


def test_short_floats_are_evaluated() -> None:
    batch = pa.record_batch({"h": pa.array([np.float16(1.5), None], pa.float16())})
    assert engine_duckdb.evaluate({"x": "h * 2"}, batch).column(0).to_pylist() == [3.0, None]


@pytest.mark.skipif(duckdb.__version__.startswith("1."), reason="DuckDB 1 reads a stream once")
def test_batches_of_one_schema_are_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[pa.Schema] = []
    source = engine_duckdb._Source
    monkeypatch.setattr(engine_duckdb, "_Source", lambda schema: (made.append(schema), source(schema))[1])

    def doubled(numbers: list[int], kind: pa.DataType) -> list[int]:
        batch = pa.record_batch({"only here": pa.array(numbers, kind)})
        return engine_duckdb.evaluate({"x": '"only here" * 2'}, batch).column(0).to_pylist()

    assert [doubled(numbers, pa.int64()) for numbers in ([1, 2], [], [3])] == [[2, 4], [], [6]]
    assert len(made) == 1
    with pytest.raises(InvalidInput, match="Overflow"):
        doubled([1 << 62], pa.int64())
    assert doubled([4], pa.int64()) == [8]
    assert len(made) == 1
    assert doubled([5], pa.int8()) == [10]
    assert len(made) == 2


def test_threads_do_not_disturb_each_other() -> None:
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            batch = pa.record_batch({"a": [number] * 100})
            for _ in range(20):
                assert engine_duckdb.evaluate({"x": "a * 2"}, batch).column(0).to_pylist() == [number * 2] * 100
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def in_child(queue: multiprocessing.Queue) -> None:
    condition = evaluate.prepare("a % 2 = 1", BATCH.schema)
    assert condition is not None
    queue.put(evaluate.select(condition, BATCH).tolist())


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_child_process_has_an_engine_of_its_own(method: str) -> None:
    sql.parse("a = 1")
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == [0, 2]
    child.join(timeout=60)
    assert child.exitcode == 0
    in_child(queue)
    assert queue.get(timeout=60) == [0, 2]
