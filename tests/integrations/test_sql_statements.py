"""SQL over datasets through `ds.sql` and `lance_like.sql`: what names mean, what is read, what comes back."""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.dataset.sql.functions import REGISTRY
from lance_like.errors import Corrupt, InvalidInput, NotFound, Unsupported
from lance_like.io.local import LocalStore
from lance_like.io.observe import CountingStore, counted
from lance_like.table.snapshot import read_manifest

duckdb = pytest.importorskip("duckdb")

ROWS = 1000


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    """Three versions: 1,000 rows, all of them with another v and a tag, 5 rows more."""
    path = str(tmp_path_factory.mktemp("sql") / "people.lance")
    rows = {"id": np.arange(ROWS), "v": np.arange(ROWS) % 7, "name": [f"n{i % 5}" for i in range(ROWS)]}
    ds = lance_like.write_dataset(rows, path, max_rows_per_file=300)
    ds.update({"v": "v + 100"})
    ds.tags.create("good", 2)
    ds.insert({"id": np.arange(ROWS, ROWS + 5), "v": np.arange(5), "name": ["new"] * 5})
    return path


@pytest.fixture
def ds(uri) -> LanceDataset:
    return lance_like.dataset(uri)


# What names mean


def test_a_dataset_is_found_by_the_name_of_a_variable(ds):
    people = ds  # noqa: F841
    assert lance_like.sql("select count(*) from people").fetchall() == [(ROWS + 5,)]


def test_a_table_that_is_given_comes_before_a_variable(ds):
    people = ds  # noqa: F841
    assert lance_like.sql("select * from people", people=pa.table({"a": [1]})).fetchall() == [(1,)]


def test_names_are_found_in_any_case_and_in_quotes(ds):
    assert ds.sql('select count(*) from "DATASET" where ID = 3').fetchall() == [(1,)]
    assert lance_like.sql("select count(*) from PEOPLE", People=ds).fetchall() == [(ROWS + 5,)]


def test_functions_of_pylance_are_those_of_filters(ds):
    found = ds.sql("select Signum(id - 7) a, nvl(null, name) b from dataset where nanvl(v, 0.0) = 101 and id < 20")
    assert found.build().to_arrow_table().to_pydict() == {"a": [-1.0, 1.0, 1.0], "b": ["n1", "n3", "n0"]}
    documents = lance_like.write_dataset({"id": [1, 2], "j": ['{"a": {"b": 5}}', None]}, "memory://")
    asked = "select id from documents where json_get_int(json_get(j, 'a'), 'b') = $five"
    assert lance_like.sql(asked, params={"five": 5}).fetchall() == [(1,)]
    lance_like.sql("update documents set id = make_array(id, 9)[2] where json_get(j, 'a') is not null").fetchall()
    documents.checkout_latest()
    assert documents.to_table(order_by=["id"])["id"].to_pylist() == [2, 9]


def test_a_dataset_calls_itself_dataset_and_ds(ds):
    query = "select count(*) from dataset join ds using (id)"
    assert ds.sql(query).fetchall() == [(ROWS + 5,)]
    assert ds.sql("select max(id) from people").table_name("people").fetchall() == [(ROWS + 4,)]


def test_variables_of_the_caller_are_not_looked_at_by_a_dataset(ds):
    other = pa.table({"a": [1]})
    with pytest.raises(InvalidInput, match="other does not exist"):
        ds.sql("select * from other").fetchall()
    assert ds.sql("select * from other", other=other).fetchall() == [(1,)]


def test_variables_that_are_no_tables_are_left_alone(ds):
    id, name = [1], pa.array([1])  # noqa: F841
    assert lance_like.sql("select id, name from ds where id = 7").fetchall() == [(7, "n2")]


