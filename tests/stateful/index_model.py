"""What every query must answer: the rows of a version in memory, asked without any index.

Filters are asked of DuckDB over a table in memory, texts and vectors are gone through one by one.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from lance_like.index.duplicates.minhash import MinHashLsh
from lance_like.index.duplicates.signatures import signatures

DIMENSION = 8
VECTORS = {
    "flat": ("IVF_FLAT", pa.float32()),
    "pq": ("IVF_PQ", pa.float32()),
    "sq": ("IVF_SQ", pa.float16()),
    "rq": ("IVF_RQ", pa.float32()),
    "hnsw_sq": ("IVF_HNSW_SQ", pa.float32()),
    "hnsw_pq": ("IVF_HNSW_PQ", pa.float32()),
    "hnsw_flat": ("IVF_HNSW_FLAT", pa.float16()),
    "hnsw": ("HNSW", pa.float32()),
}
"""Column -> the kind of its index, and the type of its items."""

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("code", pa.int32()),
        ("price", pa.float64()),
        ("day", pa.int64()),
        ("word", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("text", pa.string()),
        ("nest", pa.struct([("key", pa.int16())])),
        ("json", pa.string()),
        ("free", pa.int64()),
        *((name, pa.list_(kind, DIMENSION)) for name, (_, kind) in VECTORS.items()),
    ]
)
VOCABULARY = [*(f"w{number}" for number in range(30)), "naïve", "日本", "running", "runs", "o'clock"]
# A connection costs as much as a hundred queries.
_DUCKDB = duckdb.connect(config={"threads": 1})
CENTRES = np.random.default_rng(11).normal(0, 4, (6, DIMENSION))


def rows_of(random: np.random.Generator, ids: Sequence[int]) -> pa.Table:
    """Rows with given ids; of every other column some are null, many are alike."""
    count = len(ids)
    values: dict[str, list[Any]] = {
        "id": list(ids),
        "code": _some(random, random.integers(-3, 6, count).tolist()),
        "price": _some(random, [_price(random) for _ in range(count)]),
        "day": [value // 4 + int(random.integers(0, 3)) for value in ids],
        "word": _some(random, [f"k{number}" for number in random.integers(0, 60, count)]),
        "labels": _some(random, [_labels(random) for _ in range(count)]),
        "text": _some(random, _texts(random, count)),
        "nest": _some(random, [{"key": value} for value in _some(random, random.integers(0, 9, count).tolist())]),
        "json": _some(random, [_json(random) for _ in range(count)]),
        "free": random.integers(0, 100, count).tolist(),
    }
    points = CENTRES[random.integers(0, len(CENTRES), count)] + random.normal(0, 1, (count, DIMENSION))
    for name, (_, kind) in VECTORS.items():
        values[name] = _some(random, [list(point) for point in points.astype(kind.to_pandas_dtype())])
    return pa.table([pa.array(values[field.name], field.type, from_pandas=False) for field in SCHEMA], schema=SCHEMA)


def _some(random: np.random.Generator, values: list[Any]) -> list[Any]:
    return [None if null else value for value, null in zip(values, random.random(len(values)) < 0.08, strict=True)]


def _price(random: np.random.Generator) -> float:
    return (
        [float("nan"), -0.0, math.inf, 0.0][int(random.integers(0, 4))]
        if random.random() < 0.1
        else float(random.integers(-20, 20) / 4)
    )


def _labels(random: np.random.Generator) -> list[str | None]:
    return [None if random.random() < 0.1 else f"l{number}" for number in random.integers(0, 8, random.integers(0, 4))]


def _json(random: np.random.Generator) -> str:
    value = [None, "text", 2, 7, 30][int(random.integers(0, 5))]
    return json.dumps({"a": {"b": value}} if random.random() < 0.8 else {"c": value})


def _texts(random: np.random.Generator, count: int) -> list[str]:
    """Texts of few words, one of them in most; each fifth is nearly the one before it."""
    texts: list[str] = []
    for number in range(count):
        if number % 5 == 4:
            texts.append(texts[-1] + " w1")
            continue
        words = [VOCABULARY[place] for place in random.integers(0, len(VOCABULARY), random.integers(0, 14))]
        texts.append(" ".join(["the", *words] if random.random() < 0.7 else words))
    return texts


class Model:
    """The rows of one version. Every answer is told by ids, the column `id`, of which each row has another."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @property
    def ids(self) -> list[int]:
        return self.table["id"].to_pylist()

    @property
    def columns(self) -> list[str]:
        return self.table.schema.names

    def passing(self, condition: str) -> list[int]:
        """The ids of rows that pass a filter, ascending."""
        found = self.asked(f"SELECT id FROM rows WHERE {condition}")
        return sorted(found["id"].to_pylist())

    def asked(self, query: str) -> pa.Table:
        """A query of DuckDB's over the table `rows`."""
        # DuckDB has no halves.
        _DUCKDB.register("rows", self.table.drop_columns([name for name in VECTORS if name in self.columns]))
        return _DUCKDB.sql(query).to_arrow_table()

    def without(self, condition: str) -> Model:
        """The rows that do not pass."""
        gone = set(self.passing(condition))
        return Model(self.table.filter(pa.array([row not in gone for row in self.ids], pa.bool_())))

    def where(self, condition: str, column: str, values: pa.Array) -> Model:
        """The rows that pass with the next of some values in a column, in order of ids; the others as they are."""
        new = dict(zip(self.passing(condition), values.to_pylist(), strict=False))
        cells = self.table[column].to_pylist()
        cells = [new.get(row, cell) for row, cell in zip(self.ids, cells, strict=True)]
        return self.replaced(column, cells)

    def replaced(self, column: str, cells: list[Any]) -> Model:
        """The rows with another column."""
        place = self.table.schema.get_field_index(column)
        field = self.table.schema.field(place)
        return Model(self.table.set_column(place, field, pa.array(cells, field.type, from_pandas=False)))

    def upserted(self, source: pa.Table) -> Model:
        """The rows with those of a source by `id`, which may lack columns."""
        place = {row: i for i, row in enumerate(source["id"].to_pylist())}
        known = set(self.ids)
        columns = []
        for field in self.table.schema:
            given = source[field.name].to_pylist() if field.name in source.schema.names else None
            cells = self.table[field.name].to_pylist()
            if given is not None:
                cells = [given[place[row]] if row in place else cell for row, cell in zip(self.ids, cells, strict=True)]
            cells += [None if given is None else given[i] for row, i in place.items() if row not in known]
            columns.append(pa.array(cells, field.type, from_pandas=False))
        return Model(pa.table(columns, schema=self.table.schema))

    def extended(self, new: pa.Table) -> Model:
        """More rows, which may lack columns."""
        filled = [
            new[field.name] if field.name in new.schema.names else pa.nulls(len(new), field.type)
            for field in self.table.schema
        ]
        return Model(pa.concat_tables([self.table, pa.table(filled, schema=self.table.schema)]).combine_chunks())

    # -- vectors --

    def distances(self, column: str, query: np.ndarray, among: Sequence[int] | None = None) -> dict[int, float]:
        """The squared distance of each row with a vector from another, by id."""
        chosen = None if among is None else set(among)
        found = {
            row: value
            for row, value in zip(self.ids, self.table[column].to_pylist(), strict=True)
            if value is not None and (chosen is None or row in chosen)
        }
        points = np.array(list(found.values()), np.float64).reshape(len(found), DIMENSION)
        return dict(zip(found, ((points - query.astype(np.float64)) ** 2).sum(axis=1).tolist(), strict=True))

    # -- texts --

    def tokens(self) -> dict[int, list[str]]:
        """The tokens of each text, by id: in lower case, of letters and digits."""
        pairs = zip(self.ids, self.table["text"].to_pylist(), strict=True)
        return {row: re.findall(r"\w+", text.lower()) for row, text in pairs if text is not None}

    def relevance(self, words: Sequence[str], among: Sequence[int] | None = None) -> dict[int, float]:
        """BM25 of each row that holds one of some words, by id; statistics of all rows."""
        tokens = self.tokens()
        counts = {row: Counter(some) for row, some in tokens.items()}
        mean = sum(map(len, tokens.values())) / max(len(tokens), 1)
        frequency = {word: sum(word in some for some in counts.values()) for word in words}
        scores: dict[int, float] = {}
        for row, some in counts.items():
            if (among is not None and row not in among) or not any(word in some for word in words):
                continue
            scores[row] = sum(
                math.log(1 + (len(tokens) - frequency[word] + 0.5) / (frequency[word] + 0.5))
                * some[word]
                / (some[word] + 1.2 * (0.25 + 0.75 * len(tokens[row]) / mean))
                for word in words
                if word in some
            )
        return scores

    def with_phrase(self, words: Sequence[str]) -> set[int]:
        """The ids of texts in which words follow each other."""
        size = len(words)
        return {
            row
            for row, some in self.tokens().items()
            if any(some[at : at + size] == list(words) for at in range(len(some) - size + 1))
        }

    # -- like texts --

    def like(self, text: str) -> dict[int, float]:
        """The distance of each row that shares a band of its signature with a text, by id."""
        params = MinHashLsh().params(pa.string(), {})
        [(_, asked)] = signatures(pa.array([text]), params)
        found = [(has, signed) for has, signed in signatures(self.table["text"].combine_chunks(), params)]
        has = np.concatenate([some for some, _ in found])
        signed = np.concatenate([some for _, some in found])
        if not len(asked):
            return {}
        same = signed == asked
        shared = same.reshape(len(same), params["num_bands"], -1).all(axis=2).any(axis=1)
        alike = np.clip((same.mean(axis=1) - 1 / 256) / (1 - 1 / 256), 0, 1)
        rows = np.array(self.ids)[has]
        return {int(row): 1 - float(s) for row, s, yes in zip(rows, alike, shared, strict=True) if yes}
