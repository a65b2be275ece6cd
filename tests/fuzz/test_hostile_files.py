"""What the fuzzer does, without it: seeded changes of known files under right checksums. No foreign error, no hang.

`fuzz_reader.py` runs the same target guided by coverage, for as long as wanted.
"""

from __future__ import annotations

import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mutate import mutated
from reshape import parts_of
from resum import resummed
from target import CORPUS, VECTORS, read_everything, seeds

SEEDS = [path.read_bytes() for path in seeds()]
LIMIT_S = 10
LIMIT_NBYTES = 1 << 30


@contextmanager
def limited() -> Iterator[None]:
    """Fails a read that takes long, or that took much memory."""

    def stop(*_: object) -> None:
        raise AssertionError(f"no answer within {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) << 10 < LIMIT_NBYTES


def check(start: int, count: int) -> int:
    """Read changed files. Returns how many still had an answer."""
    answered = 0
    for number in range(start, start + count):
        choice = random.Random(number)
        data = choice.choice(SEEDS)
        for _ in range(choice.choice((1, 1, 2, 3))):
            data = mutated(data, choice)
        try:
            with limited():
                answered += read_everything(data) > 0
        except Exception as error:
            raise AssertionError(f"changed file {number}: {type(error).__name__}: {error}") from error
    return answered


def test_all_known_files_are_read_or_refused() -> None:
    with limited():
        answered = sum(read_everything(data) > 0 for data in SEEDS)
    assert answered > 30


def test_what_the_fuzzer_kept_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.glob("*")) < 300_000


@pytest.mark.parametrize("part", range(4))
def test_changed_files_are_read_or_refused(part: int) -> None:
    # A harness whose changes are all refused at the door tests nothing behind it.
    assert check(part * 100, 100) > 25


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(40))
def test_thousands_of_changed_files_are_read_or_refused(part: int) -> None:
    assert check(10_000 + part * 1000, 1000) > 250


# The harness itself


SOUND = [path.read_bytes() for path in seeds() if VECTORS in path.parents and "errors" not in path.parts]


def test_mending_checksums_leaves_a_sound_file_as_it_is() -> None:
    assert len(SOUND) > 30
    for data in SOUND:
        # Nobody reads the first bytes: one vector has others there.
        assert resummed(data)[4:] == data[4:]


def test_a_file_taken_apart_and_put_together_answers_alike() -> None:
    answers = [(read_everything(parts_of(data).bytes()), read_everything(data)) for data in SOUND]
    assert all(again == before for again, before in answers)
    assert sum(before > 0 for _, before in answers) > 30