def test_tables_of_other_libraries_join(ds):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": [1, 2]})  # noqa: F841
    arrow = pa.table({"id": [2, 3]})  # noqa: F841
    batch = pa.RecordBatch.from_pydict({"id": [2]})  # noqa: F841
    stream = pa.table({"id": [2, 5]}).to_reader()  # noqa: F841
    relation = duckdb.sql("select 2 as id")  # noqa: F841
    answer = lance_like.sql("select id from ds where id < 3")  # noqa: F841
    query = "select ds.name from ds join frame using (id) join arrow using (id) join batch using (id)"
    query += " join stream using (id) join relation using (id) join answer using (id)"
    assert lance_like.sql(query).fetchall() == [("n2",)]


def test_tables_of_polars_join(ds):
    polars = pytest.importorskip("polars")
    eager, lazy = polars.DataFrame({"id": [1, 2]}), polars.LazyFrame({"id": [2, 3]})  # noqa: F841
    query = "select name from ds join eager using (id) join lazy using (id)"
    assert lance_like.sql(query).fetchall() == [("n2",)]


def test_a_common_table_expression_hides_a_dataset(ds):
    assert ds.sql("with ds as (select 1 as a) select * from ds").fetchall() == [(1,)]
    query = "with ds as (select * from ds at (version => 1)) select count(*) from ds"
    assert ds.sql(query).fetchall() == [(ROWS,)]
    query = "with recursive ds(n) as (select 1 union all select n + 1 from ds where n < 4) select max(n) from ds"
    assert ds.sql(query).fetchall() == [(4,)]


def test_a_path_in_quotes_is_a_dataset(uri, tmp_path, monkeypatch):
    assert lance_like.sql(f"select count(*) from '{uri}'").fetchall() == [(ROWS + 5,)]
    assert lance_like.sql(f'select people.id from "{uri}" where people.id = 3').fetchall() == [(3,)]
    query = f"select p.id from '{uri}' as p join '{uri}' q using (id) where p.id = 3"
    assert lance_like.sql(query).fetchall() == [(3,)]
    monkeypatch.chdir(Path(uri).parent)
    lance_like.write_dataset({"a": [1]}, "plain")
    assert lance_like.sql("select people.id from 'people.lance' where id = 4").fetchall() == [(4,)]
    assert lance_like.sql("select * from 'plain'").fetchall() == [(1,)]
    assert lance_like.sql("table 'people.lance'").to_arrow_table().num_rows == ROWS + 5
    with pytest.raises(NotFound):
        lance_like.sql("select * from 'nowhere.lance'").fetchall()


def test_a_file_is_read_by_duckdb(ds, tmp_path):
    duckdb.sql("select 3 as id").to_parquet(str(tmp_path / "x.parquet"))
    query = f"select name from ds join '{tmp_path}/x.parquet' using (id)"
    assert lance_like.sql(query).fetchall() == [("n3",)]


# Versions


@pytest.mark.parametrize(
    ("version", "count"), [("1", ROWS), ("1 + 1", ROWS), ("'good'", ROWS), ("(select 3)", ROWS + 5), ("?", ROWS)]
)
def test_a_version_by_number_or_tag(ds, version, count):
    params = [1] if version == "?" else None
    found = lance_like.sql(f"select count(*) from ds at (version => {version})", params=params)
    assert found.fetchall() == [(count,)]


def test_a_version_of_a_path_and_of_a_branch(ds, uri):
    query = f"select count(*) from '{uri}' at (version => 1)"
    assert lance_like.sql(query).fetchall() == [(ROWS,)]
    branch = lance_like.dataset(uri).create_branch("side", 1)
    branch.delete("id > 9")
    query = f"select count(*) from ds at (version => ('side', {branch.version}))"
    assert ds.sql(query).fetchall() == [(10,)]


