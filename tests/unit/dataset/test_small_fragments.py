"""Small fragments that stand side by side are scanned as one: the same rows as one by one, in few rounds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.write import FileLimits, write_version
from lance_like.errors import Corrupt
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.query import joint, take
from lance_like.query.neighbours import Neighbours
from lance_like.query.projection import Projection
from lance_like.query.session import Session
from lance_like.table.history import resolve
from lance_like.table.snapshot import read_manifest

ROWS = 60


def rows() -> pa.Table:
    """Cells of every kind of page that a few rows make: constants, nulls, values; and types read in other ways."""
    n = range(ROWS)
    return pa.table(
        {
            "id": pa.array(n, pa.int64()),
            "text": pa.array([None if i % 7 == 3 else f"row {i}" for i in n], pa.string()),
            "flag": pa.array([None if i % 5 == 0 else i % 2 == 0 for i in n]),
            "real": pa.array([None if i % 6 == 1 else i / 4 for i in n]),
            "same": pa.array(["same"] * ROWS),
            "list": pa.array([None if i % 5 == 2 else list(range(i % 4)) for i in n], pa.list_(pa.int16())),
            "vector": pa.array([[i, i / 2] for i in n], pa.list_(pa.float32(), 2)),
            "s": pa.array([None if i % 6 == 1 else {"x": i, "y": str(i)} for i in n]),
            "view": pa.array([f"view {i}" for i in n], pa.string_view()),
            "nothing": pa.nulls(ROWS),
        }
    )


@pytest.fixture(scope="module", params=[1, 3])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fragments of so many rows; some have deleted rows, some more files."""
    place = tmp_path_factory.mktemp("small") / "t"
    ds = lance_like.write_dataset(rows(), place, max_rows_per_file=request.param, durability="process")
    ds.delete("id in (4, 17, 18, 19, 40)")
    ds.add_columns({"twice": "id * 2"})
    ds.insert(rows().slice(0, 5).set_column(0, "id", pa.array(range(100, 105))))
    return place


def one_by_one(ds: LanceDataset, columns: list[str]) -> pa.Table:
    return pa.concat_tables([fragment.to_table(columns) for fragment in ds.get_fragments()])


def test_every_column_reads_as_it_does_from_each_fragment(folder: Path) -> None:
    ds = lance_like.dataset(folder)
    columns = [*ds.schema.names, "_rowid", "_rowaddr", "_row_created_at_version", "_row_last_updated_at_version"]
    assert len(ds.get_fragments()) > ROWS // 3
    found = ds.to_table(columns)
    found.validate(full=True)
    assert found.equals(one_by_one(ds, columns))
    for column in columns:
        assert ds.to_table([column]).equals(found.select([column]))


@pytest.mark.parametrize(
    "condition",
    ["id % 3 = 0", "flag", "text is null and real > 2", "_rowid > 20 and list is not null", "twice = 24", "id < -1"],
)
def test_a_condition_passes_the_same_rows(folder: Path, condition: str) -> None:
    ds = lance_like.dataset(folder)
    columns = ["text", "id", "_rowid", "s"]
    pieces = [fragment.to_table(columns, filter=condition) for fragment in ds.get_fragments()]
    expected = pa.concat_tables(pieces)
    assert ds.to_table(columns, filter=condition).equals(expected)
    assert ds.count_rows(condition) == len(expected)
    assert ds.to_table(columns, filter=condition, limit=3, offset=2).equals(expected.slice(2, 3))


def test_batches_span_fragments_up_to_the_rows_asked(folder: Path) -> None:
    ds = lance_like.dataset(folder)
    sizes = [len(batch) for batch in ds.to_batches(batch_size=8)]
    assert max(sizes) == 8
    assert len(sizes) < len(ds.get_fragments())


def test_columns_that_cannot_be_joined_are_read_fragment_by_fragment(tmp_path: Path) -> None:
    words = pa.array([f"w{i}" for i in range(12)]).dictionary_encode()
    ds = lance_like.write_dataset({"word": words, "id": range(12)}, tmp_path, max_rows_per_file=1)
    assert ds.to_table()["word"].to_pylist() == words.to_pylist()


