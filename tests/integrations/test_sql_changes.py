"""Statements that change datasets: each does what it does to a table of DuckDB's own, in one version."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.dataset.sql.changes import EditRows
from lance_like.errors import AlreadyExists, IncompatibleChange, InvalidInput, NotFound, Unsupported

duckdb = pytest.importorskip("duckdb")

TARGET = pa.table(
    {
        "id": pa.array([1, 2, 3, 4, 5, 6], pa.int32()),
        "b": ["x", "y", None, "x", "z", "y"],
        "n": [0.5, None, 2.5, 3.0, 4.0, -1.0],
    }
)
SOURCE = pa.table({"b": ["s1", "s4", "s9", "s10"], "id": [1, 4, 9, 10], "n": [10.0, 40.0, 90.0, None]})


@pytest.fixture
def t(tmp_path) -> LanceDataset:
    return lance_like.write_dataset(TARGET, tmp_path / "t.lance", max_rows_per_file=2)


def in_duckdb(statement: str, params: list | None = None) -> tuple[list, list]:
    """What a statement says, and what the table is then, in DuckDB alone."""
    con = duckdb.connect()
    con.register("given", TARGET)
    con.register("arrow", SOURCE)
    con.execute("create table t as select * from given")
    con.execute("create table s as select * from arrow")
    told = con.execute(statement, params).fetchall()
    return told, con.execute("select * from t order by all").fetchall()


STATEMENTS = [
    "insert into t values (7, 'new', 1.5), (8, null, null)",
    "insert into t select * from t",
    "insert into t (b, id) select 'k', 9",
    "insert into t (N) values (3)",
    "insert into t as q (id) values (3)",
    "insert into t by name select 'k' as b, 9 as ID",
    "insert into t (select id, b, n from s)",
    "insert into t from s select id, b, n",
    "with q as (select 70 as k) insert into t select k, 'q', k / 4 from q",
    "insert into t values ('12', 3, 1)",
    "insert into t values (1.6, 'rounded', 2)",
    "insert into t select s.id, s.b, t.n from s join t on s.id = t.id order by 1",
    "insert into t select * from t where false",
    "delete from t where id = 2",
    "delete from t where n > 1 and b is not null",
    "delete from t where b in ('x', 'nothing') or n is null",
    "delete from t where t.id > 4",
    "delete from t as q where q.id > 4",
    "delete from t q where id > 4 and q.b = 'z'",
    "delete from t where id in (select id from s)",
    "delete from t where n = (select max(n) from t)",
    "delete from t using s where t.id = s.id",
    "delete from t using s, (select 4 as k) u where t.id = s.id and u.k = s.id",
    "delete from t where exists (select 1 from s where s.id = t.id and s.n > 20)",
    "with k as (select 3 as id) delete from t where id in (from k)",
    "delete from t where id > 100",
    "delete from t",
    "truncate t",
    "truncate table t",
    "update t set n = n + 1",
    "update t set b = b || '!', n = -id where id % 2 = 0",
    "update t set id = 1.6 where id = 3",
    "update t set b = null where n is null",
    "update t set b = default",
    "update t set B = upper(t.b) where t.id < 4",
    "update t as q set b = q.b || q.id where q.id < 4",
    "update t set n = s.n, b = s.b from s where s.id = t.id",
    "update t set n = (select sum(n) from s) where id = 1",
    "update t set n = case when id in (select id from s) then 1 else 0 end where b is distinct from 'z'",
    "with k as (select 3 as id) update t set b = 'k' from k where k.id = t.id",
    "update t set n = id where id > 100",
    "merge into t using s on t.id = s.id when matched then update set b = s.b",
    "merge into t using s using (id) when not matched then insert (id, n) values (s.id, s.n * 2)",
    "merge into t using s using (id) when matched then delete when not matched then insert by name",
    "merge into t using s on t.id = s.id when matched then update by name when not matched then insert by name",
    "merge into t using (values (3)) v(k) on t.id > v.k when matched then delete",
    "merge into t using (select id from t where n > 2) q using (id) when matched then update set b = 'self'",
    "merge into t using s using (id) when matched and t.n > 100 then error 'none' when not matched then do nothing",
]
_MERGES = """
merge into t using (select id, b, n from s) q on t.id = q.id
  when matched then update
  when not matched then insert;