def test_a_version_by_time(ds):
    first, second, _ = (one["timestamp"] for one in ds.versions())
    between = first + (second - first) / 2
    query = "select count(*), max(v) from ds at (timestamp => {})"
    assert ds.sql(query.format("?"), params=[between]).fetchall() == [(ROWS, 6)]
    text = between.astimezone(dt.timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
    assert ds.sql(query.format(f"timestamp '{text}'")).fetchall() == [(ROWS, 6)]
    assert ds.sql(query.format(f"'{text}'")).fetchall() == [(ROWS, 6)]
    assert ds.sql(query.format("now()")).fetchall() == [(ROWS + 5, 106)]
    with pytest.raises(NotFound):
        ds.sql(query.format("now() - interval 1 year")).fetchall()


def test_versions_are_joined_under_aliases(ds):
    query = """
        select a.v, b.v from ds a at (version => 1) join ds as b(key, v, word) at (version => 'good') on a.id = b.key
        where a.id = 5"""
    assert ds.sql(query).fetchall() == [(5, 105)]
    query = "select count(*) from (select id from ds except select id from ds at (version => 1))"
    assert ds.sql(query).fetchall() == [(5,)]
    query = "select ds.id from ds at (version => 1) where ds.id = (select max(id) - 6 from ds)"
    assert ds.sql(query).fetchall() == [(998,)]


def test_a_version_that_is_not_there(ds):
    with pytest.raises(NotFound):
        ds.sql("select * from ds at (version => 77)").fetchall()
    with pytest.raises(NotFound):
        ds.sql("select * from ds at (version => 'bad')").fetchall()
    with pytest.raises(InvalidInput, match="not a dataset"):
        lance_like.sql("select * from t at (version => 1)", t=pa.table({"a": [1]})).fetchall()
    with pytest.raises(NotFound, match="no dataset 'nobody'"):
        lance_like.sql("select * from nobody at (version => 1)").fetchall()


# Table functions


def test_lance_opens_a_dataset(ds, uri):
    for arguments in (f"'{uri}', version => 1", "ds, version => 1", f"'{uri}', version => 1 + ?", "ds, tag => 'good'"):
        params = [0] if "?" in arguments else None
        assert lance_like.sql(f"select count(*) from lance({arguments})", params=params).fetchall() == [(ROWS,)]
    assert lance_like.sql("select lance.id from lance(ds) where lance.id = 3").fetchall() == [(3,)]
    assert lance_like.sql("select x.k from lance(ds) as x(k) where x.k = 3").fetchall() == [(3,)]
    assert lance_like.sql("select count(*) from lance(ds, asof => now())").fetchall() == [(ROWS + 5,)]
    with pytest.raises(InvalidInput, match=r"lance\(\) is not called so"):
        lance_like.sql("from lance(ds, nonsense => 1)").fetchall()


def test_rows_shows_what_is_not_stored(ds):
    query = "select _rowid, _rowaddr >> 32, _row_created_at_version from rows(ds) where id = 301"
    assert ds.sql(query).fetchall() == [(301, 1, 1)]


def test_rows_by_position_changes_versions_and_fragments(ds):
    assert ds.sql("select id from take(ds, [7, 3, 7])").fetchall() == [(7,), (3,), (7,)]
    assert ds.sql("select id from take(ds, (select list(id) from ds where id < 2))").fetchall() == [(0,), (1,)]
    assert ds.sql("select _change, count(*) from delta(ds, 1) group by 1 order by 1").fetchall() == [
        ("insert", 5),
        ("update", ROWS),
    ]
    assert ds.sql("select count(*) from delta(ds, 1, 2)").fetchall() == [(ROWS,)]
    assert ds.sql("select version from versions(ds)").fetchall() == [(1,), (2,), (3,)]
    assert ds.sql("select sum(rows) from fragments(ds)").fetchall() == [(ROWS + 5,)]


def test_what_a_table_function_gives_can_be_read_twice(ds, monkeypatch):
    query = "with d as materialized (select 1), t as (from delta(ds, 2)) select count(*) from t a join t b using (id)"
    assert ds.sql(query).fetchall() == [(5,)]
    monkeypatch.setitem(REGISTRY._builtin, "streamed", "tests:none")
    monkeypatch.setitem(REGISTRY._loaded, "streamed", lambda table: table.scanner(["id"], "id < 4").to_reader())
    query = "with t as (from streamed(ds)) select count(*) from t a join t b using (id)"
    assert ds.sql(query).fetchall() == [(4,)]


def test_other_packages_add_table_functions(ds, monkeypatch):
    def nearest(table: LanceDataset, to: list[int], *, k: int = 1) -> pa.Table:
        return table.take(to[:k], ["id"]).append_column("distance", pa.array([0.5] * k))

    monkeypatch.setitem(REGISTRY._builtin, "nearest", "tests:none")
    monkeypatch.setitem(REGISTRY._loaded, "nearest", nearest)
    query = "select s.id, distance, name from nearest(ds, [8, 9, 10], k => 2) s join ds using (id) order by id"
    assert ds.sql(query).fetchall() == [(8, 0.5, "n3"), (9, 0.5, "n4")]


# Parameters


def test_parameters_by_order_and_by_name(ds):
    query = "select id from ds at (version => ?) where id > ? and name = ? order by id"
    assert ds.sql(query, params=[1, 990, "n3"]).fetchall() == [(993,), (998,)]
    query = "select id from ds at (version => $v) where id > $low and name = $name order by id"
    assert ds.sql(query, params={"name": "n3", "low": 990, "v": 1}).fetchall() == [(993,), (998,)]
    assert ds.sql("select $2, $1, '?'", params=[1, 2]).fetchall() == [(2, 1, "?")]
    with pytest.raises(InvalidInput, match="no parameter 'lo'"):
        ds.sql("select $low", params={"low": 1, "lo": 2}).fetchall()
    with pytest.raises(InvalidInput, match="expected a list"):
        ds.sql("select ?", params="text")


# What is read


def counted_handle(uri: str) -> tuple[LanceDataset, CountingStore]:
    store = CountingStore(LocalStore(uri))
    return LanceDataset(store, read_manifest(store, 3)), store


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("select count(*) from ds", ROWS + 5),
        ("select count(*), count(1) from ds", ROWS + 5),
        ("select count(*) from (select * from ds) t", ROWS + 5),
        ("with t as (from ds) select count(*) from t", ROWS + 5),
        ("select count(*) from ds where id >= 0", ROWS + 5),
        ("select count(*) from ds where id > 100000", 0),
        ("select count(*) from ds where id is not null", ROWS + 5),
        ("select count(*) from ds a, (select 1) b", ROWS + 5),
    ],
)
def test_counting_reads_no_data(uri, query, count):
    if "where" in query and duckdb.__version__ < "2":
        pytest.skip("DuckDB 1 asks for the columns of filters too")
    ds, store = counted_handle(uri)
    for answer in (ds.sql(query), lance_like.sql(query)):
        with counted(store) as counts:
            assert answer.fetchall()[0][0] == count
        assert (counts.rounds, counts.bytes_read) == (0, 0)


