"""The seeded data of the benchmarks: one generator per kind of column, in two sizes and a tiny one for tests.

A batch depends only on (seed, kind, first row), so data streams, and any part can be made again to check a
peer's answer. Long and short texts are windows over the sources of Python's standard library: real text that
is always installed; its digest is in every result, because it moves with the Python release. Embeddings and
blobs are random bytes, which no codec can shrink. This module writes no file and knows no peer.
"""

import hashlib
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

__all__ = ["KINDS", "SIZES", "Data", "make_data", "make_texts"]

Generate = Callable[[np.random.Generator, int, int], pa.Array]

BATCH_NBYTES = 8 << 20
BATCH_ROWS = 65_536
EMBEDDING_WIDTH = 768
CITIES = """
Berlin Paris London Madrid Roma Wien Zürich Genève København Stockholm Oslo Helsinki Warszawa Kraków
Praha Budapest București Athína Lisboa Porto Dublin Edinburgh Amsterdam Bruxelles Luxembourg München
Köln Düsseldorf Lyon Marseille Barcelona Sevilla Milano Napoli Torino İstanbul Ankara Kyiv Lviv
Vilnius Rīga Tallinn Beograd Zagreb Ljubljana Sarajevo Skopje Sofia Tirana Reykjavík São-Paulo
Bogotá Lima Montréal Québec Boston Chicago 東京 大阪 北京 上海 서울 Sydney
""".split()  # noqa: SIM905 - a list of quoted words would be three times as long


@dataclass(frozen=True, slots=True)
class Kind:
    """What one column of the benchmarks holds.

    generate(rng, start, count): the values of rows start to start + count.
    row_nbytes: bytes of one row in Arrow, on average.
    wide: sized by bytes instead of rows.
    """

    type: pa.DataType
    row_nbytes: int
    generate: Generate
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """One table of one size, made batch by batch: a column `value`, or ten kinds of columns for "mixed"."""

    kind: str
    size: str
    rows: int
    batch_rows: int
    schema: pa.Schema
    seed: int

    @property
    def columns(self) -> list[str]:
        return self.schema.names

    def read_corpus_digest(self) -> str | None:
        """Name the text this data is cut from: 12 hex digits of its sha256, or None if it holds none."""
        return hashlib.sha256(_corpus().tobytes()).hexdigest()[:12] if self.kind in CUT_FROM_CORPUS else None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Make the rows in order, at most `batch_rows` at a time."""
        for start in range(0, self.rows, self.batch_rows):
            count = min(self.batch_rows, self.rows - start)
            arrays = [
                _values(field.name if self.kind == "mixed" else self.kind, self.seed, start, count)
                for field in self.schema
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)


@dataclass(frozen=True, slots=True)
class Size:
    """rows: of a narrow kind. nbytes: of a wide kind."""

    rows: int
    nbytes: int


SIZES = {
    "tiny": Size(rows=5_000, nbytes=1_000_000),
    "S": Size(rows=100_000, nbytes=50_000_000),
    "M": Size(rows=2_000_000, nbytes=1_000_000_000),
}


def make_data(kind: str, size: str, *, seed: int = 7) -> Data:
    """Describe the data of one kind and size; no row is made yet.

    Raises KeyError if the kind or the size is not known.
    """
    if kind == "mixed":
        schema = pa.schema([pa.field(name, KINDS[name].type) for name in MIXED])
        row_nbytes, wide = sum(KINDS[name].row_nbytes for name in MIXED), False
    else:
        schema = pa.schema([pa.field("value", KINDS[kind].type)])
        row_nbytes, wide = KINDS[kind].row_nbytes, KINDS[kind].wide
    rows = max(1, SIZES[size].nbytes // row_nbytes) if wide else SIZES[size].rows
    batch_rows = max(1, min(BATCH_ROWS, BATCH_NBYTES // row_nbytes))
    return Data(kind=kind, size=size, rows=rows, batch_rows=batch_rows, schema=schema, seed=seed)


def make_texts(rows: int, *, seed: int = 7) -> pa.Array:
    """Windows of 20 to 100 bytes over the sources, cut anywhere."""
    rng = np.random.default_rng(seed)
    return _windows(rng, rng.integers(20, 101, rows), pa.string())


@lru_cache(maxsize=1)
def _corpus() -> np.ndarray:
    """Returns uint8[n]: the ASCII sources of the standard library, tests left out, in the order of paths."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [p for p in root.rglob("*.py") if not {"site-packages", "test", "tests"} & set(p.parts)]
    texts = [p.read_bytes() for p in sorted(paths)]
    return np.frombuffer(b"".join(text for text in texts if text.isascii()), np.uint8)


def _values(kind: str, seed: int, start: int, count: int) -> pa.Array:
    rng = np.random.default_rng([seed, list(KINDS).index(kind), start])
    return KINDS[kind].generate(rng, start, count)


