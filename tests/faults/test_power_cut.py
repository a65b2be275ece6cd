"""A power cut anywhere: every acknowledged commit is there, and the table opens.

The disk is a model that keeps only what was synced (`disk_model.py`); what the package does to it is recorded.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from disk_model import Disk
from operations import OPERATIONS, PUBLISHERS, assert_outlived, at_most, facts, some
from recordings import Recorder, Recording, State, check, left_by, noticed

from lance_like.table.branches import Branches
from lance_like.table.layout import BRANCH_REFS, TAGS
from lance_like.table.refs import Tags
from lance_like.table.snapshot import list_versions

pytestmark = pytest.mark.usefixtures("small_tables")

# The operations that make folders: a writer that is killed there leaves folders that the next one must sync.
MAKERS = {"create": "append", "append into a new bucket": "append", "first tag": "tag", "branch": "branch"}


@at_most(6)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_power_cut_leaves_the_table_as_before_or_as_after(name, most, recorder: Recorder, tmp_path):
    check_cuts(tmp_path / "cut", recorder.recording(name), most)


@at_most(6)
@pytest.mark.parametrize("name", PUBLISHERS)
def test_so_it_does_on_a_disk_without_hard_links(name, most, recorder: Recorder, tmp_path):
    check_cuts(tmp_path / "cut", recorder.recording(name, links=False), most)


def check_cuts(root: Path, recording: Recording, most: int | None) -> None:
    """Some cuts, and every one after the operation was acknowledged."""
    acknowledged = [state for state in recording.cuts if state.acknowledged]
    states = [state for state in recording.cuts if not state.acknowledged]
    for state in [*some(states, most, recording.name), *acknowledged]:
        check(root, recording, state)


@at_most(4)
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_sync_can_be_left_out(name, most, recorder: Recorder, tmp_path):
    recording = recorder.recording(name)
    needed = [place for place in recording.syncs() if recording.is_needed_alone(place)]
    assert needed
    for place in some(needed, most, name):
        assert noticed(tmp_path / "cut", recording, place), f"{name}: sync {place} of {recording.effects} is not needed"


def test_what_is_acknowledged_after_another_was_killed_outlives_a_power_cut(recorder: Recorder, tmp_path):
    """The writer that was killed left folders that it did not sync; no sync of them can be left out."""
    synced, needed = set(), set()
    for name, then in MAKERS.items():
        for place in [place for place, disk in recorder.recording(name).replayed() if disk.has_unsynced_folders]:
            recording = recorder.resumed(name, place, then)
            check_outlived(tmp_path / "cut", recorder.recording(name), recording)
            for sync in recording.syncs():
                folder = recording.synced_folder(sync)
                synced.add(folder)
                if folder not in needed and noticed(tmp_path / "cut", recording, sync, only_acknowledged=True):
                    needed.add(folder)
    assert synced == needed


@pytest.mark.exhaustive
@pytest.mark.parametrize("then", ["append", "tag"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_what_any_writer_acknowledges_after_any_was_killed_outlives_a_power_cut(name, then, recorder, tmp_path):
    for place in range(len(recorder.recording(name).effects)):
        check_outlived(tmp_path / "cut", recorder.recording(name), recorder.resumed(name, place, then))


@pytest.mark.parametrize("then", ["append into a new bucket", "tag"])
def test_a_version_that_a_killed_writer_did_not_sync_is_kept_with_what_follows_it(then, recorder: Recorder, tmp_path):
    name = "append"
    published = [place for place, effect in enumerate(recorder.recording(name).effects) if effect[0] == "link"]
    recording = recorder.resumed(name, published[-1] + 1, then)
    check_outlived(tmp_path / "cut", recorder.recording(name), recording)


# Operations after which a name is gone, or another's: who is killed there has not synced its folder.
RENAMERS = {"delete tag": TAGS, "move tag": TAGS, "delete branch": BRANCH_REFS}


@pytest.mark.parametrize("name", RENAMERS)
def test_a_cleanup_leaves_no_name_that_may_come_back_without_its_versions(name, recorder: Recorder, tmp_path):
    folder = f"t/{RENAMERS[name]}"
    effects = recorder.recording(name).effects
    [changed] = [at for at, (verb, *paths) in enumerate(effects) if verb in CHANGES and paths[-1].startswith(folder)]
    recording = recorder.resumed(name, changed + 1, "clean")
    check_names(tmp_path / "cut", recording, recording.cuts)
    [sync] = [sync for sync in recording.syncs() if recording.synced_folder(sync) == folder]
    with pytest.raises(AssertionError, match="without its version"):
        check_names(tmp_path / "cut", recording, recording.cuts_without(sync))


CHANGES = ("unlink", "rename")


def check_names(root: Path, recording: Recording, states: list[State]) -> None:
    for state in states:
        with left_by(recording, state, root) as store:
            lines = {name: list_versions(line) for name, line in Branches(store).lines().items()}
            named = [(tag.branch, tag.version) for tag in Tags(store).list().values()]
            assert all(lines.values()), "a branch is there without its versions"
            assert all(version in lines.get(branch, ()) for branch, version in named), "a tag without its version"


def check_outlived(root: Path, killed: Recording, recording: Recording) -> None:
    for state in recording.cuts:
        if state.acknowledged:
            with left_by(recording, state, root) as store:
                assert_outlived(facts(store), (killed.before, killed.after), recording.before, recording.after)


# The model


@pytest.fixture
def disk() -> Disk:
    return Disk({"f": None, "f/a": b"old"})


def cuts(disk: Disk) -> list[dict[str, bytes | None]]:
    found: list[dict[str, bytes | None]] = []
    return [tree for tree in disk.after_cut() if tree not in found and not found.append(tree)]


def test_what_is_synced_is_kept(disk):
    disk.make("f/b")
    disk.write(disk.find("f/b"), b"new")
    disk.sync(disk.find("f/b"))
    disk.sync(disk.find("f"))
    assert cuts(disk) == [{"f": None, "f/a": b"old", "f/b": b"new"}]


def test_a_name_may_be_kept_without_its_bytes(disk):
    disk.make("f/b")
    disk.write(disk.find("f/b"), b"new")
    disk.sync(disk.find("f"))
    assert [tree["f/b"] for tree in cuts(disk)] == [b"", b"new", bytes(3)]


def test_bytes_are_lost_without_a_name(disk):
    disk.make("f/b")
    disk.write(disk.find("f/b"), b"new")
    disk.sync(disk.find("f/b"))
    assert {"f": None, "f/a": b"old"} in cuts(disk)


def test_what_is_below_a_folder_is_lost_with_its_name(disk):
    disk.mkdir("g")
    disk.make("g/b")
    disk.sync(disk.find("g/b"))
    disk.sync(disk.find("g"))
    assert {"f": None, "f/a": b"old"} in cuts(disk)


def test_a_name_that_was_removed_may_come_back(disk):
    disk.unlink("f/a")
    assert cuts(disk) == [{"f": None, "f/a": b"old"}, {"f": None}]


def test_a_name_may_be_removed_before_another_is_made(disk):
    disk.link("f/a", "f/b")
    disk.unlink("f/a")
    assert {"f": None} in cuts(disk)
    assert {"f": None, "f/a": b"old", "f/b": b"old"} in cuts(disk)


def test_a_file_that_replaces_another_leaves_the_one_or_the_other(disk):
    disk.make("f/b")
    disk.write(disk.find("f/b"), b"new")
    disk.sync(disk.find("f/b"))
    disk.rename("f/b", "f/a")
    assert {tree["f/a"] for tree in cuts(disk)} == {b"old", b"new"}
