"""Writing on threads: the same bytes whatever their number, bounded memory, and nothing left behind by a failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import FLAT, NESTED, VARIABLE, Shape, make_array
from file_cases import KEY, small_pages

from lance_like.encodings import zstd
from lance_like.encodings.base import Hints, Shared
from lance_like.file import alike, writer
from lance_like.file.cut import PendingRows
from lance_like.file.encode import CutPage, EncodedPage, block_sums, encode_page
from lance_like.file.layout import sums_at
from lance_like.file.ordered import OrderedWork
from lance_like.file.writer import FileWriter
from lance_like.io.memory import MemoryStore


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("lance_like-write")]


@pytest.fixture
def tiny_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every page go to a thread of its own."""
    monkeypatch.setattr(writer, "_GROUP_NBYTES", 1)
    monkeypatch.setattr(writer, "_INLINE_NBYTES", 0)


def written(batches: list[pa.RecordBatch], threads: int) -> bytes:
    made = FileWriter(batches[0].schema, threads=threads)
    return b"".join(bytes(chunk) for chunk in made.chunks(batches))


def texts(rows: int, seed: int) -> pa.Array:
    """Text that a trained dictionary makes smaller."""
    rng = np.random.default_rng(seed)
    words = np.array([f"{i:x}word{i * 7919 % 1000}" for i in range(300)])
    return pa.array([" ".join(words[rng.integers(0, 300, 30)]) for _ in range(rows)])


# -- the same bytes ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("tiny_groups")
def test_the_bytes_of_a_file_do_not_depend_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstd, "_SMALLEST_DICTIONARY", 600)
    monkeypatch.setattr(zstd, "_LARGEST_DICTIONARY", 2048)
    rng = np.random.default_rng(0)
    kinds = [pa.bool_(), *FLAT, *VARIABLE, *NESTED]
    columns = {str(kind): make_array(kind, 400, Shape("any", 0.1), rng) for kind in kinds}
    table = pa.table({**columns, "text": texts(400, 0), "lists": pa.array([[f"{i}"] for i in range(400)])})
    with small_pages(nbytes=12_000, rows=90):
        first, *others = [written(table.to_batches(70), threads) for threads in (1, 2, 5)]
    # The tail holds the random bytes that tell files apart.
    assert all(other[:-64] == first[:-64] for other in others)


def test_a_page_that_needs_the_dictionary_waits_for_those_before_it() -> None:
    shared = Shared()
    found: list[bytes | None] = []
    late = threading.Thread(target=lambda: found.append(Hints(shared, 2).trained("zstd")))
    late.start()
    Hints(shared, 1)
    shared.finish(0)
    late.join(0.02)
    assert late.is_alive()
    Hints(shared, 1).train("zstd", b"trained")
    late.join(5)
    assert found == [b"trained"]


def test_a_page_waits_no_longer_than_for_the_last_before_it() -> None:
    shared = Shared()
    for page in (1, 0):
        shared.finish(page)
    assert Hints(shared, 2).trained("zstd") is None


def test_checksums_of_blocks_do_not_depend_on_the_chunks() -> None:
    data = np.random.default_rng(0).integers(0, 256, 40_000).astype(np.uint8)
    starts = np.arange(0, len(data), 4096)
    expected = sums_at(data, starts, np.minimum(4096, len(data) - starts)).tolist()
    for cuts in ([], [1], [4096], [4095, 4097], [10, 20, 30, 12_288, 12_289], [39_999], list(range(100, 40_000, 100))):
        assert block_sums(np.split(data, cuts), 12).tolist() == expected
    assert block_sums([data[:0]], 12).tolist() == []