def test_only_the_columns_and_rows_that_are_asked_for_are_read(uri):
    ds, store = counted_handle(uri)
    with counted(store) as counts:
        assert ds.sql("select id from ds where id = 3").fetchall() == [(3,)]
    some = counts.bytes_read
    with counted(store) as counts:
        ds.sql("select * from ds").fetchall()
    assert 0 < some < counts.bytes_read / 2


def test_planning_reads_nothing(uri):
    ds, store = counted_handle(uri)
    with counted(store) as counts:
        answer = ds.sql("select id, v + 1 as w from ds")
        assert answer.columns == ["id", "w"]
        assert "scan" in answer.explain_plan().lower()
    assert (counts.rounds, counts.bytes_read) == (0, 0)


# What comes back


def test_an_answer_in_every_form(ds):
    answer = ds.sql("select id, name from ds where id < 3 order by id")
    table = pa.table({"id": [0, 1, 2], "name": ["n0", "n1", "n2"]})
    rows = [(0, "n0"), (1, "n1"), (2, "n2")]
    for form in (answer, answer.build()):
        assert form.to_arrow_table().equals(table)
        assert form.arrow().equals(table)
        assert pa.table(form).equals(table)
        assert pa.Table.from_batches(form.to_batch_records()).equals(table)
        assert form.to_stream_reader().read_all().equals(table)
        assert pa.Table.from_batches(form.to_batches()).equals(table)
        assert form.schema == table.schema
        assert form.fetchall() == list(form) == rows
        assert form.fetchone() == rows[0]
        assert form.fetchmany(1) == [rows[1]]
        assert form.fetchall() == [rows[2]]
        assert form.fetchall() == rows
        assert "n2" in repr(form)


