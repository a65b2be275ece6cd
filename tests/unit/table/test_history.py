from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from table_values import HookedStore, append, create, objects, small_table

from lance_like.errors import AlreadyExists, Corrupt, InvalidInput, NotFound
from lance_like.io.local import LocalStore
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.table import layout
from lance_like.table.commit import commit
from lance_like.table.envelope import pack_envelope, unpack_json
from lance_like.table.history import locate, resolve, versions
from lance_like.table.layout import VERSIONS, tag_key, version_key
from lance_like.table.manifest import MAGIC
from lance_like.table.refs import Tags
from lance_like.table.snapshot import latest_version, list_versions, read_manifest


def long_table(count: int) -> MemoryStore:
    store, version = small_table()
    for _ in range(count - 1):
        version = commit(store, version, append(1), message=f"after {version.version}")
    return store


def test_versions_lists_all_with_their_times() -> None:
    found = versions(long_table(3))
    assert [one["version"] for one in found] == [1, 2, 3]
    assert found[0]["timestamp"] < found[1]["timestamp"] < found[2]["timestamp"]
    assert found[1]["timestamp"].tzinfo is timezone.utc
    assert found[1]["metadata"]["message"] == "after 1"
    assert found[1]["metadata"]["kind"] == "append"


def test_resolve_finds_versions_by_number_tag_and_time() -> None:
    store = long_table(20)
    Tags(store).create("first", 1)
    assert resolve(store) == 20
    assert resolve(store, 7) == 7
    assert locate(store, "first") == (store, 1)
    for one in versions(store):
        moment = one["timestamp"]
        assert resolve(store, asof=moment) == one["version"]
        assert resolve(store, asof=moment.isoformat()) == one["version"]
        assert resolve(store, asof=moment.astimezone().replace(tzinfo=None)) == one["version"]
        assert (
            resolve(store, asof=moment - timedelta(microseconds=1)) == one["version"] - 1 if one["version"] > 1 else 1
        )
    assert resolve(store, asof=datetime.now(timezone.utc) + timedelta(days=1)) == 20
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    nanoseconds = (versions(store)[4]["timestamp"] - epoch) // timedelta(microseconds=1) * 1000
    assert resolve(store, asof=nanoseconds) == 5
    with pytest.raises(NotFound, match="no version yet"):
        resolve(store, asof="2020-01-01")


def test_a_moment_of_pandas_is_one_of_this_place() -> None:
    pd = pytest.importorskip("pandas")
    store = long_table(3)
    moment = versions(store)[1]["timestamp"]
    assert resolve(store, asof=pd.Timestamp(moment)) == 2
    assert resolve(store, asof=pd.Timestamp(moment.astimezone().replace(tzinfo=None))) == 2


def test_asof_reads_a_logarithmic_number_of_roots() -> None:
    inner = long_table(100)
    moment = versions(inner)[41]["timestamp"]
    store = CountingStore(inner)
    with counted(store) as counts:
        assert resolve(store, asof=moment) == 42
    assert counts.rounds <= 7


