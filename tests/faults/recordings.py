"""Operations as recorded on a modelled disk, and the check of what a failure left of one."""

from __future__ import annotations

import copy
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from disk_model import Disk, Effect, Tree, read_tree, recorded, write_tree
from operations import NUMBER, OPERATIONS, Facts, assert_before_or_after, assert_goes_on, facts, prepare

from lance_like.io.local import Durability, LocalStore
from lance_like.table.layout import FOLDERS, LEASES


@dataclass(frozen=True)
class State:
    """What a failure may leave. place: after how many effects; acknowledged: was the operation by then?"""

    tree: Tree
    place: int
    acknowledged: bool

    @property
    def key(self) -> frozenset:
        """What tells states apart: not leases, which are never synced, so that all they may be is left of each."""
        return frozenset(item for item in self.tree.items() if not item[0].startswith(f"t/{LEASES}/"))


@dataclass(frozen=True)
class Recording:
    """An operation that ran undisturbed.

    start: the disk it began with; effects: what it did to it, in order. before, after: what the table said.
    """

    name: str
    start: Disk
    effects: tuple[Effect, ...]
    before: Facts
    after: Facts
    _shapes: list[Counter[str]] = field(default_factory=list)

    def replayed(self, *, without: int | None = None) -> Iterator[tuple[int, Disk]]:
        """The disk after no effect, one, two, …; it moves on with the iterator.

        without: the place of an effect that is left out.
        """
        disk = copy.deepcopy(self.start)
        yield 0, disk
        for place, (verb, *arguments) in enumerate(self.effects):
            if place != without:
                getattr(disk, verb)(*arguments)
            yield place + 1, disk

    def at(self, place: int) -> Disk:
        """The disk after so many effects."""
        return next(disk for number, disk in self.replayed() if number == place)

    def kills(self) -> list[State]:
        """What a kill leaves, after any effect; a write has two."""
        return self._distinct((place, disk.tree()) for place, disk in self.replayed())

    @cached_property
    def cuts(self) -> list[State]:
        """What a power cut leaves at worst, after any effect."""
        return self.cuts_without(None)

    def cuts_without(self, sync: int | None) -> list[State]:
        """The same, had the sync at a place been left out."""
        disks = self.replayed(without=sync)
        return self._distinct((place, tree) for place, disk in disks for tree in disk.after_cut())

    def syncs(self) -> list[int]:
        """The places of the syncs."""
        return [place for place, effect in enumerate(self.effects) if effect[0] == "sync"]

    def is_needed_alone(self, place: int) -> bool:
        """Does a sync keep something here that no later one keeps?

        Not if its folder holds nothing new, which only a writer that was killed before can have left; nor if the same
        folder is synced again before anything is published, as for each file of several that go to it but the last.
        """
        sync = self.effects[place]
        if not self.at(place).nodes[sync[1]].dirty:
            return False
        until = next((at for at in range(place, len(self.effects)) if self.effects[at][0] == "link"), None)
        return sync not in self.effects[place + 1 : until]

    def synced_folder(self, place: int) -> str | None:
        """The folder that a sync was of; None if it was of a file."""
        disk, node = self.at(place), self.effects[place][1]
        folders = {disk.find(path): path for path, data in disk.tree().items() if data is None}
        return {0: "", **folders}.get(node)

    def clean_shapes(self, root: Path) -> list[Counter[str]]:
        """The files before and after, had the table gone on and been cleaned. root: where to see, not there yet."""
        if not self._shapes:
            for tree, said in ((self.start.tree(), self.before), (self.at(len(self.effects)).tree(), self.after)):
                write_tree(root, tree)
                assert_goes_on(table_of(root), said)
                self._shapes.append(shape(root))
                shutil.rmtree(root)
        return self._shapes

    def _distinct(self, states: Iterable[tuple[int, Tree]]) -> list[State]:
        found: dict[frozenset, State] = {}
        for place, tree in states:
            state = State(tree, place, place == len(self.effects))
            # An acknowledged state is checked for more than the same one before.
            if state.acknowledged or state.key not in found:
                found[state.key] = state
        return list(found.values())


