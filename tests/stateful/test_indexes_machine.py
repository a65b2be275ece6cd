"""Any sequence of changes to a table with an index of every kind: every query answers as if there were none.

pytest tests/stateful/test_indexes_machine.py                  # some hundred steps, half a minute
pytest tests/stateful/test_indexes_machine.py -m exhaustive    # thousands of steps, all kinds in each, an hour
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
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
from index_model import CENTRES, DIMENSION, SCHEMA, VECTORS, VOCABULARY, Model, rows_of

import lance_like
from lance_like import LanceDataset
from lance_like.errors import NotFound
from lance_like.query import PhraseQuery, hits

PLAIN_TEXT = {"stem": False, "remove_stop_words": False, "ascii_folding": False, "with_position": True}
INDEXES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "id": ("id", "BTREE", {}),
    "code": ("code", "BITMAP", {}),
    "price": ("price", "BTREE", {}),
    "day": ("day", "ZONEMAP", {"rows_per_zone": 16}),
    "word": ("word", "BLOOMFILTER", {"rows_per_zone": 16}),
    "labels": ("labels", "LABEL_LIST", {}),
    "grams": ("text", "NGRAM", {}),
    "terms": ("text", "INVERTED", PLAIN_TEXT),
    "like": ("text", "MINHASHLSH", {}),
    "nest": ("nest.key", "BTREE", {}),
    "path": ("json", "JSON", {"path": "$.a.b", "value_type": "string"}),
    **{name: (name, kind, {}) for name, (kind, _) in VECTORS.items()},
    "flat": ("flat", "IVF_FLAT", {"num_partitions": 4}),
}
"""Name -> column, kind and parameters."""

K = 10
# Of the nearest 10 rows by an approximate index: of every query, and of all queries of a run together.
LEAST_RECALL, MEAN_RECALL = 0.5, 0.95

seeds = st.integers(0, 1 << 16)
names = st.sampled_from(sorted(INDEXES))
_places = itertools.count()


def condition(random: np.random.Generator, depth: int = 2) -> str:
    """A filter that some index may answer, or a combination of such."""
    if depth and random.random() < 0.4:
        parts = [condition(random, depth - 1) for _ in range(2)]
        return f"({[' AND ', ' OR '][int(random.integers(0, 2))].join(parts)})"
    if depth and random.random() < 0.1:
        return f"NOT ({condition(random, depth - 1)})"
    forms = CONDITIONS[int(random.integers(0, len(CONDITIONS)))]
    return forms(lambda most: int(random.integers(0, most)))


def condition_on(random: np.random.Generator, have: Collection[str]) -> str:
    """A `condition` on some of the columns: an older version may have been restored that lacks one."""
    while True:
        asked = condition(random)
        if all(column in have for column in SCHEMA.names if column in asked):
            return asked


CONDITIONS: Sequence[Callable[[Callable[[int], int]], str]] = (
    lambda n: f"id = {n(400)}",
    lambda n: f"id IN ({n(400)}, {n(400)}, {n(400)})",
    lambda n: f"id >= {n(400)} AND id < {n(400)}",
    lambda n: f"code = {n(9) - 3}",
    lambda n: f"code IN ({n(9) - 3}, {n(9) - 3})",
    lambda n: f"code > {n(9) - 3}",
    lambda n: ("code IS NULL", "code IS NOT NULL")[n(2)],
    lambda n: f"price {('<', '<=', '>', '>=', '=', '<>')[n(6)]} {n(40) / 4 - 5}",
    lambda n: ("price = 'nan'::DOUBLE", "price > 1e308", "price IS NULL", "price = 0.0")[n(4)],
    lambda n: f"day BETWEEN {n(100)} AND {n(100)}",
    lambda n: f"day = {n(100)}",
    lambda n: f"word = 'k{n(60)}'",
    lambda n: f"word IN ('k{n(60)}', 'k{n(60)}', 'no')",
    lambda n: f"word LIKE 'k{n(6)}%'",
    lambda n: f"array_has(labels, 'l{n(8)}')",
    lambda n: f"array_has_any(labels, ['l{n(8)}', 'l{n(8)}'])",
    lambda n: f"array_has_all(labels, ['l{n(8)}', 'l{n(8)}'])",
    lambda n: ("labels IS NULL", "len(labels) = 0")[n(2)],
    lambda n: f"contains(text, '{VOCABULARY[n(len(VOCABULARY))][:3].replace(chr(39), chr(39) * 2)}')",
    lambda n: f"text LIKE '%{('unn', 'w1', 'naï', '日本', 'the w', 'w2_w', 'x')[n(7)]}%'",
    lambda n: f"regexp_matches(text, '{('w1[0-3]', 'the.*w2', 'run(s|ning)', '日')[n(4)]}')",
    lambda n: f"starts_with(text, '{('the w', 'w', 'o')[n(3)]}')",
    lambda n: f"nest.key = {n(9)}",
    lambda n: f"nest.key > {n(9)} AND code < {n(9) - 3}",
    lambda n: f"json ->> '$.a.b' IN ('{n(9)}', 'text')",
    lambda n: ("json ->> '$.a.b' > '2'", "json ->> '$.a.b' IS NULL")[n(2)],
    lambda n: f"free < {n(100)}",
)


class IndexMachine(RuleBasedStateMachine):
    """Acts on a dataset with indexes and on models of all its versions side by side.

    kinds: how many kinds of vector indexes there are; None: all. queries: filters asked after each step.
    """

    kinds: int | None = 2
    queries = 4

    def __init__(self) -> None:
        super().__init__()
        self.folder: str | None = None
        self.history: dict[int, Model] = {}
        self.recalls: list[float] = []
        self.next_id = self.steps = 0

    @property
    def now(self) -> Model:
        return self.history[self.ds.version]

    def random(self, seed: int) -> np.random.Generator:
        return np.random.default_rng([seed, len(self.history)])

    def committed(self, model: Model) -> None:
        """Note what the version at hand holds."""
        self.history[self.ds.version] = model

    def same_rows(self) -> None:
        """Note that the version at hand, which may be new, holds what the one before did."""
        self.history.setdefault(self.ds.version, self.history[max(self.history)])

    def fresh(self, count: int) -> list[int]:
        found = list(range(self.next_id, self.next_id + count))
        self.next_id += count
        return found

    # -- beginnings --

    @initialize(data=st.data(), rows=st.sampled_from([300, 500, 40, 0]), seed=seeds, on_disk=st.booleans())
    def create(self, data, rows, seed, on_disk):
        self.uri = f"memory://indexes-{next(_places)}"
        if on_disk:
            self.folder = self.uri = tempfile.mkdtemp()
        chosen = sorted(VECTORS)
        if self.kinds is not None:
            chosen = data.draw(st.lists(st.sampled_from(chosen), min_size=self.kinds, max_size=self.kinds, unique=True))
        columns = [name for name in SCHEMA.names if name not in VECTORS or name in chosen]
        table = rows_of(self.random(seed), self.fresh(rows)).select(columns)
        self.ds = lance_like.write_dataset(table, self.uri, max_rows_per_file=100, durability="process")
        self.committed(Model(table))
        for name, (column, _, _) in INDEXES.items():
            if column.partition(".")[0] in columns:
                self.build_one(name)

    def teardown(self):
        if self.recalls:
            assert np.mean(self.recalls) >= MEAN_RECALL, np.mean(self.recalls)
        if self.folder is not None:
            shutil.rmtree(self.folder)

    @property
    def columns(self) -> list[str]:
        return self.now.table.schema.names

    @property
    def vectors(self) -> list[str]:
        return [name for name in self.columns if name in VECTORS]

    @property
    def indexes(self) -> list[str]:
        """The names of the indexes that this version has."""
        return [index.name for index in self.ds.describe_indices()]

    # -- rows --

    @rule(
        count=st.sampled_from([60, 150, 300, 1, 0]),
        seed=seeds,
        some=st.booleans(),
        through=st.sampled_from(["own", "other", "old"]),
    )
    def append(self, count, seed, some, through):
        random = self.random(seed)
        rows = rows_of(random, self.fresh(count)).select(self.columns)
        if some:
            rows = rows.select([name for name in rows.schema.names if name == "id" or random.random() < 0.6])
        before = self.now
        if through == "own":
            self.ds.insert(rows, max_rows_per_file=30)
        else:
            version = int(random.choice(sorted(self.history))) if through == "old" else None
            try:
                other = lance_like.dataset(self.uri, version=version, durability="process")
            except NotFound:  # cleaned up
                other = lance_like.dataset(self.uri, durability="process")
            other.insert(rows, max_rows_per_file=30)
            self.ds.checkout_latest()
        self.committed(before.extended(rows))

    @rule(seed=seeds)
    def delete(self, seed):
        chosen = f"({condition_on(self.random(seed), self.columns)}) AND id % 5 = {seed % 5}"
        before = self.now
        self.ds.delete(chosen)
        self.committed(before.without(chosen))

    @rule(seed=seeds, column=st.sampled_from([name for name in SCHEMA.names if name != "id"]))
    def update(self, seed, column):
        """One value for the rows that pass; it may be that of an indexed column, null, or that of no index."""
        if column not in self.columns:
            return
        random = self.random(seed)
        chosen = f"({condition_on(random, self.columns)}) AND id % 2 = {seed % 2}"
        before = self.now
        literal, value = self.literal(random, column)
        passing = before.passing(chosen)
        self.ds.update({column: literal}, where=chosen)
        kind = before.table.schema.field(column).type
        self.committed(before.where(chosen, column, pa.array([value] * len(passing), kind)))

    def literal(self, random: np.random.Generator, column: str) -> tuple[str, Any]:
        """A value of a column as SQL and as it is."""
        kind = self.now.table.schema.field(column).type
        if random.random() < 0.2 or pa.types.is_struct(kind):
            return "NULL", None
        if pa.types.is_fixed_size_list(kind):
            point = [float(number) for number in np.round(random.normal(0, 4, DIMENSION) * 8) / 8]
            return str(point), point
        if pa.types.is_list(kind):
            return "['l1', 'l7']", ["l1", "l7"]
        if pa.types.is_string(kind):
            value = {"word": "k7", "json": '{"a": {"b": 7}}'}.get(column, "the w1 runs w2")
            return f"'{value}'", value
        return ("2.25", 2.25) if pa.types.is_floating(kind) else ("3", 3)

    @rule(seed=seeds, count=st.sampled_from([60, 200, 1]), some=st.booleans(), insert=st.booleans())
    def upsert(self, seed, count, some, insert):
        random = self.random(seed)
        before = self.now
        known = [row for row in before.ids if random.random() < 0.15][:count]
        ids = known + (self.fresh(count // 2) if insert else [])
        rows = rows_of(random, ids).select(self.columns)
        if some:
            left = [name for name in rows.schema.names if name == "id" or random.random() < 0.4]
            rows = rows.select(left if len(left) > 1 else ["id", "free"])
        builder = self.ds.merge_insert("id").when_matched_update_all()
        (builder.when_not_matched_insert_all() if insert else builder).execute(rows)
        self.committed(before.upserted(rows) if ids else before)

    # -- columns and versions --

    @rule(seed=seeds, column=st.sampled_from([name for name in SCHEMA.names if name != "id"]))
    def drop_and_add_column(self, seed, column):
        """A column goes, with its indexes, and comes back with other values and without them."""
        if column not in self.columns:
            return
        before = self.now
        self.ds.drop_columns([column])
        table = before.table.drop_columns([column])
        self.committed(Model(table))
        assert not [name for name in self.indexes if INDEXES[name][0].partition(".")[0] == column]
        self.check(seed)
        ids = self.ds.to_table(["id"])["id"].to_pylist()
        values = rows_of(self.random(seed), ids).select([column])
        self.ds.add_columns(values.to_reader())
        place = {row: i for i, row in enumerate(ids)}
        order = pa.array([place[row] for row in before.ids], pa.int64())
        self.committed(Model(table.append_column(values.schema.field(0), values[column].take(order))))

    @rule(seed=seeds)
    def restore(self, seed):
        """Back to an older version, if it is still there."""
        version = int(self.random(seed).choice(sorted(self.history)))
        try:
            old = self.ds.checkout_version(version)
        except NotFound:
            return
        old.restore()
        self.ds.checkout_latest()
        self.committed(self.history[version])

    @rule(seed=seeds)
    def look_at_an_older_version(self, seed):
        version = int(self.random(seed).choice(sorted(self.history)))
        try:
            old = lance_like.dataset(self.uri, version=version)
        except NotFound:
            return
        self.check(seed, old)

    # -- files and indexes --

    @rule(rows=st.sampled_from([40, 1000]))
    def compact(self, rows):
        self.ds.optimize.compact_files(target_rows_per_fragment=rows)
        self.same_rows()

    @rule(name=names)
    def build(self, name):
        if INDEXES[name][0].partition(".")[0] in self.columns:
            self.build_one(name)

    def build_one(self, name: str) -> None:
        column, kind, params = INDEXES[name]
        if column in VECTORS:
            self.ds.create_index(column, kind, name=name, replace=True, **params)
        else:
            self.ds.create_scalar_index(column, kind, name=name, replace=True, **params)
        self.same_rows()
        assert name in self.indexes

    @rule(names=st.none() | st.lists(names, max_size=3), merge=st.sampled_from([None, 0, 1, 2, 100]))
    def extend(self, names, merge):
        """New segments for rows in none, and some of the old ones merged with them."""
        options = {} if merge is None else {"num_indices_to_merge": merge}
        if names is not None:
            options["index_names"] = [name for name in names if name in self.indexes]
        self.ds.optimize.optimize_indices(**options)
        self.same_rows()

    @precondition(lambda self: len(self.indexes) > 10)
    @rule(seed=seeds)
    def drop_index(self, seed):
        name = str(self.random(seed).choice(self.indexes))
        self.ds.drop_index(name)
        self.same_rows()
        assert name not in self.indexes

    @rule(keep=st.integers(1, 3))
    def cleanup(self, keep):
        self.ds.cleanup_old_versions(timedelta(0), retain_versions=keep, delete_unverified=True)

    @rule()
    def reopen(self):
        self.ds = lance_like.dataset(self.uri, durability="process")

    # -- what must hold --

    @invariant()
    def every_query_answers_as_the_model_does(self):
        if self.history:
            self.steps += 1
            self.check(self.steps)

    def check(self, seed: int, ds: LanceDataset | None = None) -> None:
        """Ask some questions of every kind of a version."""
        ds = ds or self.ds
        model, random = self.history[ds.version], np.random.default_rng([seed, ds.version])
        assert sorted(ds.to_table(["id"])["id"].to_pylist()) == sorted(model.ids)
        have = set(model.table.schema.names)
        filters = [condition_on(random, have) for _ in range(self.queries)]
        for asked in filters:
            self.check_filter(ds, model, asked)
        if "text" in have:
            self.check_texts(ds, model, random, filters[0])
        for column in VECTORS:
            if column in have:
                self.check_vectors(ds, model, random, column, filters[0])

    def check_filter(self, ds: LanceDataset, model: Model, asked: str) -> None:
        expected = model.passing(asked)
        assert sorted(ds.to_table(["id"], filter=asked)["id"].to_pylist()) == expected, asked
        assert ds.count_rows(asked) == len(expected), asked
        assert len(ds.to_table(["id"], filter=asked, limit=3)) == min(3, len(expected)), asked

    def check_texts(self, ds: LanceDataset, model: Model, random: np.random.Generator, asked: str) -> None:
        indexes = {index.name for index in ds.describe_indices()}
        words = [str(word) for word in random.choice([*VOCABULARY[:30], "the"], 2, replace=False)]
        if "terms" in indexes:
            query = {"query": " ".join(words), "columns": ["text"]}
            found = ds.to_table(["id"], full_text_query=query, limit=10_000)
            assert sorted(found["id"].to_pylist()) == sorted(model.relevance(words)), words
            scores = found["_score"].to_numpy()
            assert (scores[1:] <= scores[:-1]).all()
            found = ds.to_table(["id"], full_text_query=query, limit=10_000, filter=asked)
            expected = model.relevance(words, set(model.passing(asked)))
            assert sorted(found["id"].to_pylist()) == sorted(expected), (words, asked)
            self.check_phrase(ds, model, random)
        if "like" in indexes:
            self.check_like(ds, model, random)

    def check_phrase(self, ds: LanceDataset, model: Model, random: np.random.Generator) -> None:
        texts = [words for words in model.tokens().values() if len(words) > 1]
        if not texts:
            return
        words = texts[int(random.integers(len(texts)))]
        start = int(random.integers(len(words) - 1))
        phrase = words[start : start + 2 + int(random.integers(2))]
        found = ds.to_table(["id"], full_text_query=PhraseQuery(" ".join(phrase), "text"), limit=10_000)
        assert set(found["id"].to_pylist()) == model.with_phrase(phrase), phrase

    def check_like(self, ds: LanceDataset, model: Model, random: np.random.Generator) -> None:
        texts = [text for text in model.table["text"].to_pylist() if text]
        if not texts:
            return
        text = texts[int(random.integers(len(texts)))]
        expected = model.like(text)
        found = ds.minhash_search(text, "text", limit=10_000, columns=["id"])
        assert dict(zip(*found.to_pydict().values(), strict=True)) == pytest.approx(expected, abs=1e-6)
        with_index = ds.find_near_duplicates("text", 0.7)
        assert with_index.equals(ds.find_near_duplicates("text", 0.7, use_index=False))

    def check_vectors(
        self, ds: LanceDataset, model: Model, random: np.random.Generator, column: str, asked: str
    ) -> None:
        query = (CENTRES[random.integers(len(CENTRES))] + random.normal(0, 1, DIMENSION)).astype(np.float32)
        for passing, options in ((None, {}), (model.passing(asked), {"filter": asked})):
            true = model.distances(column, query, passing)
            found = ds.to_table(["id"], nearest={"column": column, "q": query, "k": K}, **options)
            distances = dict(zip(found["id"].to_pylist(), found["_distance"].to_pylist(), strict=True))
            count = min(K, len(true))
            assert len(distances) == len(found) == count, (column, options)
            assert list(distances.values()) == sorted(distances.values())
            assert distances == pytest.approx({row: true[row] for row in distances}, rel=1e-3, abs=1e-3)
            if count:
                bound = sorted(true.values())[count - 1] * (1 + 1e-4) + 1e-6
                recall = sum(true[row] <= bound for row in distances) / count
                assert recall >= LEAST_RECALL, (column, options, recall)
                self.recalls.append(recall)


class ExhaustiveMachine(IndexMachine):
    """With all kinds in each table, and more questions."""

    kinds = None
    queries = 12


LIMITS = settings(derandomize=True, deadline=None, print_blob=False)


@pytest.fixture
def eager(monkeypatch):
    """Indexes are asked however many rows they find: of small tables few would be."""
    monkeypatch.setattr(hits, "_MOST_ROWS", 1)
    monkeypatch.setattr(hits, "_MOST_DEAR_ROWS", 1)


@pytest.mark.usefixtures("eager")
def test_any_sequence_of_changes_answers_as_without_an_index():
    run_state_machine_as_test(IndexMachine, settings=settings(LIMITS, max_examples=8, stateful_step_count=15))


@pytest.mark.exhaustive
@pytest.mark.usefixtures("eager")
def test_many_long_sequences_of_changes_answer_as_without_an_index():
    run_state_machine_as_test(
        ExhaustiveMachine, settings=settings(LIMITS, derandomize=False, max_examples=150, stateful_step_count=40)
    )