@pytest.fixture
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four versions a bucket."""
    monkeypatch.setattr(layout, "VERSIONS_PER_BUCKET", 4)


@pytest.mark.usefixtures("small_buckets")
def test_asof_looks_into_a_logarithmic_number_of_buckets() -> None:
    inner = long_table(100)
    store = CountingStore(inner)
    for number, one in enumerate(versions(inner), start=1):
        with counted(store) as counts:
            assert resolve(store, asof=one["timestamp"]) == number
        # 25 buckets: 1 + 5 + 1 listings, and the roots of 5 buckets and of 3 versions.
        assert counts.lists <= 7
        assert counts.rounds <= 8


@pytest.mark.usefixtures("small_buckets")
def test_asof_finds_its_way_around_versions_that_were_removed() -> None:
    store = long_table(40)
    times = {one["version"]: one["timestamp"] for one in versions(store)}
    left = {1, 14, 15, 29, 38, 40}
    store.delete(version_key(number) for number in times if number not in left)
    for number, moment in times.items():
        assert resolve(store, asof=moment) == max(one for one in left if one <= number)
    assert [one["version"] for one in versions(store)] == sorted(left)
    store.delete([version_key(1)])
    with pytest.raises(NotFound, match="the oldest, 14"):
        resolve(store, asof=times[13])


def test_asof_finds_its_way_around_empty_folders(tmp_path: Path, small_buckets: None) -> None:
    store = LocalStore(str(tmp_path), durability="process")
    version = commit(store, None, create(1))
    for _ in range(19):
        version = commit(store, version, append(1))
    times = {one["version"]: one["timestamp"] for one in versions(store)}
    store.delete(version_key(number) for number in range(1, 14))
    assert [resolve(store, asof=times[number]) for number in range(14, 21)] == list(range(14, 21))
    with pytest.raises(NotFound, match="the oldest, 14"):
        resolve(store, asof=times[13])


@pytest.mark.usefixtures("small_buckets")
def test_versions_reads_each_root_once_and_a_bucket_in_a_round() -> None:
    store = CountingStore(long_table(17))
    with counted(store) as counts:
        assert len(versions(store)) == 17
    assert (counts.ranges, counts.rounds, counts.lists) == (17, 5, 6)


def test_versions_leaves_out_what_a_cleanup_removes_meanwhile() -> None:
    inner = long_table(5)
    store = HookedStore(inner, before=lambda verb, key: inner.delete([version_key(2)]) if verb == "read" else None)
    assert [one["version"] for one in versions(store)] == [1, 3, 4, 5]


def test_the_history_is_read_without_the_fragments() -> None:
    """Parsing those of 64 roots of 64 fragments would take most of the time."""
    store = long_table(3)
    body = unpack_json(MAGIC, objects(store)[version_key(3)], "")
    broken = body.replace(b'"deletions":', b'"deletion":', 1)
    assert broken != body
    store.put(version_key(3), [pack_envelope(MAGIC, broken)])
    assert versions(store)[2]["metadata"]["message"] == "after 2"
    with pytest.raises(Corrupt):
        read_manifest(store, 3)


@pytest.mark.parametrize("metadata", [{}, {"transaction": "x"}, {"fragments": '","transaction":{"'}])
def test_the_history_is_read_whatever_the_order_of_members(metadata: dict[str, str]) -> None:
    store = long_table(1)
    expected = versions(store)
    body = json.loads(unpack_json(MAGIC, objects(store)[version_key(1)], ""))
    body["metadata"] = metadata
    for names in (sorted(body), sorted(body, reverse=True), [*sorted(body.keys() - {"metadata"}), "metadata"]):
        data = json.dumps({name: body[name] for name in names}, separators=(",", ":")).encode()
        store.put(version_key(1), [pack_envelope(MAGIC, data)])
        assert versions(store) == expected


def test_a_version_is_found_by_its_number_in_one_request() -> None:
    asked: list[str] = []
    store = HookedStore(long_table(3), before=lambda verb, key: asked.append(verb))
    assert resolve(store, 2) == 2
    assert asked == ["size"]


@pytest.mark.parametrize("asof", ["yesterday", 1.5, True, "2026-13-01"])
def test_a_moment_that_is_none_is_refused(asof: object) -> None:
    with pytest.raises(InvalidInput):
        resolve(long_table(1), asof=asof)  # type: ignore[arg-type]


def test_resolve_says_what_there_is() -> None:
    store = long_table(3)
    with pytest.raises(NotFound, match="3 versions, from 1 to 3"):
        resolve(store, 9)
    with pytest.raises(NotFound):
        resolve(store, 0)
    with pytest.raises(NotFound, match="the tag 'x' does not exist"):
        locate(store, "x")
    with pytest.raises(InvalidInput):
        locate(store, 1, asof=5)
    for odd in (True, 1.0, (), ("a",), ("a", 1, 2), (1, 1), ("main", "1"), ("main", True)):
        with pytest.raises(InvalidInput, match="a number or the name of a tag, or a pair"):
            locate(store, odd)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "nothing is here"),
        ("data/a.lnl", "no version was ever committed"),
        ("_delta_log/00000000000000000000.json", "Delta Lake"),
        ("_versions/1.manifest", "Lance"),
        ("_latest.manifest", "Lance"),
        ("metadata/v1.metadata.json", "Iceberg"),
        ("part-0.parquet", "Parquet"),
        ("a.vortex", "Vortex"),
    ],
)
def test_a_place_without_a_dataset_says_what_it_holds(key: str | None, message: str) -> None:
    store = MemoryStore()
    if key:
        store.put(key, [b"x"])
    with pytest.raises(NotFound, match=message):
        resolve(store)


def test_names_that_are_not_exactly_versions_are_ignored(tmp_path: Path) -> None:
    store, _ = small_table()
    digits = f"{2:020d}"
    for name in (f"{digits}.manifest.tmp", f"{digits}.Manifest", "2.manifest", f"{digits}", f"x{digits}.manifest"):
        store.put(f"{VERSIONS}/{0:016x}/{name}", [b""])
    store.put(f"{VERSIONS}/{0:016x}/{256:020d}.manifest", [b""])
    store.put(f"{VERSIONS}/{0:016x}/{0:020d}.manifest", [b""])
    store.put(f"{VERSIONS}/{1:016X}Z/{256:020d}.manifest", [b""])
    store.put(f"{VERSIONS}/1/{256:020d}.manifest", [b""])
    assert list_versions(store) == [1]
    local = LocalStore(str(tmp_path))
    (tmp_path / VERSIONS / f"{1:016x}").mkdir(parents=True)
    assert latest_version(local) is None
    (tmp_path / VERSIONS / f"{0:016x}").mkdir()
    (tmp_path / VERSIONS / f"{0:016x}" / f"{7:020d}.manifest").write_bytes(b"")
    assert latest_version(local) == 7


def test_a_link_in_the_place_of_versions_is_noticed(tmp_path: Path) -> None:
    (tmp_path / VERSIONS).mkdir()
    (tmp_path / VERSIONS / f"{1:016x}").symlink_to(tmp_path)
    with pytest.raises(Corrupt, match="not a folder"):
        latest_version(LocalStore(str(tmp_path)))


# -- tags --------------------------------------------------------------------------------------------


def test_tags_are_made_moved_listed_and_removed() -> None:
    store = long_table(3)
    tags = Tags(store)
    tags.create("b", 2)
    tags.create("a", 1)
    assert [(name, tag.version) for name, tag in tags.list().items()] == [("a", 1), ("b", 2)]
    with pytest.raises(AlreadyExists):
        tags.create("a", 2)
    tags.update("a", 3)
    assert tags.get_version("a") == 3
    tags.delete("a")
    assert list(tags.list()) == ["b"]
    for call in (lambda: tags.delete("a"), lambda: tags.update("a", 1), lambda: tags.get_version("a")):
        with pytest.raises(NotFound, match="known tags: 'b'"):
            call()
    with pytest.raises(NotFound, match="version 9"):
        tags.create("c", 9)


def test_a_tag_moved_by_another_process_is_seen(tmp_path: Path) -> None:
    mine, theirs = (LocalStore(str(tmp_path), durability="process") for _ in range(2))
    base = commit(mine, None, create(1))
    commit(mine, base, append(1))
    Tags(mine).create("a", 1)
    assert Tags(theirs).get_version("a") == 1
    Tags(mine).update("a", 2)
    assert Tags(theirs).get_version("a") == 2


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é", "x" * 129, "a.lock", "a\n", "../a"])
def test_names_of_tags_keep_their_grammar(name: str) -> None:
    with pytest.raises(InvalidInput):
        Tags(long_table(1)).create(name, 1)


def test_a_tag_of_another_name_or_of_a_swapped_version_is_noticed() -> None:
    store = long_table(2)
    tags = Tags(store)
    tags.create("a", 1)
    store.put(tag_key("b"), [objects(store)[tag_key("a")]])
    with pytest.raises(Corrupt):
        tags.get_version("b")
    store.put(version_key(1), [objects(long_table(1))[version_key(1)]])
    with pytest.raises(Corrupt, match="another version"):
        tags.get_version("a")
