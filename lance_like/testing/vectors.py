"""What every kind of vector index must do: a suite for pytest, to be subclassed, by plug-ins of other packages too.

    class TestMyIndex(VectorTests):
        plugin = MyIndex()
        types = (pa.list_(pa.float32(), 8),)
        metrics = ("l2", "cosine")

Whatever the codes, a search of everything finds every row that has a distance: its rows, ranked by true distances, are
those of a naive search. Recall is asked of defaults alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like.errors import InvalidInput
from lance_like.index.base import BuildOptions, Nearest
from lance_like.index.vector.exact import as_queries, distances, rank
from lance_like.testing.indexes import Built, SegmentTests, build


def naive_distances(queries: np.ndarray, vectors: Sequence[Any], metric: str) -> np.ndarray:
    """Distances by their definition, in float64: [q, n]; NaN where there is none.

    vectors: a list of numbers each, or None.
    """
    out = np.full((len(queries), len(vectors)), np.nan)
    for i, query in enumerate(queries):
        for j, vector in enumerate(vectors):
            if vector is not None and None not in vector:
                with np.errstate(all="ignore"):
                    out[i, j] = _distance(np.asarray(query), np.asarray(vector, np.float64), metric)
    out[~np.isfinite(out)] = np.nan
    return out


def _distance(query: np.ndarray, vector: np.ndarray, metric: str) -> float:
    if metric == "hamming":
        return sum(bin(a ^ b).count("1") for a, b in zip(query.tolist(), vector.astype(int).tolist(), strict=True))
    query = query.astype(np.float64)
    if metric == "l2":
        return float(((query - vector) ** 2).sum())
    product = float((query * vector).sum())
    if metric == "dot":
        return 1 - product
    lengths = float(np.sqrt((query**2).sum() * (vector**2).sum()))
    return 1 - product / lengths if lengths else float("nan")


def random_vectors(kind: Any, rows: int, seed: int, *, bad: float = 0.05) -> pa.Array:
    """Vectors around some centres; a share of them null, with nulls, of zeros, or not finite where numbers can be."""
    random = np.random.default_rng(seed)
    number, size = kind.value_type, kind.list_size
    centres = random.normal(size=(8, size)) * 3
    made = centres[random.integers(0, 8, rows)] + random.normal(size=(rows, size))
    whole = pa.types.is_integer(number)
    if whole:
        low, high = (0, 255) if number == pa.uint8() else (-128, 127)
        made = np.clip(np.round(made * 12 + (low + high + 1) / 2), low, high).astype(np.int64)
    values: list[Any] = made.astype(np.float16).astype(np.float64).tolist() if not whole else made.tolist()
    for place in np.flatnonzero(random.random(rows) < bad).tolist():
        choice = int(random.integers(0, 5))
        if choice == 0:
            values[place] = None
        elif choice == 1:
            values[place] = [0] * size
        elif choice == 2:
            values[place][0] = None
        elif not whole:
            values[place][-1] = np.nan if choice == 3 else np.inf
    if number == pa.float16():
        values = [v if v is None else [x if x is None else np.float16(x) for x in v] for v in values]
    return pa.array(values, kind)


class VectorTests(SegmentTests):
    """Plug-ins of kind "vector". metrics: that they know. recall: that defaults reach on easy data."""

    metrics: ClassVar[Sequence[str]] = ("l2", "cosine", "dot")
    recall: ClassVar[float] = 0.93
    same_bytes = False

    def values(self, kind: pa.DataType, rows: int, seed: int) -> pa.Array:
        return random_vectors(kind, rows, seed)

    def ask(self, searcher: Any, built: Built, seed: int) -> list[Any]:
        """The nearest of everything, by their true distances."""
        queries = self._queries(built, seed, 3)
        rows = max(1, len(built.values))
        found = searcher.nearest(queries, Nearest(rows, searcher.metric), None)
        true = distances(queries, built.values, searcher.metric, found.ordinals)
        best = rank(found.ordinals, true, Nearest(5, searcher.metric))
        return [best.ordinals.tolist(), best.scores.round(3).astype(str).tolist()]

    def _queries(self, built: Built, seed: int, count: int) -> np.ndarray:
        """Vectors that are near to some of the segment, or to what may be in another."""
        kind: Any = built.values.type
        random = np.random.default_rng(seed)
        numbers = random_vectors(kind, max(count, len(built.values)), len(built.values), bad=0).to_pylist()
        chosen = [numbers[place] for place in random.integers(0, len(numbers), count).tolist()]
        if not pa.types.is_integer(kind.value_type):
            chosen = (np.array(chosen, np.float64) + random.normal(size=(count, kind.list_size)) * 0.5).tolist()
        return as_queries(chosen, kind, str(built.params["metric"]))

    def _each(self, rows: int, **given: Any) -> list[Built]:
        return [
            build(self.plugin, self.values(kind, rows, seed=rows), {**self.given, "metric": metric, **given})
            for kind in self.types
            for metric in self.metrics
        ]

    def test_it_is_of_vectors(self) -> None:
        assert self.plugin.kind == "vector"
        assert self.plugin.name == self.plugin.name.upper()

    def test_a_search_of_everything_ranks_as_a_naive_one(self) -> None:
        for built in self._each(300):
            searcher: Any = built.open()
            queries = self._queries(built, 1, 4)
            expected = naive_distances(queries, built.values.to_pylist(), searcher.metric)
            found = searcher.nearest(queries, Nearest(300, searcher.metric), None)
            for row, naive in zip(found.ordinals, expected, strict=True):
                assert sorted(row[row >= 0].tolist()) == np.flatnonzero(~np.isnan(naive)).tolist()
            true = distances(queries, built.values, searcher.metric, found.ordinals)
            naive = np.take_along_axis(expected, np.maximum(found.ordinals, 0), 1)
            there = found.ordinals >= 0
            assert np.allclose(true[there], naive[there], rtol=1e-3, atol=1e-3)
            if searcher.refine_factor == 0:
                assert np.allclose(found.scores[there], naive[there], rtol=5e-3, atol=5e-3)

    def test_defaults_find_the_true_neighbours(self) -> None:
        for built in self._each(3000):
            searcher: Any = built.open()
            queries = self._queries(built, 2, 30)
            metric = searcher.metric
            every = np.broadcast_to(np.arange(3000), (30, 3000))
            expected = rank(every, distances(queries, built.values, metric), Nearest(10, metric))
            wide = searcher.nearest(queries, Nearest(10 * max(1, searcher.refine_factor), metric), None)
            best = rank(wide.ordinals, distances(queries, built.values, metric, wide.ordinals), Nearest(10, metric))
            # Rows as near as the tenth are as good.
            last = expected.scores[:, -1:]
            good = best.scores <= last + 1e-5 * np.abs(last) + 1e-6
            assert good.mean() >= self.recall, f"{self.plugin.name}, {built.values.type}, {metric}: {good.mean()}"

    def test_only_allowed_rows_are_found(self) -> None:
        for built in self._each(400):
            searcher: Any = built.open()
            queries = self._queries(built, 3, 4)
            for share in (0.02, 0.5, 0.98):
                allow = BitMap(np.flatnonzero(np.random.default_rng(4).random(400) < share).astype(np.uint32))
                found = searcher.nearest(queries, Nearest(20, searcher.metric), allow)
                assert set(found.ordinals[found.ordinals >= 0].tolist()) <= set(allow)
                true = distances(queries, built.values, searcher.metric)
                there = (~np.isnan(true[:, np.array(allow)])).sum(axis=1)
                assert ((found.ordinals >= 0).sum(axis=1) == np.minimum(20, there)).all()
            nothing = searcher.nearest(queries, Nearest(3, searcher.metric), BitMap())
            assert (nothing.ordinals == -1).all()
            assert np.isnan(nothing.scores).all()

    def test_many_queries_find_what_each_finds(self) -> None:
        for built in self._each(500):
            searcher: Any = built.open()
            queries = self._queries(built, 5, 25)
            how = Nearest(500, searcher.metric)
            many = searcher.nearest(queries, how, None)
            for i, query in enumerate(queries):
                one = searcher.nearest(query[np.newaxis], how, None)
                assert set(one.ordinals[0].tolist()) == set(many.ordinals[i].tolist())

    def test_what_is_nearer_than_a_range_is_left_out(self) -> None:
        for built in self._each(400):
            searcher: Any = built.open()
            queries = self._queries(built, 6, 2)
            true = distances(queries, built.values, searcher.metric)
            low, high = np.nanquantile(true, [0.3, 0.6]).tolist()
            how = Nearest(10, searcher.metric, within=(low, high))
            every = np.broadcast_to(np.arange(400), true.shape)
            expected = rank(every, true, how)
            wide = Nearest(400, searcher.metric, within=(low, high))
            found = searcher.nearest(queries, wide, None)
            best = rank(found.ordinals, distances(queries, built.values, searcher.metric, found.ordinals), how)
            same = np.isclose(best.scores, expected.scores, rtol=1e-4, atol=1e-4, equal_nan=True)
            # Estimates may put a row on the other side of the range.
            assert same.all() if searcher.refine_factor == 0 else same.mean() > 0.5

    def test_vectors_that_are_all_the_same_are_found(self) -> None:
        for kind in self.types:
            values = pa.array([[1] * kind.list_size] * 700, kind)
            searcher: Any = build(self.plugin, values, self.given).open()
            queries = as_queries([1] * kind.list_size, kind, searcher.metric)
            found = searcher.nearest(queries, Nearest(700, searcher.metric), None)
            assert sorted(found.ordinals[0].tolist()) == list(range(700))

    def test_columns_without_a_vector_find_nothing(self) -> None:
        for kind in self.types:
            searcher: Any = build(self.plugin, pa.nulls(300, kind), self.given).open()
            queries = as_queries([1] * kind.list_size, kind, searcher.metric)
            assert (searcher.nearest(queries, Nearest(5, searcher.metric), None).ordinals == -1).all()

    def test_vectors_of_one_number_are_found(self) -> None:
        for kind in self.types:
            one = pa.list_(kind.value_type, 1)
            given = {name: value for name, value in self.given.items() if name != "num_sub_vectors"}
            searcher: Any = build(self.plugin, self.values(one, 200, 7), given).open()
            found = searcher.nearest(as_queries([3], one, searcher.metric), Nearest(5, searcher.metric), None)
            assert (found.ordinals >= 0).all()

    def test_little_memory_loses_no_row(self) -> None:
        for kind in self.types:
            options = BuildOptions(memory_nbytes=1 << 12)
            built = self.built(kind, options=options, parts=9)
            assert self.ask(built.open(), built, 8) == self.ask(self.built(kind).open(), built, 8)

    def test_another_metric_or_dimension_is_refused(self) -> None:
        built = self.built(self.types[0])
        searcher: Any = built.open()
        queries = self._queries(built, 9, 1)
        others = [metric for metric in ("l2", "cosine") if metric != searcher.metric]
        for wrong, metric in ((queries, others[0]), (queries[:, :-1], searcher.metric)):
            try:
                searcher.nearest(wrong, Nearest(1, metric), None)
            except InvalidInput:
                continue
            raise AssertionError("it was answered")


__all__ = ["VectorTests", "naive_distances", "random_vectors"]
