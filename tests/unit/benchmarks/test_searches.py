"""The benchmarks of indexes on tiny tables: with this package alone, and beside what is installed."""

from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks import scalars, texts, vectors
from benchmarks.targets import judge
from benchmarks.vectors import Tried, make_data


def peers(module, names):
    for name in names:
        pytest.importorskip({"pylance": "lance", "lance_like_without": "lance_like"}.get(name, name))
    return [module.load(name) for name in names]


def test_every_shape_of_filter_is_timed(tmp_path: Path) -> None:
    samples = scalars.measure(2_000, tmp_path, peers(scalars, ["lance_like", "lance_like_without"]), repeat=2)
    rows = {
        f"{shape}, {way}, {unit}"
        for shape in scalars.conditions(scalars.make_table(500))
        for way in ("rows", "count")
        for unit in ("ms", "cpu ms")
    }
    assert rows <= {*samples}
    assert samples["all indexes, index, bytes"]["lance_like"][0] > 1000
    assert len(samples["open and id = one, ms"]["lance_like"]) == 2


def test_other_answers_to_a_filter_stop_the_run(tmp_path: Path) -> None:
    class Wrong(scalars.LanceLikeWithout):
        def rows(self, handle: object, condition: str) -> pa.Table:
            return super().rows(handle, "id = 0")

    with pytest.raises(AssertionError, match="otherwise than lance_like"):
        scalars.measure(500, tmp_path, [*peers(scalars, ["lance_like"]), Wrong()], repeat=1)


def test_every_shape_of_query_is_timed(tmp_path: Path) -> None:
    samples = texts.measure(2_000, tmp_path, peers(texts, ["lance_like"]), repeat=1)
    shapes = texts.queries_of(texts.make_table(500))
    assert {f"{shape}, ms" for shape in shapes} <= {*samples}
    assert "3 terms, OR, 10% pass a filter, ms" in samples


def test_every_kind_reaches_its_recall_and_is_timed(tmp_path: Path) -> None:
    data = make_data("mixture", 600, dimension=16)
    samples = vectors.measure(data, tmp_path, peers(vectors, ["lance_like"]), [0.9], repeat=1)
    for what in vectors.SHARES:
        assert "lance_like" in samples[f"mixture, best{what}, recall 0.9, single, ms"]
    assert samples["mixture, IVF_FLAT, recall 0.9, recall"]["lance_like"][0] >= 0.9


def test_the_nearest_rows_are_those_of_all_distances() -> None:
    data = make_data("mixture", 400, dimension=8)
    points = data.table["vector"].combine_chunks().flatten().to_numpy().reshape(400, 8)
    far = ((points - data.queries[3]) ** 2).sum(axis=1)
    assert set(data.nearest[""][3].tolist()) == set(far.argsort()[: vectors.K].tolist())


def test_the_fastest_of_those_that_reach_a_recall_is_chosen() -> None:
    tried = [Tried({}, 0.8, 1.0), Tried({"a": 1}, 0.95, 3.0), Tried({"a": 2}, 0.97, 2.0)]
    assert vectors._fastest(tried, 0.9) == tried[2]
    assert vectors._fastest(tried, 0.99) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "names", "rows"),
    [
        (scalars, ["lance_like", "pylance", "lancedb", "duckdb"], 3_000),
        (texts, ["lance_like", "pylance", "lancedb", "tantivy", "bm25s"], 3_000),
    ],
)
def test_other_libraries_answer_the_same_questions(tmp_path: Path, module, names, rows) -> None:
    samples = module.measure(rows, tmp_path, peers(module, names), repeat=1)
    assert any(set(found) == set(names) for found in samples.values())


def test_targets_of_indexes_are_judged_by_the_worst_row_of_pylance() -> None:
    def row(ours: float, theirs: float) -> dict[str, list[float]]:
        return {"lance_like": [ours, ours, 9], "pylance": [theirs], "lancedb": [0.1]}

    samples = {
        "open and id = one, ms": row(100, 1),
        "id = one, rows, ms": row(1, 10),
        "id = one, rows, cpu ms": row(50, 1),
        "id IN 100, count, ms": row(2, 5),
        "all indexes, index, bytes": row(3, 2),
    }
    best = {"m, IVF_PQ, recall 0.9, single, ms": row(9, 1), "m, best, recall 0.9, single, ms": row(1, 5)}
    results = [{"scalars": {"samples": samples}}, {"vectors": {"samples": best}}]
    found = {verdict.target: verdict for verdict in judge(results)}
    assert found["filters by indexes, median, / pylance"].worst == (0.4, "id IN 100, count, ms")
    assert found["vectors, median at equal recall, / pylance"].worst == (0.2, "m, best, recall 0.9, single, ms")
    assert found["indexes, bytes, / pylance"].worst == (1.5, "all indexes, index, bytes")
    assert found["full text, median, / pylance"].worst is None