merge into t using (select id, b, n from s) as q using (id)
  when matched then update set *
  when not matched then insert *;

merge into t as a using s as b on (a.id = b.id)
  when matched and b.n > 20 then update set n = a.n + b.n
  when matched then delete
  when not matched and b.n is not null then insert values (b.id, b.b, 0);

merge into t using s using (id)
  when not matched by source and t.b = 'y' then delete
  when not matched by source then update set b = 'left'
  when matched then do nothing;

merge into t using s on t.id = s.id
  when matched then update set b = case
  when s.n > 20 then 'big' else t.b end
  when not matched by target then insert (id) values (s.id)
  when not matched by source then delete;

merge into t using (select 5 as k) v on t.id between v.k and v.k + 1
  when matched then update set n = t.id * v.k;

with w as (select 1 as id, 'w' as b) merge into t using w using (id)
  when matched then update set b = w.b || t.b
"""
MERGES = [statement.strip() for statement in _MERGES.split(";\n")]


@pytest.mark.parametrize("statement", STATEMENTS + MERGES)
def test_a_statement_does_what_it_does_in_duckdb(statement, t):
    told = lance_like.sql(statement, s=SOURCE).fetchall()
    assert t.version == 2, "one statement is one version"
    expected = in_duckdb(statement)
    assert (told, lance_like.sql("select * from t order by all").fetchall()) == expected
    assert t.schema == TARGET.schema
    t.validate()


@pytest.mark.parametrize(
    ("statement", "params"),
    [
        ("insert into t values (?, ?, ?)", [7, "p", 1.5]),
        ("delete from t where id = ? or b = ?", [2, "x"]),
        ("update t set b = ? where id > ?", ["p", 3]),
        ("update t set n = s.n * ? from s where s.id = t.id and s.id > ?", [2, 1]),
        ("merge into t using s using (id) when matched and s.n > ? then update set b = ?", [20, "p"]),
        ("merge into t using (select ? as id) q using (id) when matched then delete", [2]),
    ],
)
def test_parameters_keep_their_order(statement, params, t):
    told = lance_like.sql(statement, params=params, s=SOURCE).fetchall()
    assert (told, lance_like.sql("select * from t order by all").fetchall()) == in_duckdb(statement, params)


def test_parameters_by_name(t):
    lance_like.sql("update t set b = $b where id = $id", params={"id": 2, "b": "p"})
    assert t.to_table(filter="b = 'p'")["id"].to_pylist() == [2]


def test_a_change_is_made_at_once_and_moves_the_handle(t):
    lance_like.sql("delete from t where id = 1")
    assert (t.version, len(t)) == (2, 5)
    answer = t.sql("delete from dataset where id = 2")
    assert (t.version, len(t)) == (3, 4)
    assert answer.fetchall() == answer.build().fetchall() == [(1,)]
    assert answer.to_arrow_table().to_pydict() == {"Count": [1]}


def test_a_dataset_is_changed_by_its_path(t):
    assert lance_like.sql(f"delete from '{t.uri}' where id = 1").fetchall() == [(1,)]
    assert lance_like.sql(f"update '{t.uri}' set b = t.b || '!' where t.id = 2").fetchall() == [(1,)]
    assert lance_like.sql(f"insert into '{t.uri}' (id) values (9)").fetchall() == [(1,)]
    query = f"merge into '{t.uri}' using (select 2 as id) q using (id) when matched then update set n = 7"
    assert lance_like.sql(query).fetchall() == [(1,)]
    t.checkout_latest()
    assert t.version == 5
    assert t.to_table(filter="id = 2").to_pylist() == [{"id": 2, "b": "y!", "n": 7.0}]


def test_versions_and_paths_are_sources_too(t):
    t.delete("id > 2")
    lance_like.sql("insert into t select * from t at (version => 1) where id = 5")
    lance_like.sql(f"insert into t select * from lance('{t.uri}', version => 1) where id = 6")
    lance_like.sql("delete from t where id not in (select id + 4 from t at (version => 2))")
    assert sorted(t.to_table()["id"].to_pylist()) == [5, 6]
    query = "merge into t using t old at (version => 1) using (id) when not matched then insert by name"
    assert lance_like.sql(query).fetchall() == [(4,)]


def test_row_ids_stay(t):
    before = {row["id"]: row["_rowid"] for row in t.to_table(with_row_id=True).to_pylist()}
    lance_like.sql("merge into t using s using (id) when matched then update set b = s.b", s=SOURCE)
    lance_like.sql("update t set n = s.n from s where s.id = t.id", s=SOURCE)
    assert {row["id"]: row["_rowid"] for row in t.to_table(with_row_id=True).to_pylist()} == before


def test_simple_changes_are_recorded_as_those_of_the_methods(t):
    lance_like.sql("delete from t where id = 1 and b like 'x%'")
    assert t.get_transactions(1)[0].operation.predicate == "id = 1 and b like 'x%'"


def test_several_statements(t):
    answer = lance_like.sql("delete from t where id = 1; insert into t (id) values (11), (12); select count(*) from t")
    assert answer.fetchall() == [(7,)]
    assert t.version == 3


# Types


def test_every_column_keeps_its_type(tmp_path):
    schema = pa.schema(
        [
            ("i", pa.uint8()),
            ("d", pa.decimal128(10, 2)),
            ("w", pa.dictionary(pa.int32(), pa.string())),
            ("m", pa.timestamp("ns", "UTC")),
            ("s", pa.struct([("x", pa.int16()), ("y", pa.large_string())])),
            ("v", pa.list_(pa.float32(), 2)),
            pa.field("r", pa.large_binary(), metadata={"lance-encoding:blob": "true"}),
        ]
    )
    ds = lance_like.write_dataset(schema.empty_table(), tmp_path / "t", schema=schema)
    values = "(1, 2.345, 'w', timestamptz '2020-01-01 00:00:00+01', {'x': 1, 'y': 'y'}, [1, 2], 'raw'::blob)"
    ds.sql(f"insert into ds values {values}, (null, null, null, null, null, null, null)")
    ds.sql("insert into ds select * from ds")
    ds.sql("update ds set i = 7, w = 'q', s = {'x': i, 'y': w} where i = 1")
    ds.sql("merge into ds using (select 7 as i) k using (i) when matched then update set d = ds.d + 1, r = 'new'::blob")
    ds.sql("merge into ds using (select 8 as i) k using (i) when not matched then insert by name")
    rows = ds.to_table(blob_handling="all_binary").to_pylist()
    assert [row["i"] for row in rows].count(7) == 2
    changed = next(row for row in rows if row["i"] == 7)
    assert (str(changed["d"]), changed["w"], changed["s"]) == ("3.35", "q", {"x": 1, "y": "w"})
    assert (changed["v"], changed["r"]) == ([1.0, 2.0], b"new")
    assert ds.schema.field("w") == schema.field("w")
    assert ds.schema.field("m") == schema.field("m")


def test_nulls_are_refused_where_none_may_be(tmp_path):
    schema = pa.schema([pa.field("k", pa.int64(), nullable=False), ("v", pa.string())])
    ds = lance_like.write_dataset({"k": [1], "v": ["a"]}, tmp_path / "t", schema=schema)
    for statement in (
        "insert into ds values (null, 'x')",
        "insert into ds (v) values ('x')",
        "update ds set k = null",
        "update ds set k = q.k from (select null as k) q",
        "merge into ds using (select 2 as k) q using (k) when not matched then insert (v) values ('x')",
        "merge into ds using (select 2 as k) q using (k) when not matched then insert (k) values (null)",
    ):
        with pytest.raises(InvalidInput, match="null"):
            ds.sql(statement)
    assert ds.version == 1


# Other writers


def test_a_change_follows_others_and_sees_their_rows(t, monkeypatch):
    """Whatever DuckDB read may be other now: the SELECT runs again over the version it follows."""
    other = lance_like.dataset(t.uri)
    made, real = [], EditRows.__call__

    def call(self, manifest):
        if not made:
            made.append(manifest.version)
            action = real(self, manifest)
            other.update({"n": "100"}, "id = 2")
            return action
        made.append(manifest.version)
        return real(self, manifest)

    monkeypatch.setattr(EditRows, "__call__", call)
    query = "delete from t where n = (select max(n) from t)"
    assert lance_like.sql(query).fetchall() == [(1,)]
    assert made == [1, 2]
    assert 2 not in t.to_table()["id"].to_pylist()
    assert t.version == 3


def test_two_merges_of_one_new_key_leave_it_once(t, monkeypatch):
    other = lance_like.dataset(t.uri)
    real = EditRows.__call__
    query = "merge into {} using (select 77 as id) q using (id) when not matched then insert by name"

    def call(self, manifest):
        action = real(self, manifest)
        if manifest.version == 1 and self.table is not other:
            other.sql(query.format("ds"))
        return action

    monkeypatch.setattr(EditRows, "__call__", call)
    assert lance_like.sql(query.format("t")).fetchall() == [(0,)]
    assert t.count_rows("id = 77") == 1


def test_a_change_of_a_table_that_was_overwritten_is_a_conflict(t):
    lance_like.write_dataset({"other": [1]}, t.uri, mode="overwrite")
    with pytest.raises(IncompatibleChange):
        lance_like.sql("delete from t where id in (select 1)")


# Tables


def test_create_table_as(t, tmp_path):
    path = str(tmp_path / "made.lance")
    query = f"create table '{path}' as select id, b from t at (version => 1) where id < ?"
    if duckdb.__version__ < "2":
        query = query.replace("'", '"')
    assert lance_like.sql(query, params=[3]).fetchall() == [(2,)]
    assert lance_like.dataset(path).to_table().to_pydict() == {"id": [1, 2], "b": ["x", "y"]}
    with pytest.raises(AlreadyExists):
        lance_like.sql(query, params=[3])
    assert lance_like.sql(query.replace("table", "table if not exists", 1), params=[9]).fetchall() == [(0,)]
    assert lance_like.sql(query.replace("create", "create or replace", 1), params=[4]).fetchall() == [(3,)]
    assert lance_like.dataset(path).version == 2
    assert lance_like.sql("create or replace table t as select 5 as k").fetchall() == [(1,)]
    assert t.to_table().to_pydict() == {"k": [5]}
    with pytest.raises(InvalidInput, match="no place"):
        lance_like.sql("create table unquoted as select 1")
    with pytest.raises(Unsupported, match="AS and a query"):
        lance_like.sql(f'create table "{path}" (a int)')


def test_drop_table(t):
    uri = t.uri
    assert lance_like.sql(f'drop table "{uri}"').fetchall() == [(0,)]
    assert not Path(uri).exists()
    assert lance_like.sql(f'drop table if exists "{uri}"').fetchall() == [(0,)]
    with pytest.raises(NotFound):
        lance_like.sql(f'drop table "{uri}"')
    with pytest.raises(NotFound, match="quotes"):
        lance_like.sql("drop table unquoted")


def test_alter_table(t):
    lance_like.sql("alter table t add column k integer default id * 2")
    lance_like.sql("alter table t add column if not exists K integer")
    lance_like.sql('alter table t add "e.f" varchar')
    lance_like.sql("alter table t rename column K to key")
    lance_like.sql("alter table t alter key type bigint")
    lance_like.sql("alter table t alter column key set not null")
    lance_like.sql("alter table t drop column n")
    lance_like.sql("alter table t drop column if exists n")
    assert t.schema.names == ["id", "b", "key", "e.f"]
    assert t.schema.field("key") == pa.field("key", pa.int64(), nullable=False)
    assert t.to_table()["key"].to_pylist() == [2, 4, 6, 8, 10, 12]
    for statement in ("alter table t rename to u", "alter table t alter b set default 'x'"):
        with pytest.raises(Unsupported):
            lance_like.sql(statement)


def test_copy_to_a_file(t, tmp_path):
    lance_like.sql(f"copy (select id from t at (version => 1) where id < 3) to '{tmp_path}/x.parquet'")
    assert duckdb.sql(f"from '{tmp_path}/x.parquet'").fetchall() == [(1,), (2,)]
    lance_like.sql(f"copy t to '{tmp_path}/y.csv'")
    assert len(duckdb.sql(f"from '{tmp_path}/y.csv'").fetchall()) == 6


# Refusals: nothing changes


@pytest.mark.parametrize(
    ("statement", "kind", "told"),
    [
        ("insert or replace into t values (1, 'a', 2)", Unsupported, "INSERT OR"),
        ("insert into t values (1, 'a', 2) on conflict do nothing", Unsupported, "ON"),
        ("insert into t values (1, 'a', 2) returning id", Unsupported, "RETURNING"),
        ("insert into t default values", Unsupported, "DEFAULT VALUES"),
        ("insert into t values (1)", InvalidInput, "3 columns of the table, and 1 values"),
        ("insert into t (id, nope) values (1, 2)", InvalidInput, "no column 'nope'"),
        ("insert into t (id, ID) values (1, 2)", InvalidInput, "1 values|2 values"),
        ("insert into t values ('word', 'a', 2)", InvalidInput, "word"),
        ("insert into nobody values (1)", NotFound, "no dataset 'nobody'"),
        ("insert into s values (1)", InvalidInput, "is a Table, not a dataset"),
        ("insert into x.t values (1)", Unsupported, "is a schema"),
        ("delete from t where nope = 1", InvalidInput, "nope"),
        ("delete from t where id = 1 returning *", Unsupported, "RETURNING"),
        ("update t set (id, b) = (1, 'a')", Unsupported, "no single column"),
        ("update t set nope = 1", InvalidInput, "no column 'nope'"),
        ("update t set id = 1, ID = 2", InvalidInput, "set twice"),
        ("update t set id = 'word'", InvalidInput, "word"),
        ("update t set b = s.b from s where s.id < 9", InvalidInput, "several rows of the source"),
        ("merge into t using s on true when matched then update set b = s.b", InvalidInput, "several rows"),
        ("merge into t using s using (id) when matched then error 'stop here'", InvalidInput, "stop here"),
        ("merge into t using s using (id) when not matched then insert (id) values (1, 2)", InvalidInput, "2 values"),
        ("merge into t using (values (1)) on t.id = 1 when matched then update", InvalidInput, "needs a name"),
        ("merge into t using s using (id) when matched then delete returning *", Unsupported, "RETURNING"),
    ],
)
def test_what_cannot_be_done_is_refused(statement, kind, told, t):
    with pytest.raises(kind, match=told):
        lance_like.sql(statement, s=SOURCE)
    assert (t.version, t.latest_version) == (1, 1)


def test_an_error_points_at_the_place_in_the_statement(t):
    for statement in (
        "delete from t where id in (select 1) and nope = 1",
        "update t set n = 1, b = nope from s where s.id = t.id",
        "merge into t using s using (id) when matched and nope then delete",
        "insert into t select 1, nope, 2",
    ):
        with pytest.raises(InvalidInput) as caught:
            lance_like.sql(statement, s=SOURCE)
        *_, line, caret = str(caught.value).split("\n")
        assert line[caret.index("^") :].startswith("nope"), str(caught.value)