def in_memory(count: int) -> CountingStore:
    store = CountingStore(MemoryStore("memory://small"))
    data = pa.table({"id": range(count), "text": [f"row {i}" for i in range(count)]})
    write_version(store, None, as_stream(data), mode="create", limits=FileLimits(rows=1))
    return store


def opened(store: CountingStore) -> LanceDataset:
    """A handle that knows all fragments."""
    manifest = read_manifest(store, resolve(store))
    assert manifest.fragments
    return LanceDataset(store, manifest)


def test_a_run_of_small_files_is_read_whole_in_one_round() -> None:
    store = in_memory(100)
    ds = opened(store)
    with counted(store) as counts:
        assert ds.to_table()["id"].to_pylist() == [*range(100)]
    # Runs of 16, 32 and the rest.
    assert (counts.rounds, counts.ranges) == (3, 100)


def test_files_that_the_statistics_rule_out_are_not_read() -> None:
    store = in_memory(100)
    ds = opened(store)
    with counted(store) as counts:
        assert ds.to_table(filter="id >= 90")["id"].to_pylist() == [*range(90, 100)]
    assert counts.ranges == 10
    with counted(store) as counts:
        assert ds.to_table(filter="text like '%0'", limit=1)["id"].to_pylist() == [0]
    assert counts.ranges == 16


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 64]) + data[at + 1 :]