def shape(root: Path) -> Counter[str]:
    """The files below a folder, without what is random in their names."""
    return shape_of(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def shape_of(keys: Iterable[str]) -> Counter[str]:
    """Names without what is random in them, each with its number."""
    return Counter(re.sub("[0-9a-f]{32}", "*", key) for key in keys)


def table_of(root: Path, durability: Durability = "process") -> LocalStore:
    """The table of a disk, as a process finds it that has just begun."""
    return LocalStore(str(root / "t"), durability=durability, folders=FOLDERS)


class Recorder:
    """Records operations below a folder, each once. The limits must be small already (`small_limits`)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._starts: dict[tuple[str, ...], tuple[Tree, Facts]] = {}
        self._recordings: dict[tuple[str, bool], Recording] = {}

    def recording(self, name: str, *, links: bool = True) -> Recording:
        """An operation on a disk with or without hard links."""
        if (name, links) not in self._recordings:
            after = OPERATIONS[name].after
            if after not in self._starts:
                self._starts[after] = self._start(after)
            tree, before = self._starts[after]
            self._recordings[name, links] = self._record(name, NUMBER, Disk(tree), before, links=links)
        return self._recordings[name, links]

    def resumed(self, name: str, place: int, then: str) -> Recording:
        """An operation run by another process, after one was killed after so many effects."""
        disk = self.recording(name).at(place)
        root = self._folder / "killed"
        write_tree(root, disk.tree())
        before = facts(table_of(root))
        shutil.rmtree(root)
        return self._record(then if before.versions else "create", NUMBER + 1, disk, before)

    def _record(self, name: str, number: int, disk: Disk, before: Facts, *, links: bool = True) -> Recording:
        start = copy.deepcopy(disk)
        root = self._folder / "recorded"
        write_tree(root, disk.tree())
        with recorded(root, disk, links=links) as effects:
            OPERATIONS[name].run(table_of(root, "full"), number)
        after = facts(table_of(root))
        shutil.rmtree(root)
        assert after != before
        return Recording(name, start, tuple(effects), before, after)

    def _start(self, after: tuple[str, ...]) -> tuple[Tree, Facts]:
        root = self._folder / "start"
        root.mkdir()
        prepare(table_of(root), after)
        found = read_tree(root), facts(table_of(root))
        shutil.rmtree(root)
        return found


@contextmanager
def left_by(recording: Recording, state: State, root: Path) -> Iterator[LocalStore]:
    """The table as a failure left it, below a folder that is there for so long."""
    write_tree(root, state.tree)
    try:
        yield table_of(root)
    except Exception as error:
        last = recording.effects[state.place - 1][:2] if state.place else "none"
        where = f"{recording.name}, after {state.place} of {len(recording.effects)} effects, the last of them {last}"
        raise AssertionError(f"{where}: {error}") from error
    finally:
        shutil.rmtree(root)


def check(root: Path, recording: Recording, state: State) -> None:
    """A table is as before or as after the operation, and can be written to."""
    # What is read of files that did not change is what it was.
    unchanged = recording.start.tree().items() <= state.tree.items()
    with left_by(recording, state, root) as store:
        found = facts(store, known=recording.before.versions if unchanged else None)
        assert_before_or_after(found, recording.before, recording.after, acknowledged=state.acknowledged)
        assert_goes_on(store, found)
        assert shape(root) in recording.clean_shapes(root.with_name("clean")), "garbage outlived a cleanup"


def noticed(root: Path, recording: Recording, place: int, *, only_acknowledged: bool = False) -> bool:
    """Does a check fail if the sync at a place is left out?"""
    known = {state.key: state.acknowledged for state in recording.cuts}
    for state in reversed(recording.cuts_without(place)):
        if state.acknowledged < only_acknowledged or known.get(state.key) == state.acknowledged:
            continue
        try:
            check(root, recording, state)
        except AssertionError:
            return True
    return False
