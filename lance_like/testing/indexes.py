"""What every kind of index must do: suites for pytest, to be subclassed, by plug-ins of other packages too.

    class TestMyIndex(IndexTests):          # of kind "filter": each answer is compared with a naive one
        plugin = MyIndex()
        types = (pa.int64(), pa.string())   # that it can index
        refused = (pa.list_(pa.int64()),)   # and some that it cannot

`SegmentTests` is what holds for plug-ins of all kinds: suites for nearest vectors or relevant texts build on it too, by
saying in `values` what is indexed and in `ask` what is searched for.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like.errors import Corrupt, InvalidInput, LanceLikeError, Unsupported
from lance_like.file.layout import TAIL_NBYTES
from lance_like.index.base import BuildOptions, IndexPlugin, Searcher, Segment
from lance_like.index.files import ArraySource, SegmentFile, SegmentReader, SegmentWriter
from lance_like.index.questions import Answer
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.io.store import Store
from lance_like.testing.oracle import matching, questions_about
from lance_like.testing.values import comparable, random_values, some_of
from lance_like.typing_ import Bytes, Int64s, Json


@dataclass(frozen=True)
class Built:
    """A segment in memory, and what it was built from."""

    plugin: IndexPlugin
    values: pa.Array
    params: Mapping[str, Json]
    detail: Mapping[str, Json]
    store: MemoryStore
    files: Sequence[SegmentFile]

    def segment(self, *, store: Store | None = None, without: str = "", version: int | None = None) -> Segment:
        """What a plug-in opens; store: to read from another one. without: the name of a file that is missing."""
        files = [file for file in self.files if file.name != without]
        return Segment(
            len(self.values),
            self.values.type,
            self.params,
            self.detail,
            SegmentReader(store or self.store, files),
            self.plugin.version if version is None else version,
        )

    def open(self, store: Store | None = None) -> Searcher:
        """A new searcher; store: to read from another one."""
        return self.plugin.open(self.segment(store=store))

    def bytes_of_files(self) -> dict[str, bytes]:
        """The files of the segment, by name, but for their tails: each has random bytes in it."""
        return {f.name: _all_of(self.store, f.key, f.nbytes)[:-TAIL_NBYTES].tobytes() for f in self.files}


def build(
    plugin: IndexPlugin, values: pa.Array, given: Mapping[str, Any], options: BuildOptions | None = None, parts: int = 1
) -> Built:
    """Build a segment in memory. parts: batches that the values come in."""
    store = MemoryStore()
    out = SegmentWriter(store)
    params = plugin.params(values.type, given)
    detail = plugin.build(PartedSource(values, parts), params, out, options or BuildOptions())
    return Built(plugin, values, params, detail, store, out.files)


@dataclass(frozen=True)
class PartedSource(ArraySource):
    """Values in memory that come in some batches."""

    parts: int = 1

    def batches(self) -> Iterator[pa.Array]:
        """The values, a part at a time."""
        edges = np.linspace(0, len(self.values), self.parts + 1, dtype=np.int64).tolist()
        for start, end in pairwise(edges):
            yield self.values.slice(start, end - start)

    def take(self, ordinals: Int64s) -> pa.Array:
        """The values of some rows, for types that Arrow cannot take too."""
        return some_of(self.values, ordinals)


class SegmentTests(ABC):
    """What holds for every plug-in. types: that it can index; refused: some that it cannot."""

    plugin: ClassVar[IndexPlugin]
    types: ClassVar[Sequence[pa.DataType]]
    refused: ClassVar[Sequence[pa.DataType]] = ()
    given: ClassVar[Mapping[str, Any]] = {}
    # What a searcher may keep of the segments here.
    most_cached_nbytes: ClassVar[int] = 64 << 20
    # Whether a segment is the same, byte by byte, whenever and however its values come.
    same_bytes: ClassVar[bool] = True

    def values(self, kind: pa.DataType, rows: int, seed: int) -> pa.Array:
        """Values to index."""
        return random_values(kind, rows, np.random.default_rng(seed))

    @abstractmethod
    def ask(self, searcher: Any, built: Built, seed: int) -> list[Any]:
        """Search for the same things in any searcher of a segment. Returns what was found: values that compare."""

    def built(self, kind: pa.DataType, rows: int = 500, **others: Any) -> Built:
        """A segment of values of a type."""
        return build(self.plugin, self.values(kind, rows, seed=rows), self.given, **others)

    def test_params_are_json_and_complete(self) -> None:
        for kind in self.types:
            params = self.plugin.params(kind, self.given)
            assert json.loads(json.dumps(params)) == params
            assert self.plugin.params(kind, params) == params, "params of params are other params"

    def test_an_unknown_parameter_is_refused(self) -> None:
        for kind in self.types[:1]:
            with _raises(InvalidInput):
                self.plugin.params(kind, {**self.given, "no_such_parameter": 1})

    def test_a_type_that_it_cannot_index_is_refused(self) -> None:
        for kind in self.refused:
            with _raises(InvalidInput):
                self.plugin.params(kind, self.given)

    def test_what_build_gives_back_is_json_and_short(self) -> None:
        for kind in self.types:
            detail = self.built(kind).detail
            assert json.loads(json.dumps(detail)) == dict(detail)
            assert len(json.dumps(detail)) < 10_000, "the manifest holds it: put it in a file"

    def test_segments_of_no_and_of_one_row_are_searched(self) -> None:
        for kind in self.types:
            for rows in (0, 1):
                built = self.built(kind, rows)
                self.ask(built.open(), built, seed=1)

    def test_nothing_is_read_until_something_is_searched(self) -> None:
        built = self.built(self.types[0])
        store = CountingStore(built.store)
        with counted(store) as counts:
            built.open(store)
        assert counts.rounds == 0

    def test_the_same_values_make_the_same_bytes(self) -> None:
        if not self.same_bytes:
            return
        for kind in self.types:
            first, second = self.built(kind), self.built(kind, parts=7)
            assert first.bytes_of_files() == second.bytes_of_files(), kind
            assert first.detail == second.detail

    def test_a_segment_opened_twice_gives_the_same(self) -> None:
        for kind in self.types:
            built = self.built(kind)
            first, second = built.open(), built.open()
            second.prewarm()
            found = self.ask(first, built, seed=2)
            assert self.ask(second, built, seed=2) == found, kind
            assert self.ask(first, built, seed=2) == found, kind

    def test_threads_share_a_searcher(self) -> None:
        built = self.built(self.types[-1])
        expected = self.ask(built.open(), built, seed=3)
        searcher = built.open()
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(lambda _: self.ask(searcher, built, seed=3), range(8)):
                assert found == expected

    def test_a_prior_segment_changes_nothing_that_is_exact(self) -> None:
        for kind in self.types[:3]:
            prior = self.built(kind, 100).open()
            built = self.built(kind)
            again = self.built(kind, options=BuildOptions(prior=prior))
            assert self.ask(again.open(), again, seed=4) == self.ask(built.open(), built, seed=4)

    def test_memory_is_counted_and_bounded(self) -> None:
        for kind in self.types:
            built = self.built(kind, 2000)
            searcher = built.open()
            assert searcher.nbytes_cached <= 4096, "nothing was read yet"
            self.ask(searcher, built, seed=5)
            searcher.prewarm()
            assert 0 <= searcher.nbytes_cached <= self.most_cached_nbytes

    def test_damaged_bytes_are_found_or_not_read(self) -> None:
        random = np.random.default_rng(6)
        for kind in self.types[:4]:
            built = self.built(kind, 100)
            expected = self.ask(built.open(), built, seed=6)
            for file in built.files:
                for place in random.integers(0, file.nbytes, 8).tolist():
                    found = self._ask_damaged(built, file, place)
                    assert found is None or found == expected, f"{kind}: byte {place} of {file.name!r} went unnoticed"

    def test_a_file_with_other_columns_is_corrupt_or_not_read(self) -> None:
        for kind in self.types[:2]:
            built = self.built(kind, 100)
            expected = self.ask(built.open(), built, seed=6)
            for file in built.files:
                for change, (schema, columns) in _other_columns(built, file).items():
                    other = SegmentWriter(built.store)
                    other.write(file.name, schema, [pa.record_batch(columns, schema=schema)])
                    files = [*(known for known in built.files if known is not file), *other.files]
                    found = self._ask_unless_noticed(replace(built, files=files))
                    assert found is None or found == expected, f"{kind}: {file.name!r} with {change} went unnoticed"

    def test_a_missing_file_is_corrupt(self) -> None:
        built = self.built(self.types[0])
        for file in built.files:
            try:
                searcher = self.plugin.open(built.segment(without=file.name))
                self.ask(searcher, built, seed=7)
                searcher.prewarm()
            except Corrupt:
                continue
            raise AssertionError(f"the file {file.name!r} was never missed")

    def test_a_later_version_is_unsupported(self) -> None:
        built = self.built(self.types[0])
        with _raises(Unsupported):
            self.plugin.open(built.segment(version=self.plugin.version + 1))

    def _ask_damaged(self, built: Built, file: SegmentFile, place: int) -> list[Any] | None:
        """What is found with one byte changed; None when it is noticed."""
        data = _all_of(built.store, file.key, file.nbytes).copy()
        data[place] ^= 0x55
        store = MemoryStore()
        for other in built.files:
            content = data if other is file else _all_of(built.store, other.key, other.nbytes)
            store.put(other.key, [content.tobytes()])
        return self._ask_unless_noticed(replace(built, store=store))

    def _ask_unless_noticed(self, built: Built) -> list[Any] | None:
        try:
            return self.ask(built.open(), built, seed=6)
        except (Corrupt, Unsupported):
            return None


class IndexTests(SegmentTests):
    """Plug-ins of kind "filter": what they find is what a naive search finds, or holds it."""

    def ask(self, searcher: Any, built: Built, seed: int) -> list[Any]:
        """Every question that is answered about the values, with its rows."""
        return [list(searcher.rows(question)) for question in self._questions(built, seed)]

    def _questions(self, built: Built, seed: int) -> list[Any]:
        every = questions_about(built.values, np.random.default_rng(seed))
        return [q for q in every if self._answer(built, q) is not Answer.NO]

    def _answer(self, built: Built, question: Any) -> Answer:
        return self.plugin.answers(built.values.type, built.params, question)

    def test_it_is_a_filter(self) -> None:
        assert self.plugin.kind == "filter"
        assert self.plugin.name == self.plugin.name.upper()

    def test_it_answers_something_of_every_type(self) -> None:
        for kind in self.types:
            assert self._questions(self.built(kind), seed=8), kind

    def test_answers_are_those_of_a_naive_search(self) -> None:
        for seed, kind in enumerate(self.types):
            for rows in (1, 60, 700):
                self._check(self.built(kind, rows), seed)

    def test_answers_about_nulls_alone(self) -> None:
        for kind in self.types:
            values = random_values(kind, 300, np.random.default_rng(9), nulls=1.0)
            self._check(build(self.plugin, values, self.given), seed=9)

    def test_answers_about_slices(self) -> None:
        for kind in self.types:
            values = self.values(kind, 400, seed=10).slice(37, 200)
            self._check(build(self.plugin, values, self.given, parts=3), seed=10)

    def test_little_memory_changes_no_answer(self) -> None:
        for kind in self.types:
            built = self.built(kind, options=BuildOptions(memory_nbytes=1 << 14), parts=20)
            self._check(built, seed=11)
            if self.same_bytes:
                assert built.bytes_of_files() == self.built(kind).bytes_of_files(), kind

    def test_a_set_that_was_given_stays_as_it_is(self) -> None:
        built = self.built(self.types[0])
        searcher: Any = built.open()
        given = [(question, searcher.rows(question)) for question in self._questions(built, seed=12)[:20]]
        before = [BitMap(rows) for _, rows in given]
        for (_, one), (_, other) in zip(given, reversed(given), strict=True):
            _ = one & other, one | other, one.flip(0, len(built.values))
        for (question, rows), was in zip(given, before, strict=True):
            assert searcher.rows(question) == was
            assert rows == was

    def _check(self, built: Built, seed: int) -> None:
        searcher: Any = built.open()
        values = comparable(built.values)
        for question in self._questions(built, seed):
            found, expected = set(searcher.rows(question)), matching(question, values)
            said = f"{self.plugin.name} of {built.values.type}, {len(built.values)} rows: {question}"
            assert all(0 <= ordinal < len(built.values) for ordinal in found), said
            if hasattr(searcher, "count"):  # a `CountingSearcher`
                assert searcher.count(question) == len(found), said
            if hasattr(searcher, "tally"):  # a `TallyingSearcher`
                assert searcher.tally(question) == len(found), said
            if self._answer(built, question) is Answer.EXACT:
                assert found == expected, said
            else:
                assert found >= expected, said


def _other_columns(built: Built, file: SegmentFile) -> dict[str, tuple[pa.Schema, list[pa.Array]]]:
    """The columns of a file of a segment, each in turn under another name, of another type, and with a null."""
    opened = SegmentReader(built.store, built.files).file(file.name)
    schema = opened.schema
    columns = opened.columns(schema.names)
    found: dict[str, tuple[pa.Schema, list[pa.Array]]] = {}
    for place, (field, column) in enumerate(zip(schema, columns, strict=True)):
        halves = pa.nulls(len(column), pa.float16())
        others = {
            f"{field.name!r} under another name": (field.with_name("other"), column),
            f"{field.name!r} of another type": (pa.field(field.name, halves.type), halves),
        }
        if len(column) and not field.nullable:
            first = pa.array(np.arange(len(column)), mask=np.arange(len(column)) == 0)
            others[f"a null in {field.name!r}"] = field.with_nullable(True), column.take(first)
        for change, (changed, cells) in others.items():
            found[change] = schema.set(place, changed), [*columns[:place], cells, *columns[place + 1 :]]
    return found


class _raises:
    """The block must raise an error of a kind."""

    def __init__(self, kind: type[LanceLikeError]) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        assert kind is not None, f"expected {self._kind.__name__}"
        return issubclass(kind, self._kind)


def _all_of(store: MemoryStore, key: str, nbytes: int) -> Bytes:
    [data] = store.gather(key, [(np.array([0]), np.array([nbytes]))])
    return data


__all__ = ["Built", "IndexTests", "PartedSource", "SegmentTests", "build"]