def test_an_answer_as_frames(ds):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    answer = ds.sql("select id from ds where id < 3 order by id")
    assert answer.to_pandas().equals(pandas.DataFrame({"id": [0, 1, 2]}))
    assert answer.df()["id"].tolist() == [0, 1, 2]
    assert answer.pl().equals(polars.DataFrame({"id": [0, 1, 2]}))


def test_an_answer_can_be_written(ds, tmp_path):
    written = lance_like.write_dataset(ds.sql("select id * 2 as twice from ds where id < 3"), tmp_path / "t")
    assert sorted(written.to_table()["twice"].to_pylist()) == [0, 2, 4]


def test_row_ids_and_addresses_of_pylance(ds):
    answer = ds.sql("select * from dataset where id = 700").with_row_id().with_row_addr()
    assert answer.columns == ["id", "v", "name", "_rowid", "_rowaddr"]
    assert answer.fetchall()[0][3] == 700
    assert answer.with_row_id(False).columns == ["id", "v", "name", "_rowaddr"]
    assert ds.sql("select _rowid from dataset where id = 3").with_row_id().build().to_batch_records()[0].num_rows == 1


def test_batches_have_the_size_that_is_asked_for(ds):
    answer = ds.sql("select id from dataset").batch_size(100).batch_size_bytes(1 << 20)
    assert max(len(batch) for batch in answer.to_batches()) <= 100
    assert answer.to_arrow_table().num_rows == ROWS + 5
    with pytest.raises(InvalidInput):
        answer.batch_size(0)


def test_blobs_as_descriptions_and_as_bytes(tmp_path):
    schema = pa.schema([pa.field("b", pa.large_binary(), metadata={"lance-encoding:blob": "true"})])
    ds = lance_like.write_dataset({"b": [b"xyz", None]}, tmp_path, schema=schema)
    assert ds.sql("select b.size from dataset where b is not null").fetchall() == [(3,)]
    assert ds.sql("select b from dataset where b is not null").blob_handling("all_binary").fetchall() == [(b"xyz",)]
    with pytest.raises(InvalidInput):
        ds.sql("select 1").blob_handling("nonsense")


def test_plans(ds):
    answer = ds.sql("select count(*) from dataset where v > ?", params=[3])
    assert "dataset" not in answer.explain_plan()
    assert len(answer.explain_plan(verbose=True)) > len(answer.explain_plan())
    assert "Total Time" in answer.explain_plan(analyze=True)
    assert ds.sql("explain select * from ds").fetchall()[0][0] == "physical_plan"
    assert ds.sql("explain analyze select * from ds at (version => 1)").fetchall()[0][0] == "analyzed_plan"


@pytest.mark.parametrize(
    "query",
    [
        "describe ds",
        "summarize ds",
        "table ds",
        "values (1), (2)",
        "pivot ds on v % 2 using count(*) group by name",
        "from ds select id limit 3",
        "(select 1) union (select 2)",
        "-- first a comment\nselect 1 /* and another */ ; -- and a last",
    ],
)
def test_other_statements_that_give_rows(ds, query):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ds.sql(query).fetchall()
        assert ds.sql(query).to_arrow_table().num_rows


def test_the_last_of_several_statements_answers(ds):
    assert ds.sql("select 1; select 2").fetchall() == [(2,)]
    with pytest.raises(InvalidInput, match="no statement"):
        ds.sql(" -- nothing")


# Streams, threads, processes


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> LanceDataset:
    path = tmp_path_factory.mktemp("long") / "t"
    return lance_like.write_dataset({"i": np.arange(2_000_000)}, path, max_rows_per_file=100_000)