DAMAGES = {
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"x",
    "tail": lambda data: flipped(data, len(data) - 20),
    "gone": lambda data: None,
    **{f"byte {at}": partial(flipped, at=at) for at in range(64, 900, 41)},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_of_the_file_that_has_it(tmp_path: Path, damage: str) -> None:
    numbers = np.random.default_rng(3).integers(0, 1 << 60, 8 * 40)
    data = pa.table({"n": numbers, "t": [str(number) for number in numbers]})
    ds = lance_like.write_dataset(data, tmp_path, max_rows_per_file=40, durability="process")
    key = ds._manifest.fragments[5].files[0].path
    file = tmp_path / key
    changed = DAMAGES[damage](file.read_bytes())
    file.unlink()
    if changed is not None:
        file.write_bytes(changed)
    ds = lance_like.dataset(tmp_path)
    try:
        expected = ds.get_fragments()[5].to_table()
    except Corrupt as error:
        with pytest.raises(Corrupt) as caught:
            ds.to_table()
        assert (caught.value.kind, caught.value.where) == (error.kind, error.where)
        assert key in str(caught.value)
    else:
        # A byte that nobody reads.
        assert expected.equals(data.slice(5 * 40, 40))
        assert ds.to_table().equals(data)


WIDE = 200


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Fragments of large files, the cells of one column, with columns of few bytes beside it."""
    n, noise = np.arange(WIDE), np.random.default_rng(3)
    data = pa.table(
        {
            "id": n,
            "image": [noise.bytes(1_000) for _ in n.tolist()],
            "flag": [None if i % 5 == 0 else i % 2 == 0 for i in n.tolist()],
            "real": [None if i % 6 == 1 else i / 4 for i in n.tolist()],
            "vector": pa.array([[i, i / 2] for i in n.tolist()], pa.list_(pa.float32(), 2)),
            "big": noise.integers(0, 1 << 60, WIDE),
        }
    )
    ds = lance_like.write_dataset(data, tmp_path, max_rows_per_file=25, durability="process")
    assert min(file.nbytes for fragment in ds._manifest.fragments for file in fragment.files) > 16 << 10
    return tmp_path


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("condition", [None, "id % 3 = 0", "flag", "real > 2 or big < 0", "_rowid > 60", "id < -1"])
def test_few_bytes_of_large_files_are_read_together(wide: Path, condition: str | None, changed: bool) -> None:
    if changed:
        ds = lance_like.dataset(wide)
        ds.delete("id in (4, 17, 18, 19, 40) or id between 50 and 74")
        ds.add_columns({"twice": "id * 2"})
        ds.add_columns(pa.field("nothing", pa.int64()))
    ds = lance_like.dataset(wide)
    columns = [name for name in ds.schema.names if name != "image"] + ["_rowid", "_rowaddr"]
    expected = pa.concat_tables([f.to_table(columns, filter=condition) for f in ds.get_fragments()])
    for chosen in (columns, ["_rowid"], ["big", "_rowaddr"]):
        first = lance_like.dataset(wide)
        assert first.to_table(chosen, filter=condition).equals(expected.select(chosen))
        assert first.to_table(chosen, filter=condition).equals(expected.select(chosen))
    assert lance_like.dataset(wide).count_rows(condition) == len(expected)


def test_what_files_state_is_kept_for_the_next_scan(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[int] = []
    batches = Neighbours.batches

    def noted(some: Neighbours, batch_rows: int) -> list[pa.RecordBatch]:
        joined.append(len(some.fragments))
        return batches(some, batch_rows)

    monkeypatch.setattr(Neighbours, "batches", noted)
    ds = lance_like.dataset(wide)
    store = CountingStore(ds._store)
    ds = LanceDataset(store, ds._manifest)
    # The ends of files, in which lies what they state, and then the pages; the next time the pages alone.
    for rounds in (2, 1):
        with counted(store) as counts:
            assert len(ds.to_table(["id"], filter="real > 2")) == WIDE - 9 - 32
        assert counts.rounds == 8 * rounds
    assert joined == [4] * 4
    joined.clear()
    # A limit may be met by the first of them.
    lance_like.dataset(wide).to_table(["id"], filter="real > 2", limit=100)
    assert joined == []


@pytest.mark.parametrize("part", ["page", "fences", "tail"])
def test_damage_of_a_large_file_is_told_of_it(wide: Path, part: str) -> None:
    ds = lance_like.dataset(wide)
    file = ds._manifest.fragments[5].files[0]
    reader = ds._session.open([file])[0]
    [stated] = ds._session.drive([(file.key, reader.stated([0]))])
    [column] = ds._session.drive([(file.key, reader.pages(0, pa.int64()))])
    [(starts, _)] = ds._session.drive([(file.key, column.extents())])
    at = {"page": int(starts[0]), "fences": stated.records[0].offset, "tail": file.nbytes - 20}[part]
    path = wide / file.path
    path.write_bytes(flipped(path.read_bytes(), at))
    with pytest.raises(Corrupt) as caught:
        lance_like.dataset(wide).get_fragments()[5].to_table(["id"])
    with pytest.raises(Corrupt) as together:
        lance_like.dataset(wide).to_table(["id"])
    assert (together.value.kind, together.value.where) == (caught.value.kind, caught.value.where)
    assert file.path in str(together.value)


LONG, OF_EACH = 100_000, 20_000


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fragments of several zones, with rows deleted; their files are larger than those that are read whole."""
    place = tmp_path_factory.mktemp("long") / "t"
    n, noise = np.arange(LONG), np.random.default_rng(5)
    data = pa.table(
        {
            "id": n,
            "key": noise.integers(0, 1 << 40, LONG),
            "text": pa.array([None if i % 9 == 1 else f"text {i % 977} of {i}" for i in range(LONG)]),
            "list": pa.array([list(range(i % 3)) for i in range(LONG)], pa.list_(pa.int16())),
        }
    )
    ds = lance_like.write_dataset(data, place, max_rows_per_file=OF_EACH, durability="process")
    ds.delete("id % 1000 = 5")
    return place


@pytest.mark.parametrize("columns", [["id"], ["text", "_rowid", "id"], ["list", "key"], ["_rowaddr"]])
@pytest.mark.parametrize(
    "condition", [None, "key % 2 = 0", "key % 700 = 3", "text like '%77%'", "id >= 30000 and id < 71000", "id = 70001"]
)
def test_longer_fragments_are_read_together_as_they_are_one_by_one(
    long: Path, condition: str | None, columns: list[str]
) -> None:
    ds = lance_like.dataset(long)
    expected = pa.concat_tables([f.to_table(columns, filter=condition) for f in ds.get_fragments()])
    ds = lance_like.dataset(long)
    for _ in range(2):
        assert ds.to_table(columns, filter=condition).equals(expected)
        assert ds.count_rows(condition) == len(expected)
        assert ds.to_table(columns, filter=condition, limit=7, offset=3).equals(expected.slice(3, 7))


def test_of_few_rows_that_pass_pages_of_other_columns_are_not_read(long: Path) -> None:
    ds = lance_like.dataset(long)
    store = CountingStore(ds._store)
    ds = LanceDataset(store, ds._manifest)
    with counted(store) as all_rows:
        ds.to_table(["text"])
    ds = LanceDataset(store, ds._manifest)
    with counted(store) as counts:
        assert 0 < len(ds.to_table(["text"], filter="key % 20000 = 3")) < 20
    with counted(store) as alone:
        ds.to_table(["key"])
    assert counts.bytes_read - alone.bytes_read < all_rows.bytes_read / 2


def test_columns_of_a_condition_that_all_rows_meet_are_not_read(long: Path) -> None:
    ds = lance_like.dataset(long)
    store = CountingStore(ds._store)
    read = []
    for condition in (None, "id >= 0"):
        ds = LanceDataset(store, ds._manifest)
        with counted(store) as counts:
            ds.to_table(["key"], filter=condition)
        read.append(counts.bytes_read)
    # What files state of it may be.
    assert 0 <= read[1] - read[0] < 400 * len(ds.get_fragments())


def test_what_is_kept_of_files_read_together_is_within_the_limit(long: Path) -> None:
    for limit, kept in ((0, False), (64 << 20, True)):
        ds = lance_like.dataset(long, metadata_cache_size_bytes=limit)
        ds.to_table(["key"])
        assert bool(ds._session.several.size) is kept
    assert ds._session.nbytes_cached >= ds._session.several.size


@pytest.mark.parametrize("count", [400, 60])
def test_a_take_of_many_rows_reads_columns_of_several_files_together(
    wide: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(joint, "_LEAST", 8)
    ds = lance_like.dataset(wide)
    ds.delete("id in (4, 17, 18, 19, 40)")
    ds.add_columns({"twice": "id * 2"})
    columns = [name for name in ds.schema.names if name != "image"] + ["_rowid", "_rowaddr"]
    every = one_by_one(ds, columns).combine_chunks()
    rows = np.random.default_rng(count).integers(0, len(every), count)
    store = CountingStore(ds._store)
    ds = LanceDataset(store, ds._manifest)
    # The ends of files, in which lies what they state, and then the pages; the next time the pages alone.
    for rounds in (2, 1):
        with counted(store) as counts:
            assert ds.take(rows, columns).equals(every.take(rows))
        assert counts.rounds == 16 * rounds
    assert ds._session.several.size


def test_few_rows_of_many_files_are_read_together_at_first_and_of_many_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    reading_groups = take.reading_groups

    def noted(session: Session, projection: Projection, some: Any) -> Any:
        groups.append(len(some))
        return reading_groups(session, projection, some)

    monkeypatch.setattr(take, "reading_groups", noted)
    table = pa.table({name: np.arange(200) * place for place, name in enumerate("abcd")})
    lance_like.write_dataset(table, tmp_path, max_rows_per_file=10)
    ds = lance_like.dataset(tmp_path)
    for rows, columns, together in [
        (range(3, 203, 10), ["b"], 1),  # the files are not open yet
        (range(4, 204, 10), ["b"], 0),
        (range(5, 205, 10), ["a", "b", "c", "d"], 1),
        (range(0, 200, 2), ["b"], 1),  # many rows of each
        (range(5, 105, 10), ["a", "b", "c", "d"], 0),  # few files
    ]:
        groups.clear()
        assert ds.take(rows, columns).equals(table.select(columns).take(list(rows)).combine_chunks())
        assert groups == [1] * together, (rows, columns)


def test_damage_is_told_by_a_take_of_many_rows(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "_LEAST", 8)
    ds = lance_like.dataset(wide)
    path = wide / ds._manifest.fragments[5].files[0].path
    path.write_bytes(flipped(path.read_bytes(), 70))
    with pytest.raises(Corrupt) as caught:
        lance_like.dataset(wide).take(range(WIDE), ["id"])
    assert (caught.value.kind, path.name in str(caught.value)) == ("checksum", True)
