"""A writer that dies anywhere, by fault injection: the table is as before or as after, whole, and goes on.

On a disk the writer is killed after each thing that it does there, and in the middle of each write; the state is what
the kernel holds then, temporary files and all. In other stores, around each call. `test_kill.py` kills real processes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from operations import (
    NUMBER,
    OPERATIONS,
    PUBLISHERS,
    assert_before_or_after,
    assert_goes_on,
    at_most,
    facts,
    prepare,
    some,
)
from recordings import Recording, check
from small_dataset import objects, store_of

from lance_like.io.memory import MemoryStore

pytestmark = pytest.mark.usefixtures("small_tables")


@at_most(8)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_writer_killed_anywhere_on_a_disk_left_the_table_as_before_or_as_after(name, most, recorder, tmp_path):
    check_kills(tmp_path / "killed", recorder.recording(name), most)


@at_most(8)
@pytest.mark.parametrize("name", PUBLISHERS)
def test_so_did_one_on_a_disk_without_hard_links(name, most, recorder, tmp_path):
    check_kills(tmp_path / "killed", recorder.recording(name, links=False), most)


def check_kills(root: Path, recording: Recording, most: int | None) -> None:
    *states, acknowledged = recording.kills()
    for state in [*some(states, most, recording.name), acknowledged]:
        check(root, recording, state)


class WatchedStore:
    """A store that keeps what it holds after each call that may change it, one object at a time."""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner, self.uri = inner, inner.uri
        self.states = [objects(inner)]

    def __getattr__(self, verb: str):
        call = getattr(self.inner, verb)

        def watched(*arguments, **options):
            answer = call(*arguments, **options)
            if objects(self.inner) != self.states[-1]:
                self.states.append(objects(self.inner))
            return answer

        return watched

    def delete(self, keys, **options) -> None:
        for key in keys:
            self.inner.delete([key], **options)
            self.states.append(objects(self.inner))


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_writer_killed_around_any_call_left_the_table_as_before_or_as_after(name):
    operation = OPERATIONS[name]
    store = WatchedStore(MemoryStore("small"))
    prepare(store.inner, operation.after)
    before = facts(store.inner)
    store.states = [objects(store.inner)]
    operation.run(store, NUMBER)
    after = facts(store.inner)
    for state in store.states:
        left = store_of(state)
        found = facts(left)
        assert_before_or_after(found, before, after, acknowledged=state is store.states[-1])
        assert_goes_on(left, found)