@pytest.mark.parametrize("params", [None, [-1]])
def test_a_stream_is_made_while_it_is_read(long, params, monkeypatch):
    if params and duckdb.__version__ < "2":
        pytest.skip("DuckDB 1 makes the answer of a statement with parameters at once")
    made = []
    scanner = LanceDataset.scanner

    class Watched:
        def __init__(self, inner):
            self._inner = inner
            self.projected_schema = inner.projected_schema

        def to_batches(self):
            for batch in self._inner.to_batches():
                made.append(len(batch))
                yield batch

    monkeypatch.setattr(LanceDataset, "scanner", lambda self, *a, **o: Watched(scanner(self, *a, **o)))
    reader = long.sql(f"select i, i + 1 as j from ds where i % 2 >= {'?' if params else -1}", params=params).to_reader()
    reader.read_next_batch()
    time.sleep(0.05)
    assert sum(made) < len(long) / 2


def test_answers_are_open_side_by_side(long):
    one, other = long.sql("select i from ds").to_reader(), long.sql("select -i from ds").to_reader()
    for _ in range(3):
        assert one.read_next_batch().num_rows == other.read_next_batch().num_rows
    assert one.read_all().num_rows == other.read_all().num_rows


def test_threads_do_not_see_each_others_names(tmp_path):
    tables = [lance_like.write_dataset({"n": [i]}, tmp_path / str(i)) for i in range(6)]
    found: dict[int, set] = {}

    def work(i: int) -> None:
        found[i] = {tables[i].sql("select n from ds").fetchall()[0][0] for _ in range(10)}

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: {i} for i in range(6)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_a_database_of_its_own(ds):
    assert ds.sql("select 1").fetchall() == [(1,)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if ds.sql("select count(*) from ds where v = 3").fetchall() else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


# Errors


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("selec 1", "selec"),
        ("select nope from ds", "nope"),
        ("select 'é', nope from ds at (version => 1)", "nope"),
        ("select 1\nfrom ds, ds b at (version => 1)\nwhere b.nope = 1", "b.nope"),
        ("select id from ds where v = ? and nope = 1", "nope"),
        ("select * from nope", "nope"),
        ("select foo(id) from lance(ds) x", "foo"),
    ],
)
def test_an_error_points_at_the_place(ds, query, place):
    with pytest.raises(InvalidInput) as caught:
        ds.sql(query, params=[1] if "?" in query else None).fetchall()
    *_, line, caret = str(caught.value).split("\n")
    assert line[caret.index("^") :].startswith(place)
    assert line.strip() in query


def test_an_error_of_a_read_is_the_error_of_the_read(tmp_path):
    ds = lance_like.write_dataset({"a": list(range(1000)), "b": ["x"] * 1000}, tmp_path)
    [file] = (tmp_path / "data").iterdir()
    data = bytearray(file.read_bytes())
    data[: len(data) // 3] = bytes(len(data) // 3)
    file.write_bytes(data)
    ds = lance_like.dataset(tmp_path)
    for take in (lambda q: q.fetchall(), lambda q: q.to_arrow_table(), lambda q: q.to_reader().read_all(), list, repr):
        with pytest.raises(Corrupt):
            take(ds.sql("select * from ds where a % 2 = 0"))


@pytest.mark.parametrize(
    "query",
    [
        "set threads = 1",
        "attach 'x.db'",
        "begin",
        "create view v as select 1",
        "create temp table t as select 1",
        "explain delete from ds",
        "drop view v",
        "copy ds from 'x.csv'",
        "install icu",
        "prepare p as select 1",
    ],
)
def test_statements_without_meaning_here_are_refused(ds, query):
    with pytest.raises(Unsupported):
        ds.sql(query)


def test_names_of_versions_in_statements_that_cannot_be_rewritten_are_refused(ds):
    with pytest.raises(Unsupported, match="open the dataset first"):
        ds.sql("pivot (from ds at (version => 1)) on v using count(*)").fetchall()