# -- memory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.int8(), pa.string(), pa.list_(pa.int32()), pa.dictionary(pa.int8(), pa.string())])
def test_waiting_rows_do_not_hold_on_to_their_batches(kind: pa.DataType) -> None:
    pending = PendingRows(kind)
    before = pa.total_allocated_bytes()
    for seed in range(3):
        array = make_array(kind, 50_000, Shape("any", 0.1), np.random.default_rng(seed))
        batch = pa.concat_arrays([array])  # its buffers are counted, those of numpy are not
        pending.add(batch.slice(100, 10))
        del array, batch
        pending.own()
    assert pa.total_allocated_bytes() < before + 20_000
    assert sum(len(piece) for pieces in pending.rest() for piece in pieces) == 30


def test_single_rows_are_joined_while_they_wait() -> None:
    pending = PendingRows(pa.string())
    for number in range(5000):
        assert pending.add(pa.array([str(number)])) == []
    (pieces,) = pending.rest()
    assert len(pieces) < 300
    assert pa.concat_arrays(pieces).to_pylist() == [str(number) for number in range(5000)]


def test_work_that_is_done_is_bounded_by_the_budget() -> None:
    work = OrderedWork[int](threads=3, budget_nbytes=50)
    with closing(work):
        taken: list[int] = []
        for number in range(40):
            work.submit(lambda number=number: number, 10)
            taken += work.ready()
            assert work.nbytes <= 50
        assert [*taken, *work.rest()] == list(range(40))
        assert work.nbytes == 0


def test_one_thread_is_no_thread() -> None:
    here = threading.get_ident()
    work = OrderedWork[int](threads=1, budget_nbytes=0)
    work.submit(threading.get_ident, 1)
    assert list(work.ready()) == [here]
    short = OrderedWork[int](threads=4, budget_nbytes=0)
    short.submit(threading.get_ident, 1, inline=True)
    assert list(short.rest()) == [here]


@pytest.mark.parametrize(("columns", "rows", "started"), [(300, 1000, False), (1, 100_000, False), (3, 300_000, True)])
def test_threads_are_for_several_large_pages(
    columns: int, rows: int, started: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    ready = OrderedWork.ready

    def watched(work: OrderedWork[object]) -> Iterator[object]:
        seen.append(work.started)
        return ready(work)

    monkeypatch.setattr(OrderedWork, "ready", watched)
    values = np.random.default_rng(0).random(rows)
    written([pa.record_batch({f"c{i}": values for i in range(columns)})], threads=2)
    assert any(seen) == started


# -- failures ----------------------------------------------------------------------------------------------------


class Broken(Exception):
    pass


@pytest.mark.usefixtures("tiny_groups")
@pytest.mark.parametrize("threads", [1, 3])
def test_the_error_of_a_page_ends_the_write(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(zstd, "_SMALLEST_DICTIONARY", 1 << 30)  # so that every page waits for the one before
    monkeypatch.setattr(writer, "PAGE_NBYTES", 1000)

    def encode(page: CutPage) -> EncodedPage:
        if page.first_row >= 60:
            raise Broken(page.first_row)
        return encode_page(page)

    monkeypatch.setattr(alike, "encode_page", encode)
    store = MemoryStore()
    taken = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal taken
        for batch in pa.table({"a": texts(3000, 0)}).to_batches(20):
            taken += 1
            yield batch

    with small_pages(nbytes=1000, rows=20), pytest.raises(Broken):
        made = FileWriter(pa.schema([("a", pa.string())]), threads=threads)
        store.put(KEY, made.chunks(batches()))
    assert store.list("") == []
    assert taken < 30


@pytest.mark.usefixtures("tiny_groups")
def test_an_error_of_the_input_or_the_store_ends_the_threads() -> None:
    batch = pa.record_batch({"a": texts(200, 0)})

    def failing() -> Iterator[pa.RecordBatch]:
        yield batch
        raise Broken

    with small_pages(nbytes=1000, rows=20):
        with pytest.raises(Broken):
            list(FileWriter(batch.schema, threads=2).chunks(failing()))
        with closing(FileWriter(batch.schema, threads=2).chunks([batch] * 50)) as chunks:
            next(chunks)
            next(chunks)
