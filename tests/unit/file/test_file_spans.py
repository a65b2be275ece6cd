"""Several runs of rows of columns at once: the same rows as one after the other, in as many rounds as one of them."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pyarrow as pa
import pytest
from file_cases import KEY, kinds_of, opened, small_pages, write

from lance_like.encodings.joining import joined
from lance_like.file.carry import carried_type
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted

ROWS = 20_000
RNG = np.random.default_rng(7)
TABLE = pa.table(
    {
        "packed": RNG.integers(0, 1 << 19, ROWS).astype(np.uint32),
        "bytes": RNG.integers(0, 200, ROWS),
        "few": RNG.integers(0, 7, ROWS).astype(np.uint8),
        "line": np.arange(ROWS) * 3,
        "nulls": pa.array(RNG.integers(0, 1000, ROWS), mask=RNG.random(ROWS) < 0.1),
        "flags": RNG.random(ROWS) < 0.5,
        "texts": [f"{number:x}" * (number % 5) for number in RNG.integers(0, 1 << 20, ROWS)],
        "vectors": pa.FixedSizeListArray.from_arrays(RNG.random(3 * ROWS).astype(np.float32), 3),
        "lists": pa.ListArray.from_arrays(np.arange(0, 2 * ROWS + 1, 2, dtype=np.int32), RNG.integers(0, 99, 2 * ROWS)),
    }
)


def stored(*, small: bool) -> MemoryStore:
    with ExitStack() as stack:
        if small:
            stack.enter_context(small_pages(nbytes=4000, rows=1000))
        store, _ = write(TABLE)
    assert isinstance(store, MemoryStore)
    return store


@pytest.fixture(scope="module", params=["one page", "many pages"])
def store(request) -> MemoryStore:
    return stored(small=request.param == "many pages")


@pytest.mark.parametrize("longest", [2, 40, 700, ROWS])
def test_runs_have_the_rows_that_one_has(store, longest):
    starts = RNG.integers(0, ROWS, 23)
    ends = np.minimum(starts + RNG.integers(0, longest, 23), ROWS)
    spans = [*zip(starts.tolist(), ends.tolist(), strict=True), (5, 5), (ROWS - 1, ROWS), (0, 1), (0, 1)]
    reader, kinds = opened(store), kinds_of(TABLE.schema)
    found = iter(drive(store, KEY, reader.read_spans(range(len(kinds)), kinds, spans)))
    for start, end in spans:
        for column, kind in zip(TABLE.columns, kinds, strict=True):
            parts = next(found)
            read = joined(parts) if parts else pa.nulls(0, carried_type(kind))
            assert read.to_pylist() == column.slice(start, end - start).to_pylist()
            read.validate(full=True)


def test_short_runs_of_a_column_take_the_rounds_of_one(store):
    spans = [(start, start + 9) for start in range(11, ROWS, 997)]
    for number, kind in enumerate(kinds_of(TABLE.schema)):
        rounds = []
        for some in (spans[:1], spans):
            counting = CountingStore(store)
            reader = opened(counting)
            with counted(counting) as counts:
                drive(counting, KEY, reader.read_spans([number], [kind], some))
            rounds.append(counts.rounds)
        assert rounds[1] <= rounds[0] + 1, TABLE.schema.names[number]


def test_what_lies_between_runs_is_not_read():
    store = CountingStore(stored(small=False))
    reader, kinds = opened(store), kinds_of(TABLE.schema)
    drive(store, KEY, reader.read_spans([0], kinds[:1], [(0, 1), (1, 2)]))
    with counted(store) as counts:
        drive(store, KEY, reader.read_spans([0], kinds[:1], [(5, 20), (8000, 8020), (15_000, 15_010)]))
    assert counts.rounds == 1
    assert counts.bytes_read < 20_000, "of 47,500 bytes of the page"
