"""One small file of every encoding, type and nesting, damaged: the right answer or our error, nothing else.

The files are the sound vectors of the spec, so a new encoding is here as soon as it has a vector.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import same
from file_cases import KEY, opened

from lance_like.encodings.registry import ENCODINGS
from lance_like.errors import Corrupt, Unsupported
from lance_like.file import reader as reader_module
from lance_like.file.anatomy import Anatomy
from lance_like.file.reader import FileReader
from lance_like.file.survey import survey_file
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore
from lance_like.io.store import Store

VECTORS = Path(__file__).resolve().parents[3] / "format_spec" / "vectors"
NAMES = sorted(path.parent.name for path in VECTORS.glob("*/data.lnl"))
SAMPLE = 8  # flipped bits, and other damages, a file in the default run

Ask = Callable[[Store], list[Any]]


def store_of(data: bytes) -> MemoryStore:
    store = MemoryStore()
    store.put(KEY, [data])
    return store


def asks_of(data: bytes) -> Iterator[Ask]:
    """Every way to read every column of a file, each from a fresh open."""
    opening = opened(store_of(data))
    yield lambda store: [drive(store, KEY, opened(store).schema())]
    for column in range(opening.num_columns):
        kind = drive(store_of(data), KEY, opening.field(column)).type
        yield from _asks_of_column(column, kind, opening.num_rows)


def _asks_of_column(column: int, kind: pa.DataType, count: int) -> Iterator[Ask]:
    rows = np.array([count - 1, 0, count // 2, 0, count // 3] if count else [], np.int64)

    def reading(read: Callable[[FileReader], Any]) -> Ask:
        def ask(store: Store) -> list[Any]:
            answer = drive(store, KEY, read(opened(store)))
            return answer if isinstance(answer, list) else [answer]

        return ask

    yield reading(lambda reader: reader.read_span(column, kind, 0, count))
    yield reading(lambda reader: reader.read_rows(column, kind, rows))
    zones = reading(lambda reader: reader.zones(column, kind))

    def ask_zones(store: Store) -> list[Any]:
        (found,) = zones(store)
        return [found.rows.tolist(), found.nulls.tolist(), found.nans.tolist(), found.mins, found.maxs]

    yield ask_zones


@contextmanager
def every_read_logged() -> Iterator[None]:
    """Opening reads the tail alone: what else is read is asked for by whoever needs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_module, "FIRST_READ_NBYTES", 64)
        yield


@cache
def file_of(name: str) -> bytes:
    return (VECTORS / name / "data.lnl").read_bytes()


@cache
def answered(name: str) -> list[tuple[Ask, list[Any], np.ndarray]]:
    """The ways to read a file, their answers, and which bytes each of them reads."""
    data = file_of(name)
    found = []
    with every_read_logged():
        for ask in asks_of(data):
            store = CountingStore(store_of(data))
            answer = ask(store)
            touched = np.zeros(len(data), bool)
            for _, (starts, ends) in store.counts.log:
                for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
                    touched[start:end] = True
            found.append((ask, answer, touched))
    return found


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, pa.Array):
        return isinstance(right, pa.Array) and same(left, right)
    if isinstance(left, pa.Schema):
        return left.equals(right, check_metadata=True)
    return left == right


def check(name: str, damaged: bytes, what: str, at: int | None = None) -> int:
    """Ask everything that reads a byte (None: everything). Returns how many reads were refused."""
    refused = 0
    store = store_of(damaged)
    for ask, right, touched in answered(name):
        if at is not None and not touched[at]:
            continue
        try:
            answer = ask(store)
        except (Corrupt, Unsupported):
            refused += 1
            continue
        assert len(answer) == len(right), f"{name}, {what}: another answer"
        assert all(map(equal, answer, right)), f"{name}, {what}: another answer"
    return refused


def flipped(data: bytes, bit: int) -> bytes:
    wrong = bytearray(data)
    wrong[bit // 8] ^= 1 << bit % 8
    return bytes(wrong)


def test_the_files_have_every_encoding() -> None:
    trees = Counter[str]()
    for name in NAMES:
        for column in survey_file(Anatomy(store_of(file_of(name)), KEY)).columns:
            trees += column.encodings()
    assert set(re.findall(r"\w+", " ".join(trees))) == set(ENCODINGS.names())


@pytest.mark.parametrize("name", NAMES)
def test_an_undamaged_file_answers(name: str) -> None:
    assert check(name, file_of(name), "undamaged") == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_is_refused_or_without_effect(name: str) -> None:
    data = file_of(name)
    for bit in random.Random(name).sample(range(8 * len(data)), SAMPLE):
        check(name, flipped(data, bit), f"bit {bit}")


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_refused_or_without_effect(name: str) -> None:
    """Only reads that touch the byte are asked: the others do not know of it."""
    data = file_of(name)
    with every_read_logged():
        noticed = sum(check(name, flipped(data, bit), f"bit {bit}", bit // 8) > 0 for bit in range(8 * len(data)))
    read = np.logical_or.reduce([touched for _, _, touched in answered(name)])
    # What a read touches is checked before it is used.
    assert noticed >= 8 * np.count_nonzero(read)


def damaged(data: bytes, choice: random.Random) -> bytes:
    """A file cut, with a stretch zeroed, filled, overwritten by another stretch, moved, or taken out."""
    out = bytearray(data)
    start, other = choice.randrange(len(out)), choice.randrange(len(out))
    end = start + choice.choice((1, 3, 8, 64, 200, 4096))
    match choice.randrange(7):
        case 0:
            return data[:start]
        case 1:
            return data[start:]
        case 2:
            out[start:end] = bytes(len(out[start:end]))
        case 3:
            out[start:end] = b"\xff" * len(out[start:end])
        case 4:
            piece = out[other : other + end - start]
            out[start : start + len(piece)] = piece
        case 5:
            del out[start:end]
        case _:
            out[start:start] = choice.randbytes(end - start)
    return bytes(out)


@pytest.mark.parametrize("name", NAMES)
def test_a_random_damage_is_refused_or_without_effect(name: str) -> None:
    choice = random.Random(name)
    for turn in range(SAMPLE):
        check(name, damaged(file_of(name), choice), f"damage {turn}")


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NAMES)
def test_a_thousand_random_damages_are_refused_or_without_effect(name: str) -> None:
    choice = random.Random(name + "!")
    for turn in range(1000):
        check(name, damaged(file_of(name), choice), f"damage {turn}")