def _ids(rng: np.random.Generator, start: int, count: int) -> pa.Array:
    # gaps of 1 to 15 without a running sum, so that any batch can be made alone
    return pa.array(np.arange(start, start + count) * 8 + rng.integers(0, 8, count))


def _timestamps(rng: np.random.Generator, start: int, count: int) -> pa.Array:
    # about 20 events a second in nearly sorted order, as an event log has them
    seconds = 1_700_000_000 + np.arange(start, start + count) / 20 + rng.exponential(2.0, count)
    return pa.array((seconds * 1e6).astype(np.int64), pa.timestamp("us"))


def _prices(rng: np.random.Generator, start: int, count: int) -> pa.Array:
    return pa.array(np.round(rng.lognormal(3.0, 1.2, count), 2))


def _nullable(rng: np.random.Generator, start: int, count: int) -> pa.Array:
    return pa.array(rng.integers(0, 1 << 20, count), mask=rng.random(count) < 0.1)


def _categories(rng: np.random.Generator, start: int, count: int) -> pa.Array:
    # a few names are frequent and most are rare
    weights = 1 / np.arange(1, len(CITIES) + 1)
    codes = rng.choice(len(CITIES), count, p=weights / weights.sum())
    return pa.array(CITIES).take(pa.array(codes))


def _windows(rng: np.random.Generator, lengths: np.ndarray, type: pa.DataType) -> pa.Array:
    """Cut windows at random places of the corpus; lengths int64[n] in bytes."""
    corpus = _corpus()
    starts = rng.integers(0, len(corpus) - int(lengths.max()), len(lengths))
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(corpus[places])]
    return pa.Array.from_buffers(type, len(lengths), buffers)


def _short_strings(rng: np.random.Generator, start: int, count: int) -> pa.Array:
    return _windows(rng, rng.integers(20, 61, count), pa.string())


def _texts(rng: np.random.Generator, start: int, count: int) -> pa.Array:
    return _windows(rng, rng.integers(1_000, 3_097, count), pa.string())


def _tokens(rng: np.random.Generator, start: int, count: int) -> pa.Array:
    # vocabulary of 50,000 with the frequencies of words, 10 to 70 tokens a row
    lengths = rng.integers(10, 71, count)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    ids = np.exp(rng.random(offsets[-1], np.float32) * np.log(50_000)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids))


def _embeddings(rng: np.random.Generator, start: int, count: int) -> pa.Array:
    values = rng.standard_normal(count * EMBEDDING_WIDTH, np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(values), EMBEDDING_WIDTH)


def _structs(rng: np.random.Generator, start: int, count: int) -> pa.Array:
    children = [
        pa.array(rng.uniform(-90, 90, count)),
        pa.array(rng.poisson(3, count).astype(np.int32)),
        _categories(rng, start, count),
    ]
    mask = pa.array(rng.random(count) < 0.05)
    return pa.StructArray.from_arrays(children, fields=list(STRUCT), mask=mask)


def _blobs(rng: np.random.Generator, start: int, count: int) -> pa.Array:
    lengths = rng.integers(40_000, 80_001, count)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(rng.bytes(int(offsets[-1])))]
    return pa.Array.from_buffers(pa.binary(), count, buffers)


STRUCT = pa.struct([("latitude", pa.float64()), ("visits", pa.int32()), ("city", pa.string())])

KINDS: dict[str, Kind] = {
    "int64": Kind(pa.int64(), 8, lambda rng, start, count: pa.array(rng.integers(0, 1 << 40, count))),
    "ids": Kind(pa.int64(), 8, _ids),
    "timestamp": Kind(pa.timestamp("us"), 8, _timestamps),
    "price": Kind(pa.float64(), 8, _prices),
    "float64": Kind(pa.float64(), 8, lambda rng, start, count: pa.array(rng.standard_normal(count))),
    "small": Kind(pa.int64(), 8, lambda rng, start, count: pa.array(rng.poisson(20, count))),
    "nullable": Kind(pa.int64(), 8, _nullable),
    "category": Kind(pa.string(), 11, _categories),
    "string": Kind(pa.string(), 44, _short_strings),
    "text": Kind(pa.string(), 2_052, _texts, wide=True),
    "tokens": Kind(pa.list_(pa.int32()), 164, _tokens),
    "embedding": Kind(pa.list_(pa.float32(), EMBEDDING_WIDTH), 4 * EMBEDDING_WIDTH, _embeddings, wide=True),
    "struct": Kind(STRUCT, 24, _structs),
    "blob": Kind(pa.binary(), 60_004, _blobs, wide=True),
    "bool": Kind(pa.bool_(), 1, lambda rng, start, count: pa.array(rng.random(count) < 0.3)),
}
MIXED = ["ids", "timestamp", "price", "small", "nullable", "category", "string", "tokens", "struct", "bool"]
CUT_FROM_CORPUS = ("string", "text", "mixed")
