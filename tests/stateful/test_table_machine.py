"""Any sequence of writes against a model in memory: every version keeps its answer, every row its id, for ever."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import lance_like
from lance_like import LanceDataset
from lance_like.errors import AlreadyExists, InvalidInput, NotFound, OutOfRange
from tests.objects_named import left_over

KINDS = {
    "int": pa.int64(),
    "small": pa.uint8(),
    "text": pa.string(),
    "float": pa.float64(),
    "flag": pa.bool_(),
    "list": pa.list_(pa.int32()),
    "vector": pa.list_(pa.float32(), 2),
    "word": pa.dictionary(pa.int8(), pa.string()),
    "struct": pa.struct([("x", pa.int64()), ("y", pa.struct([("z", pa.string())]))]),
}
NAMES = ("a", "b", "c", "né.d", "E")
TAGS = ("t1", "t2")

columns = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(sorted(KINDS)), min_size=2, max_size=4)
seeds = st.integers(0, 1 << 16)
counts = st.integers(0, 12)
limits = st.sampled_from([1, 3, 5, 1000])
_places = itertools.count()


def cells(kind: pa.DataType, rows: int, seed: int) -> pa.Array:
    """Values of a type, some null, that follow from a seed."""
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 9, rows).tolist()
    nulls = random.random(rows) < 0.2
    values: Sequence[object]
    t = pa.types
    if t.is_struct(kind):
        values = [{"x": n, "y": None if n == 3 else {"z": str(n)}} for n in numbers]
    elif t.is_string(kind) or t.is_dictionary(kind):
        values = [f"w{n}" for n in numbers]
    elif t.is_fixed_size_list(kind):
        values = [[n, n / 2] for n in numbers]
    elif t.is_list(kind):
        values = [list(range(n % 4)) for n in numbers]
    elif t.is_boolean(kind):
        values = [n > 4 for n in numbers]
    elif t.is_floating(kind):
        values = [float("nan") if n == 8 else n / 4 for n in numbers]
    else:
        values = numbers
    return pa.array([None if null else value for value, null in zip(values, nulls, strict=True)], kind)


def rows_of(schema: pa.Schema, rows: int, seed: int) -> pa.Table:
    return pa.table([cells(field.type, rows, seed + i) for i, field in enumerate(schema)], schema=schema)


def same(found: pa.Table, expected: pa.Table) -> bool:
    """Equality in which NaN equals NaN and the dictionaries of a word column may differ."""
    if found.schema != expected.schema or found.num_rows != expected.num_rows:
        return False
    return repr(found.to_pylist()) == repr(expected.to_pylist())


class Model:
    """One version as it should be: the user's columns, and of each row its id and the versions that made and last
    changed it."""

    def __init__(self, table: pa.Table, ids: list[int], created: dict[int, int], updated: dict[int, int]) -> None:
        self.table, self.ids, self.created, self.updated = table, ids, created, updated


class TableMachine(RuleBasedStateMachine):
    """Acts on a dataset and on models of all its versions side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.folder: str | None = None
        self.history: dict[int, Model] = {}
        self.used: set[int] = set()
        self.tags: dict[str, int] = {}
        self.handles: list[tuple[LanceDataset, int]] = []

    # -- what the rules share --

    @property
    def now(self) -> Model:
        return self.history[max(self.history)]

    @property
    def names(self) -> list[str]:
        return self.now.table.schema.names

    def committed(
        self,
        table: pa.Table,
        *,
        kept: Sequence[int] | None = None,
        changed: Sequence[int] = (),
        source: Model | None = None,
    ) -> None:
        """Record the new version and compare it.

        table: the rows that were there before, then the new ones; kept: the ids of the former, None: all as before.
        changed: ids of rows that got new values; they may stand elsewhere now. source: the model that a restore took.
        """
        ids = self.ds.to_table(["_rowid"])["_rowid"].to_pylist()
        old = list(self.now.ids if kept is None and self.history else kept or [])
        fresh = sorted(set(ids) - set(old))
        unchanged = [row for row in old if row not in set(changed)]
        assert [row for row in ids if row in set(unchanged)] == unchanged, "a row changed its id or its place"
        assert len(set(ids)) == len(ids) == table.num_rows
        assert set(old) <= set(ids), "a row was lost"
        assert not self.used & set(fresh), "an id was used twice"
        self.used |= set(fresh)
        number = max(self.history, default=0) + 1
        before = source or (self.now if self.history else Model(table, [], {}, {}))
        created = {row: before.created.get(row, number) for row in ids}
        updated = {row: number if row in changed else before.updated.get(row, number) for row in ids}
        place = {row: i for i, row in enumerate([*old, *fresh])}
        ordered = table.take(pa.array([place[row] for row in ids], pa.int64()))
        self.history[number] = Model(ordered, ids, created, updated)
        assert self.ds.version == number
        self.compare(self.ds, self.now)

    def compare(self, ds: LanceDataset, model: Model) -> None:
        assert ds.schema == model.table.schema
        assert len(ds) == ds.count_rows() == model.table.num_rows
        assert same(ds.to_table(), model.table)
        rows = ds.to_table(["_rowid", "_row_created_at_version", "_row_last_updated_at_version"])
        assert rows["_rowid"].to_pylist() == model.ids
        assert rows["_row_created_at_version"].to_pylist() == [model.created[row] for row in model.ids]
        assert rows["_row_last_updated_at_version"].to_pylist() == [model.updated[row] for row in model.ids]

    # -- beginnings --

    @initialize(fields=columns, rows=counts, seed=seeds, limit=limits, on_disk=st.booleans())
    def create(self, fields, rows, seed, limit, on_disk):
        self.uri = f"memory://machine-{next(_places)}"
        if on_disk:
            self.folder = self.uri = tempfile.mkdtemp()
        table = rows_of(pa.schema([(name, KINDS[kind]) for name, kind in fields.items()]), rows, seed)
        self.ds = lance_like.write_dataset(table, self.uri, max_rows_per_file=limit, durability="process")
        self.committed(table)

    def teardown(self):
        for version, model in self.history.items():
            self.compare(lance_like.dataset(self.uri, version=version), model)
        if self.folder is not None:
            shutil.rmtree(self.folder)

    # -- rows --

    @rule(data=st.data(), batches=st.lists(counts, min_size=1, max_size=3), seed=seeds, limit=limits)
    def append(self, data, batches, seed, limit):
        schema = self.now.table.schema
        named = data.draw(st.sets(st.sampled_from(schema.names), min_size=1), "columns")
        part = pa.schema([field for field in schema if field.name in named])
        tables = [rows_of(part, rows, seed + 50 * i) for i, rows in enumerate(batches)]
        stream = pa.concat_tables(tables).to_reader()
        how = data.draw(st.sampled_from(["own handle", "another handle", "write_dataset", "old handle"]), "through")
        if how == "own handle":
            self.ds.insert(stream, max_rows_per_file=limit)
        elif how == "write_dataset":
            self.ds = lance_like.write_dataset(
                stream, self.uri, mode="append", max_rows_per_file=limit, durability="process"
            )
        else:
            version = data.draw(st.sampled_from(sorted(self.history))) if how == "old handle" else None
            other = lance_like.dataset(self.uri, version=version, durability="process")
            before = self.ds.version
            other.insert(stream, max_rows_per_file=limit)
            assert self.ds.version == before, "a handle moved by the commit of another"
            self.ds.checkout_latest()
        new = pa.concat_tables(tables)
        filled = [new[f.name] if f.name in named else pa.nulls(len(new), f.type) for f in schema]
        self.committed(pa.concat_tables([self.now.table, pa.table(filled, schema=schema)]))

    @rule(fields=columns, rows=counts, seed=seeds, limit=limits)
    def overwrite(self, fields, rows, seed, limit):
        table = rows_of(pa.schema([(name, KINDS[kind]) for name, kind in fields.items()]), rows, seed)
        self.ds.insert(table, mode="overwrite", max_rows_per_file=limit)
        self.committed(table, kept=[])

    @rule(data=st.data(), number=st.integers(0, 9))
    def delete(self, data, number):
        condition, passes = self.condition(data, number)
        model = self.now
        assert self.ds.delete(condition) == {"num_deleted_rows": sum(passes)}
        left = pa.array([not passed for passed in passes], pa.bool_())
        self.committed(
            model.table.filter(left), kept=[row for row, passed in zip(model.ids, passes, strict=True) if not passed]
        )

    @rule(data=st.data(), number=st.integers(0, 9), how=st.sampled_from(["null", "copy", "constant"]))
    def update(self, data, number, how):
        condition, passes = self.condition(data, number)
        model = self.now
        name = data.draw(st.sampled_from(self.names), "changed column")
        kind, quoted = model.table.schema.field(name).type, '"' + name + '"'
        values = model.table[name].to_pylist()
        if how == "constant" and pa.types.is_integer(kind):
            text, new = f"{quoted} * 0 + 5", [None if value is None else 5 for value in values]
        elif how == "null":
            text, new = "NULL", [None] * len(values)
        else:
            text, new = quoted, values
        assert self.ds.update({f"`{name}`": text}, where=condition) == {"num_rows_updated": sum(passes)}
        cells = [n if passed else v for n, v, passed in zip(new, values, passes, strict=True)]
        place = model.table.schema.get_field_index(name)
        table = model.table.set_column(place, model.table.schema.field(name), pa.array(cells, kind))
        self.committed(table, changed=[row for row, passed in zip(model.ids, passes, strict=True) if passed])

    @precondition(lambda self: self.keyed())
    @rule(data=st.data(), seed=seeds, insert=st.booleans(), matched=st.sampled_from(["update", "delete", None]))
    def merge(self, data, seed, insert, matched):
        """Upserts and their relatives, with some or all columns, by a key that the table may hold twice or as null."""
        model = self.now
        schema = model.table.schema
        key = data.draw(st.sampled_from(self.keyed()), "key")
        others = data.draw(st.sets(st.sampled_from(schema.names), min_size=0 if insert else 1), "columns")
        numbers = data.draw(st.lists(st.integers(0, 12), unique=True, max_size=8), "keys")
        kind = schema.field(key).type
        keys = numbers if pa.types.is_integer(kind) else [f"w{n}" for n in numbers]
        part = pa.schema([field for field in schema if field.name in others or field.name == key])
        rows = rows_of(part, len(keys), seed)
        rows = rows.set_column(part.get_field_index(key), part.field(key), pa.array(keys, kind))
        by_source = data.draw(st.booleans(), "by source")
        builder = self.ds.merge_insert(f"{key}")
        builder = {"update": builder.when_matched_update_all, "delete": builder.when_matched_delete}.get(
            matched, lambda: builder
        )()
        builder = builder.when_not_matched_insert_all() if insert else builder
        builder = builder.when_not_matched_by_source_delete() if by_source else builder
        if not (insert or matched or by_source):
            with pytest.raises(InvalidInput):
                builder.execute(rows)
            return
        stats = builder.execute(rows.to_reader(max_chunksize=3))
        old = model.table[key].to_pylist()
        found = {value: i for i, value in enumerate(keys)}
        hit = [value in found for value in old]
        names = [name for name in part.names if name != key]
        columns = {}
        for name in schema.names:
            cells = model.table[name].to_pylist()
            if matched == "update" and name in names:
                new = rows[name].to_pylist()
                cells = [new[found[value]] if value in found else cell for value, cell in zip(old, cells, strict=True)]
            columns[name] = cells
        left = [not (yes and matched == "delete") and (yes or not by_source) for yes in hit]
        kept = {
            name: [cell for cell, stays in zip(cells, left, strict=True) if stays] for name, cells in columns.items()
        }
        added = [i for i, value in enumerate(keys) if value not in set(old)] if insert else []
        for name in schema.names:
            new = rows[name].to_pylist() if name in part.names else [None] * len(keys)
            kept[name] += [new[i] for i in added]
        changed = [row for row, yes in zip(model.ids, hit, strict=True) if yes] if matched == "update" and names else []
        assert stats == {
            "num_inserted_rows": len(added),
            "num_updated_rows": sum(hit) if matched == "update" else 0,
            "num_deleted_rows": left.count(False),
        }
        table = pa.table([pa.array(kept[field.name], field.type) for field in schema], schema=schema)
        self.committed(table, kept=[row for row, stays in zip(model.ids, left, strict=True) if stays], changed=changed)

    def keyed(self) -> list[str]:
        """The columns that may be keys."""
        t = pa.types
        kinds = (t.is_integer, t.is_string, t.is_dictionary)
        return [field.name for field in self.now.table.schema if any(is_kind(field.type) for is_kind in kinds)]

    # -- columns --

    @rule(name=st.sampled_from(NAMES), how=st.sampled_from(["sql", "function", "stream", "null"]), seed=seeds)
    def add_column(self, name, how, seed):
        old = self.now.table
        if name in old.schema.names:
            with pytest.raises(InvalidInput):
                self.ds.add_columns({name: "1"})
            return
        kind = list(KINDS.values())[seed % len(KINDS)]
        if how == "null":
            self.ds.add_columns(pa.field(name, kind))
            values = pa.nulls(len(old), kind)
        elif how == "stream":
            values = cells(kind, len(old), seed)
            self.ds.add_columns(pa.table([values], names=[name]).to_reader(max_chunksize=4))
        elif how == "function":
            values = pc.is_valid(old[old.schema.names[0]])
            self.ds.add_columns(lambda batch: {name: pc.is_valid(batch.column(0))}, read_columns=old.schema.names[:1])
        else:
            first = old.schema.names[0]
            quoted = '"' + first.replace('"', '""') + '"'
            values = pc.if_else(pc.is_valid(old[first]), pa.scalar(1, pa.int32()), pa.scalar(2, pa.int32()))
            self.ds.add_columns({name: f"case when {quoted} is not null then 1 else 2 end"})
        self.committed(old.append_column(name, values))

    @rule(data=st.data())
    def drop_column(self, data):
        old = self.now.table
        name = data.draw(st.sampled_from(self.names), "column")
        if len(self.names) == 1:
            with pytest.raises(InvalidInput):
                self.ds.drop_columns([name])
            return
        self.ds.drop_columns([f"`{name}`"])
        self.committed(old.drop_columns([name]))

    @precondition(lambda self: any(self.path_to_child()))
    @rule(data=st.data())
    def drop_child(self, data):
        """Drop x out of a struct: its y stays."""
        old = self.now.table
        name = data.draw(st.sampled_from(list(self.path_to_child())), "struct")
        self.ds.drop_columns([f"`{name}`.x"])
        column = old[name].combine_chunks()
        kind = pa.struct([KINDS["struct"].field("y")])
        cut = [None if cell is None else {"y": cell["y"]} for cell in column.to_pylist()]
        place = old.schema.get_field_index(name)
        self.committed(old.set_column(place, pa.field(name, kind), pa.array(cut, kind)))

    def path_to_child(self):
        return (field.name for field in self.now.table.schema if field.type == KINDS["struct"])

    @rule(data=st.data(), new=st.sampled_from(NAMES))
    def rename_column(self, data, new):
        old = self.now.table
        name = data.draw(st.sampled_from(self.names), "column")
        if new != name and new in self.names:
            with pytest.raises(InvalidInput):
                self.ds.alter_columns({"path": f"`{name}`", "name": new})
            return
        self.ds.alter_columns({"path": f"`{name}`", "name": new})
        self.committed(old.rename_columns([new if known == name else known for known in self.names]))

    # -- history --

    @rule(data=st.data())
    def restore(self, data):
        version = data.draw(st.sampled_from(sorted(self.history)), "version")
        old = self.ds.checkout_version(version)
        old.restore()
        self.ds = old
        self.committed(self.history[version].table, kept=self.history[version].ids, source=self.history[version])

    @rule(rows=st.integers(1, 12), share=st.sampled_from([0.0, 0.3, 1.0]))
    def compact(self, rows, share):
        """The same rows, ids and versions; a second time there is nothing to do."""
        options = {"target_rows_per_fragment": rows, "materialize_deletions_threshold": share}
        if self.ds.optimize.compact_files(**options).fragments_removed:
            self.committed(self.now.table)
        assert self.ds.optimize.compact_files(**options).fragments_removed == 0
        assert self.ds.version == max(self.history)

    @rule(kept=st.integers(1, 6), unverified=st.booleans())
    def clean_up(self, kept, unverified):
        """Old versions go, those with tags and the newest stay whole, and no file is left that nothing names."""
        newest = sorted(self.history)[-kept:]
        self.ds.cleanup_old_versions(
            retain_versions=kept, delete_unverified=unverified, error_if_tagged_old_versions=False
        )
        left = {*newest, *self.tags.values()}
        self.history = {version: model for version, model in self.history.items() if version in left}
        self.handles = [(handle, version) for handle, version in self.handles if version in left]
        assert [found["version"] for found in self.ds.versions()] == sorted(left)
        if unverified:
            assert left_over(self.ds._store) == set()
        for version in left:
            self.ds.checkout_version(version).validate()

    @rule(data=st.data())
    def checkout(self, data):
        version = data.draw(st.sampled_from(sorted(self.history)), "version")
        before = self.ds.version
        other = self.ds.checkout_version(version)
        assert (other.version, self.ds.version) == (version, before)
        self.compare(other, self.history[version])
        self.handles.append((other, version))

    @precondition(lambda self: bool(self.handles))
    @rule(data=st.data())
    def look_again_through_an_old_handle(self, data):
        handle, version = data.draw(st.sampled_from(self.handles), "handle")
        assert handle.version == version
        self.compare(handle, self.history[version])

    @rule()
    def reopen(self):
        self.ds = lance_like.dataset(self.uri, durability="process")
        assert [found["version"] for found in self.ds.versions()] == sorted(self.history)
        self.compare(self.ds, self.now)

    @rule(name=st.sampled_from(TAGS), data=st.data())
    def tag(self, name, data):
        version = data.draw(st.sampled_from(sorted(self.history)), "version")
        if name in self.tags:
            with pytest.raises(AlreadyExists):
                self.ds.tags.create(name, version)
            self.ds.tags.update(name, version)
        else:
            self.ds.tags.create(name, version)
        self.tags[name] = version

    @rule(name=st.sampled_from(TAGS))
    def open_or_delete_tag(self, name):
        if name not in self.tags:
            with pytest.raises(NotFound):
                lance_like.dataset(self.uri, version=name)
            return
        self.compare(lance_like.dataset(self.uri, version=name), self.history[self.tags[name]])
        self.ds.tags.delete(name)
        del self.tags[name]

    # -- reads --

    @rule(data=st.data())
    def take(self, data):
        model = self.now
        named = data.draw(st.lists(st.sampled_from(self.names), min_size=1, unique=True), "columns")
        paths = [f"`{name}`" for name in named]
        if not model.ids:
            with pytest.raises(OutOfRange):
                self.ds.take([0])
            return
        rows = data.draw(st.lists(st.integers(0, len(model.ids) - 1), max_size=8), "rows")
        expected = model.table.select(named).take(pa.array(rows, pa.int64())).rename_columns(paths)
        assert same(self.ds.take(rows, paths), expected)
        assert same(self.ds._take_rows([model.ids[row] for row in rows], paths), expected)

    @rule(data=st.data(), number=st.integers(0, 9))
    def filter(self, data, number):
        condition, passes = self.condition(data, number)
        expected = self.now.table.filter(pa.array(passes, pa.bool_()))
        assert same(self.ds.to_table(filter=condition), expected)
        assert self.ds.count_rows(condition) == len(expected)
        assert same(self.ds.to_table(filter=condition, limit=3, offset=1), expected.slice(1, 3))

    @rule(limit=counts, offset=counts)
    def limit(self, limit, offset):
        assert same(self.ds.to_table(limit=limit, offset=offset), self.now.table.slice(offset, limit))

    def condition(self, data, number) -> tuple[str, list[bool]]:
        """A filter, and which rows of the newest version pass it."""
        model = self.now
        name = data.draw(st.sampled_from(self.names), "column")
        quoted = '"' + name + '"'
        values = model.table[name].to_pylist()
        kind = model.table.schema.field(name).type
        if pa.types.is_integer(kind):
            return f"{quoted} >= {number}", [v is not None and v >= number for v in values]
        if pa.types.is_string(kind) or pa.types.is_dictionary(kind):
            return f"{quoted} in ('w{number}', 'w1')", [v in (f"w{number}", "w1") for v in values]
        return f"{quoted} is null", [v is None for v in values]

    @invariant()
    def the_newest_version_is_the_last_one_written(self):
        if self.history:
            assert self.ds.latest_version == max(self.history)
            assert {name: tag["version"] for name, tag in self.ds.tags.list().items()} == self.tags


LIMITS = settings(derandomize=True, deadline=None, print_blob=False)


def test_any_sequence_of_writes_agrees_with_the_model():
    run_state_machine_as_test(TableMachine, settings=settings(LIMITS, max_examples=40, stateful_step_count=20))


@pytest.mark.slow
def test_many_long_sequences_of_writes_agree_with_the_model():
    run_state_machine_as_test(
        TableMachine, settings=settings(LIMITS, derandomize=False, max_examples=300, stateful_step_count=40)
    )
