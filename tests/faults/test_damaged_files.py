"""Damage to every kind of file of a dataset: an error of ours or the right answer, never another answer, error or hang.

The dataset has parts of every kind too; it is asked in memory, so that an exhaustive run of a
kind of file takes minutes. Single data files of every encoding: tests/unit/file/test_file_damage_by_encoding.py.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from small_dataset import QUESTIONS, objects, open_store, rows, small_dataset, store_of

import lance_like
from lance_like import LanceDataset
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.write import write_version
from lance_like.errors import Corrupt, NotFound, Unsupported
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore

KINDS = (".lnl", ".manifest", ".schema", ".part", ".txn", ".rows", ".del", ".tag")
CLEAR = (Corrupt, Unsupported, NotFound)
SAMPLE = 40  # flipped bits a kind of file in the default run


@pytest.fixture(scope="module")
def content() -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        return objects(small_dataset(patch))


@pytest.fixture(scope="module")
def answers(content) -> dict[str, object]:
    store = store_of(content)
    return {name: ask(store) for name, ask in QUESTIONS.items()}


@pytest.fixture(scope="module")
def readers(content, answers) -> dict[str, dict[str, object]]:
    """File -> the answers of the questions that read it: its bytes cannot change the others."""
    found: dict[str, dict[str, object]] = {key: {} for key in content}
    for name, answer in answers.items():
        store = CountingStore(store_of(content))
        QUESTIONS[name](store)
        for key, _ in store.counts.log:
            found[key][name] = answer
    return found


def keys_of(content: dict[str, bytes], kind: str) -> list[str]:
    """The files of a kind; of manifests the newest is the last."""
    return [key for key in sorted(content) if key.endswith(kind)]


def data_files(content: dict[str, bytes]) -> list[str]:
    """The data files of the newest version, in scan order."""
    return [file.path for fragment in open_store(store_of(content)).get_fragments() for file in fragment.data_files()]


def needed_by_newest(content: dict[str, bytes], kind: str) -> str:
    """A file of a kind without which the newest version has no answer; of transactions and tags the only one."""
    if kind in (".manifest", ".txn", ".tag"):
        return keys_of(content, kind)[-1]
    store = CountingStore(store_of(content))
    for name in ("to_table", "ages"):
        QUESTIONS[name](store)
    read = {key for key, _ in store.counts.log}
    return max(key for key in keys_of(content, kind) if key in read)


@contextmanager
def no_hang(seconds: int = 60) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError("a question was not answered in time")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def ask_all(damaged: dict[str, bytes], answers: dict[str, object], what: str) -> int:
    """Ask questions of a damaged dataset, those that have answers; returns how many raised."""
    raised = 0
    for name in answers:
        try:
            with no_hang():
                answer = QUESTIONS[name](store_of(damaged))
        except CLEAR:
            raised += 1
            continue
        except Exception as error:
            raise AssertionError(f"{what}: {name} raised {type(error).__name__}: {error}") from error
        assert repr(answer) == repr(answers[name]), f"{what}: {name} has another answer"
    return raised


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_the_dataset_has_every_kind_of_file(content):
    assert {key[key.rindex(".") :] for key in content} == set(KINDS)
    levels = {part.level for part in open_store(store_of(content), 3)._manifest.tree.parts}
    assert max(levels) >= 1, "there is no node part"


# Bits


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_noticed_or_changes_nothing(kind, content, readers):
    choice = random.Random(kind)
    keys = keys_of(content, kind)
    noticed = 0
    for _ in range(SAMPLE):
        key = choice.choice(keys)
        bit = choice.randrange(8 * len(content[key]))
        noticed += ask_all(content | {key: flipped(content[key], bit)}, readers[key], f"{key} bit {bit}") > 0
    # Files have padding, and parts of versions that nobody asks for; yet a reader meets most of the bits.
    assert noticed > SAMPLE // 4


def test_a_flipped_bit_on_the_disk_is_noticed_or_changes_nothing(content, answers, tmp_path):
    for key, data in content.items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(data)
    choice = random.Random(5)
    noticed = 0
    for kind in KINDS:
        key = needed_by_newest(content, kind)
        for bit in choice.sample(range(8 * len(content[key])), 3):
            (tmp_path / key).write_bytes(flipped(content[key], bit))
            try:
                table = lance_like.dataset(tmp_path).to_table()
                assert repr(table.to_pylist()) == repr(answers["to_table"]), f"{key} bit {bit} changed an answer"
            except CLEAR:
                noticed += 1
            (tmp_path / key).write_bytes(content[key])
    assert noticed >= 6


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
def test_every_flipped_bit_is_noticed_or_changes_nothing(kind, content, readers):
    files = {needed_by_newest(content, kind), min(keys_of(content, kind), key=lambda key: len(content[key]))}
    for key in sorted(files):
        for bit in range(8 * len(content[key])):
            ask_all(content | {key: flipped(content[key], bit)}, readers[key], f"{key} bit {bit}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_at_the_end_of_a_file_is_noticed(kind, content, answers):
    key = needed_by_newest(content, kind)
    for place in (8, 1):
        damaged = content | {key: flipped(content[key], 8 * (len(content[key]) - place))}
        assert ask_all(damaged, answers, f"{key}, {place} bytes from its end") > 0


def test_without_verification_a_flipped_bit_still_crashes_nothing(content):
    choice = random.Random(7)
    for key in data_files(content)[:2]:
        for _ in range(SAMPLE):
            bit = choice.randrange(8 * len(content[key]))
            store = store_of(content | {key: flipped(content[key], bit)})
            for read in (lambda ds: ds.to_table(), lambda ds: ds.take([2, 0]), lambda ds: ds.to_table(filter="n > 3")):
                with no_hang():
                    try:
                        table = read(LanceDataset(store, open_store(store)._manifest, verify="off"))
                        table.validate(full=True)
                        repr(table.to_pylist())
                    except (*CLEAR, ValueError):
                        pass


# Whole files


def damages(data: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "all zero": bytes(len(data)),
        "one byte": data[:1],
        "half": data[: len(data) // 2],
        "a byte short": data[:-1],
        "a byte long": data + b"\0",
        "twice": data + data,
        "reversed": data[::-1],
        "text": b"x" * len(data),
    }


# Of a file whose size a manifest names only that many bytes are read: what follows changes nothing.
NOTICED = ["empty", "all zero", "one byte", "half", "a byte short", "reversed", "text"]


@pytest.mark.parametrize("damage", damages(b""))
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_other_bytes_is_noticed_or_changes_nothing(kind, damage, content, answers):
    key = needed_by_newest(content, kind)
    raised = ask_all(content | {key: damages(content[key])[damage]}, answers, f"{key} {damage}")
    assert raised or damage not in NOTICED


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_gone_is_noticed_or_changes_nothing(kind, content, answers):
    # Without its root a version is not there: the list of versions is shorter, and so with tags.
    listed = {".manifest": {"versions"}, ".tag": {"tags"}}.get(kind, set())
    asked = {name: answer for name, answer in answers.items() if name not in listed}
    newest = keys_of(content, ".manifest")[-1]
    for key in {needed_by_newest(content, kind), keys_of(content, kind)[0]} - {newest}:
        ask_all({name: data for name, data in content.items() if name != key}, asked, f"without {key}")


@pytest.mark.parametrize("kind", [".lnl", ".schema", ".part", ".del"])
def test_a_file_that_is_gone_is_named_by_the_error(kind, content):
    key = needed_by_newest(content, kind)
    store = store_of({name: data for name, data in content.items() if name != key})
    with pytest.raises((Corrupt, NotFound), match=key):
        open_store(store).to_table()


# Never fall back


@pytest.mark.parametrize("damage", NOTICED)
def test_a_bad_newest_manifest_raises_and_no_older_version_is_given_instead(damage, content):
    newest = keys_of(content, ".manifest")[-1]
    store = store_of(content | {newest: damages(content[newest])[damage]})
    for act in (
        lambda: open_store(store),
        lambda: open_store(store, 7),
        lambda: open_store(store, 4).checkout_latest(),
        lambda: open_store(store, 4).insert(rows(1)),
        lambda: open_store(store, 1).restore(),
        lambda: open_store(store, 4).drop_columns(["n"]),
    ):
        with pytest.raises(Corrupt, match="manifest"):
            act()
    assert open_store(store, 4).count_rows() == 18
    assert {key for key in objects(store) if key.endswith(".manifest")} == set(keys_of(content, ".manifest"))


def test_an_all_zero_only_manifest_is_no_empty_table():
    one = objects(another_dataset(first=0))
    damaged = {key: bytes(len(data)) if key.endswith(".manifest") else data for key, data in one.items()}
    with pytest.raises(Corrupt):
        open_store(store_of(damaged))


# Valid files in the wrong place


def another_dataset(*, first: int) -> MemoryStore:
    store = MemoryStore("other")
    write_version(store, None, as_stream(rows(3, first)), mode="create")
    return store


@pytest.mark.parametrize("kind", [".lnl", ".manifest", ".schema"])
def test_a_valid_file_of_another_dataset_is_noticed(kind, content, answers):
    other = objects(another_dataset(first=500))
    here = needed_by_newest(content, kind)
    assert ask_all(content | {here: other[keys_of(other, kind)[-1]]}, answers, f"swapped {kind}") > 0


def numbers(first: int) -> MemoryStore:
    store = MemoryStore("numbers")
    table = rows(3, first).select(["n"])
    write_version(store, None, as_stream(table), mode="create")
    return store


def test_a_data_file_of_the_same_shape_and_size_is_noticed_by_every_read():
    one, two = (objects(numbers(first)) for first in (100, 200))
    mine, theirs = keys_of(one, ".lnl")[0], keys_of(two, ".lnl")[0]
    assert len(one[mine]) == len(two[theirs])
    assert open_store(store_of(one)).to_table(["n"])["n"].to_pylist() == [100, 101, 102]
    store = store_of(one | {mine: two[theirs]})
    for read in (
        lambda ds: ds.to_table(["n"]),
        lambda ds: ds.take([0], ["n"]),
        lambda ds: ds._take_rows([2], ["n"]),
        lambda ds: ds.count_rows("n > 100"),
        lambda ds: ds.add_columns({"m": "n"}),
    ):
        with pytest.raises(Corrupt):
            read(open_store(store))


def test_two_data_files_of_one_dataset_that_changed_places_are_noticed(content):
    first, second = (f.data_files()[0].path for f in open_store(store_of(content)).get_fragments()[:2])
    store = store_of(content | {first: content[second], second: content[first]})
    with pytest.raises(Corrupt):
        open_store(store).to_table(["n"])


@pytest.mark.parametrize("kind", [".manifest", ".part", ".schema"])
def test_metadata_that_changed_places_is_noticed_or_changes_nothing(kind, content, answers):
    keys = keys_of(content, kind)[-3:]
    for key in keys:
        for other in keys:
            if content[key] != content[other]:
                ask_all(content | {key: content[other]}, answers, f"{other} at {key}")


def test_an_older_manifest_under_the_newest_name_is_noticed(content):
    keys = keys_of(content, ".manifest")
    with pytest.raises(Corrupt):
        open_store(store_of(content | {keys[-1]: content[keys[-2]]}))


def test_a_tag_on_a_version_that_was_replaced_is_noticed(content):
    other = objects(another_dataset(first=500))
    store = store_of(content | other)  # version 1 of the other history in the place of the tagged one
    assert open_store(store, 1).to_table(["n"])["n"].to_pylist() == [500, 501, 502]
    with pytest.raises(Corrupt, match="tag"):
        open_store(store, "first")
