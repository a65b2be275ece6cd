"""Damaged and hostile metadata: every bad byte and every wrong member is refused with its place."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from table_values import append, create, objects, small_table, update

from lance_like.errors import Corrupt, LanceLikeError, Unsupported
from lance_like.io.memory import MemoryStore
from lance_like.table import deletions, lineage, manifest, parts, shape
from lance_like.table.commit import commit
from lance_like.table.deletions import Deletions
from lance_like.table.envelope import pack_envelope, unpack_json
from lance_like.table.layout import new_part_key, version_key
from lance_like.table.manifest import MAGIC, Manifest, decode_root
from lance_like.table.parts import FANOUT
from lance_like.table.refs import Tags
from lance_like.table.snapshot import list_versions, read_manifest


def full_table() -> tuple[MemoryStore, Manifest]:
    """A table with every kind of metadata object, kept small."""
    store, base = small_table()
    version = commit(store, base, append(900, *[1] * FANOUT), properties={"long": "x" * 17_000})
    # Every third row stands elsewhere: a long bitmap here and a long lineage there.
    version = commit(store, version, update(version, {2: range(0, 900, 3)}))
    Tags(store).create("t", 2)
    return store, version


def read_whole(store: MemoryStore, version: int) -> list[list]:
    """A version with what its parts hold."""
    return [
        [one.id, one.rows, one.files, one.runs, one.deleted.tolist()] for one in read_manifest(store, version).fragments
    ]


def read_all_metadata(store: MemoryStore) -> tuple:
    return [read_whole(store, version) for version in list_versions(store)], Tags(store).get_version("t")


def _flip_all(store: MemoryStore, key: str, places: Iterator[int]) -> None:
    right = objects(store)[key]
    for place in places:
        wrong = bytearray(right)
        wrong[place // 8] ^= 1 << place % 8
        store.put(key, [bytes(wrong)])
        with pytest.raises(Corrupt):
            read_all_metadata(store)
    store.put(key, [right])


@pytest.mark.parametrize("suffix", [".manifest", ".schema", ".part", ".txn", ".rows", ".del", ".tag"])
def test_a_flipped_bit_is_noticed(suffix: str) -> None:
    store, _ = full_table()
    key = next(key for key in sorted(objects(store)) if key.endswith(suffix))
    bits = 8 * len(objects(store)[key])
    _flip_all(store, key, iter(random.Random(7).sample(range(bits), 30)))


@pytest.mark.exhaustive
def test_every_flipped_bit_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "FANOUT", 2)
    monkeypatch.setattr(manifest, "INLINE_TRANSACTION_BYTES", 100)
    monkeypatch.setattr(lineage, "INLINE_RUNS", 3)
    monkeypatch.setattr(deletions, "INLINE_NBYTES", 0)
    store = MemoryStore()
    commit(store, None, create(2, *[1] * 5))
    commit(store, read_manifest(store, 1), append(3))
    commit(store, base := read_manifest(store, 2), update(base, {0: [0], 6: [1]}))
    Tags(store).create("t", 2)
    kinds = {key.rpartition(".")[2] for key in objects(store)}
    assert kinds == {"manifest", "schema", "part", "txn", "rows", "del", "tag"}
    for key in objects(store):
        _flip_all(store, key, iter(range(8 * len(objects(store)[key]))))


@pytest.mark.parametrize("suffix", [".manifest", ".schema", ".part", ".txn", ".rows", ".del", ".tag"])
def test_a_cut_or_lengthened_object_is_noticed(suffix: str) -> None:
    store, _ = full_table()
    key = next(key for key in sorted(objects(store)) if key.endswith(suffix))
    right = objects(store)[key]
    for nbytes in (0, 1, 15, 23, 24, len(right) // 2, len(right) - 1):
        store.put(key, [right[:nbytes]])
        with pytest.raises(Corrupt):
            read_all_metadata(store)
    if suffix in (".manifest", ".tag"):
        store.put(key, [right + b"\0"])
        with pytest.raises(Corrupt):
            read_all_metadata(store)


# -- a right checksum over wrong contents --------------------------------------------------------------

ODD = [None, True, -1, 2**53, 2**70, 1.5, "", "x", "../x", "\ud800", [], [[]], [None], {}, {"": None}, [[5, 1]]]


def _places(value: object, path: tuple = ()) -> Iterator[tuple]:
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from _places(value[key], (*path, key))
    elif isinstance(value, list):
        for i in range(len(value)):
            yield from _places(value[i], (*path, i))


def _changed(value, path: tuple, odd: object, *, remove: bool):
    if not path:
        return odd
    made = list(value) if isinstance(value, list) else dict(value)
    if len(path) == 1 and remove:
        del made[path[0]]
    else:
        made[path[0]] = _changed(value[path[0]], path[1:], odd, remove=remove)
    return made


def _body(store: MemoryStore, magic: bytes, key: str):
    return json.loads(unpack_json(magic, objects(store)[key], key))


@pytest.mark.parametrize("remove", [False, True])
@pytest.mark.parametrize(("magic", "suffix"), [(b"LLMF", ".manifest"), (b"LLTG", ".tag")])
def test_a_wrong_member_is_refused_or_without_effect(magic: bytes, suffix: str, remove: bool) -> None:
    store, _ = small_table()
    Tags(store).create("t", 1)
    key = next(key for key in objects(store) if key.endswith(suffix))
    body = _body(store, magic, key)
    for path in _places(body):
        for odd in ODD if not remove else ODD[:1]:
            wrong = json.dumps(_changed(body, path, odd, remove=remove)).encode()
            data = pack_envelope(magic, wrong)
            try:
                if suffix == ".manifest":
                    assert encode_root_of(data) is not None
                else:
                    store.put(key, [data])
                    Tags(store).read("t")
            except (Corrupt, Unsupported) as error:
                assert error.where
                assert error.message


def encode_root_of(data: bytes) -> object:
    return decode_root(data, "here", version=1)


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_bytes_that_are_not_json_are_corrupt(body: bytes) -> None:
    with pytest.raises(LanceLikeError):
        decode_root(pack_envelope(MAGIC, body), "here", version=1)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"version":' + b"9" * 10_000 + b"}", b"NaN", b'"\xff"', b"{}", b"1"]
)
def test_json_that_breaks_parsers_is_corrupt(body: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_root(pack_envelope(MAGIC, body), "here", version=1)


def test_unknown_members_are_ignored() -> None:
    store, base = small_table()
    body = _body(store, MAGIC, version_key(1))
    body["later"] = {"any": [1]}
    body["fragments"]["tail"][0]["later"] = 1
    assert decode_root(pack_envelope(MAGIC, json.dumps(body).encode()), "here", version=1).tail == base.tree.tail


@pytest.mark.parametrize("path", ["/a", "a//b", "a/", ".", "a/../b", "a\\b", "c:x", "a%2fb", "a\0b", "", "x" * 2000, 7])
def test_paths_that_leave_the_table_are_refused(path: object) -> None:
    with pytest.raises(Corrupt):
        shape.path(path, "here")


def test_a_base_that_is_no_place_and_a_file_of_no_base_are_refused() -> None:
    store, _ = small_table()
    for change in (
        lambda body: body.update(bases={"1": "elsewhere"}),
        lambda body: body.update(bases={"one": "/there"}),
        lambda body: body["fragments"]["tail"][0]["files"][0].update(base=-1),
    ):
        body = _body(store, MAGIC, version_key(1))
        change(body)
        with pytest.raises(Corrupt):
            decode_root(pack_envelope(MAGIC, json.dumps(body).encode()), "here", version=1)


DELETED = Deletions.of(np.array([1])).to_json()
_REF = [f"_meta/{'a' * 32}.rows", 9, "0" * 16]


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(next_row_id=4),
        lambda body: body.update(next_fragment_id=1),
        lambda body: body.update(next_field_id=3),
        lambda body: body.update(rows=6),
        lambda body: body["fragments"]["tail"][1].update(id=0),
        lambda body: body["fragments"]["tail"].pop(),
        lambda body: body["fragments"]["tail"][0].update(row_ids=[[0, 2]]),
        lambda body: body["fragments"]["tail"][0].update(created=[[1, 2]]),
        lambda body: body["fragments"]["tail"][0].update(updated=[[1, 3], [1, 0]]),
        lambda body: body["fragments"]["tail"][0].update(deletions=DELETED),
        lambda body: body.update(live_rows=4),
        lambda body: (body["fragments"]["tail"][0].update(deletions={**DELETED, "rows": 3}), body.update(live_rows=2)),
        lambda body: body["fragments"]["tail"][0].update(lineage={"ref": _REF, "row_ids": [0, 3]}),
        lambda body: body["fragments"]["tail"][0]["files"].append(body["fragments"]["tail"][0]["files"][0]),
        lambda body: body["fragments"]["tail"][0].update(files=[]),
        lambda body: body["fragments"]["tail"][0]["files"][0].update(fields=[[-1, 2**31 - 1]]),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(change) -> None:
    store, _ = small_table()
    body = _body(store, MAGIC, version_key(1))
    change(body)
    store.put(version_key(1), [pack_envelope(MAGIC, json.dumps(body).encode())])
    with pytest.raises(Corrupt):
        read_manifest(store, 1)


def test_a_part_whose_entry_says_otherwise_is_refused() -> None:
    store, _ = full_table()
    root = _body(store, MAGIC, version_key(3))
    entry = root["fragments"]["parts"][0]
    assert (entry["fragments"], entry["rows"] - entry["live_rows"]) == (FANOUT, 300)
    rows = entry["rows"]
    for name, value in (
        ("fragments", FANOUT - 1),
        ("rows", rows + 1),
        ("live_rows", rows - 301),
        ("fragment_ids", [0, FANOUT + 1]),
        ("row_ids", [0, rows + 1]),
        ("level", 1),
    ):
        body = {**root, "fragments": {**root["fragments"], "parts": [{**entry, name: value}]}}
        if name.endswith("rows"):
            body[name] += value - entry[name]
        store.put(version_key(3), [pack_envelope(MAGIC, json.dumps(body).encode())])
        opened = read_manifest(store, 3)
        with pytest.raises(Corrupt):
            _ = opened.fragments


def test_what_is_wrong_in_a_part_is_noticed_when_it_is_read() -> None:
    store, version = full_table()
    part = version.tree.parts[0]
    for damage in (
        lambda body: body["fragments"][1].update(id=0),
        lambda body: body["fragments"][0].update(row_ids=[[0, 2]]),
        lambda body: body["fragments"].append(body["fragments"][0]),
        lambda body: body["fragments"][0]["files"][0].update(fields=[[0, 5]]),
    ):
        body = _body(store, b"LLPT", part.entry.ref.path)
        damage(body)
        data = pack_envelope(b"LLPT", json.dumps(body).encode())
        key = new_part_key("part")
        store.put(key, [data])
        ref = [key, len(data), f"{xxhash.xxh3_64_intdigest(data):016x}"]
        root = _body(store, MAGIC, version_key(3))
        root["fragments"]["parts"][0]["ref"] = ref
        store.put(version_key(4), [pack_envelope(MAGIC, json.dumps({**root, "version": 4}).encode())])
        opened = read_manifest(store, 4)
        assert opened.live_rows == version.live_rows
        with pytest.raises(Corrupt) as caught:
            _ = opened.fragments
        assert key in caught.value.where
