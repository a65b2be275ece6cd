"""Keys of a source among those of a table: each way of looking them up finds what comparing all pairs finds."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lance_like.dataset import lookups
from lance_like.dataset.keys import KeyIndex
from lance_like.dataset.lookups import Coded, Dense, Hashed, lookup_of
from lance_like.errors import InvalidInput

NAN = [float("nan"), np.array([0xFFF8000000000001], np.uint64).view(np.float64)[0]]
VALUES: dict[str, tuple[pa.DataType, Callable[[int], Any]]] = {
    "int8": (pa.int8(), lambda i: i % 256 - 128),
    "int64 far apart": (pa.int64(), lambda i: i * 0x1234567890123 - (1 << 60)),
    "uint64": (pa.uint64(), lambda i: (1 << 64) - 1 - i),
    "bool": (pa.bool_(), lambda i: i % 2 == 0),
    "float": (pa.float64(), lambda i: NAN[i % 2] if i % 11 == 3 else (-0.0, 0.0)[i % 2] if i % 11 == 4 else i / 3),
    "float32": (pa.float32(), lambda i: NAN[0] if i % 11 == 3 else i / 4),
    "date": (pa.date32(), lambda i: i),
    "time": (pa.time32("ms"), lambda i: i),
    "timestamp": (pa.timestamp("ns", "UTC"), lambda i: i * 1_000_000_007),
    "duration": (pa.duration("us"), lambda i: -i),
    "text": (pa.string(), lambda i: f"user-{i}" if i % 13 else ""),
    "large text": (pa.large_string(), lambda i: f"日本 {i}"),
    "view": (pa.string_view(), lambda i: f"a text that is longer than twelve bytes {i}"),
    "bytes": (pa.binary(), lambda i: bytes([i % 256, i // 256, 0])),
    "fixed": (pa.binary(4), lambda i: i.to_bytes(4, "big")),
    "decimal": (pa.decimal128(20, 2), lambda i: decimal.Decimal(i) / 4),
    "small decimal": (pa.decimal32(7, 2), lambda i: decimal.Decimal(i) / 4),
    "large decimal": (pa.decimal256(50, 2), lambda i: decimal.Decimal(i) / 4),
}


def column(name: str, numbers: list[int | None]) -> pa.Array:
    kind, value = VALUES[name]
    return pa.array([None if i is None else value(i) for i in numbers], kind)


def key_of(value: Any) -> Any:
    """What is equal for equal keys."""
    return ("nan",) if isinstance(value, float) and math.isnan(value) else value


def naive(source: list[pa.Array], table: list[pa.Array]) -> list[tuple[int, int]]:
    def keys(columns: list[pa.Array]) -> list[tuple[Any, ...]]:
        return [tuple(map(key_of, row)) for row in zip(*(c.to_pylist() for c in columns), strict=True)]

    known = {key: row for row, key in enumerate(keys(source)) if None not in key}
    return [(row, known[key]) for row, key in enumerate(keys(table)) if key in known]


def numbers(names: list[str]) -> tuple[list[int | None], list[int | None]]:
    """Of a source, each key once, and of a table."""
    rng = np.random.default_rng(len(names))
    seen: set[Any] = set()
    source: list[int | None] = [None, None]
    for i in rng.permutation(600).tolist():
        key = tuple(key_of(column(name, [i])[0].as_py()) for name in names)
        if key not in seen:
            seen.add(key)
            source.append(i)
    return source, [*rng.integers(0, 1200, 2_000).tolist(), None]


COMBINATIONS = [[name] for name in VALUES] + [["text", "int8"], ["float", "date", "bytes"], ["bool", "decimal"]]


@pytest.mark.parametrize("few", [0, 1 << 20])
@pytest.mark.parametrize("names", COMBINATIONS, ids="+".join)
def test_keys_are_found_as_by_comparing_all(names: list[str], few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_FEW_KEYS", few)
    mine, theirs = numbers(names)
    source, table = [column(name, mine) for name in names], [column(name, theirs) for name in names]
    index = KeyIndex(names, source)
    rows, found = index.find(table)
    expected = naive(source, table)
    assert len(expected) > 20
    assert list(zip(rows.tolist(), found.tolist(), strict=True)) == expected
    assert len(index) == len(mine) - 2
    # Slices, and batches without a row.
    rows, found = index.find([array.slice(700, 900) for array in table])
    assert list(zip((rows + 700).tolist(), found.tolist(), strict=True)) == [p for p in expected if 700 <= p[0] < 1600]
    assert [len(part) for part in index.find([array.slice(0, 0) for array in table])] == [0, 0]


@pytest.mark.parametrize(
    ("names", "few", "way"),
    [
        (["int8"], 1 << 20, Dense),
        (["int64 far apart"], 1 << 20, Hashed),
        (["float"], 1 << 20, Hashed),
        (["text"], 100, Hashed),
        (["text"], 1 << 20, Coded),
        (["text", "int8"], 100, Hashed),
        (["large decimal"], 100, Coded),
    ],
)
def test_the_way_follows_from_the_keys(names: list[str], few: int, way: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_FEW_KEYS", few)
    mine, _ = numbers(names)
    assert isinstance(lookup_of([column(name, mine) for name in names]), way)


@pytest.mark.parametrize("few", [0, 1 << 20])
@pytest.mark.parametrize("names", COMBINATIONS, ids="+".join)
def test_a_key_that_stands_twice_is_named(names: list[str], few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_FEW_KEYS", few)
    mine, _ = numbers(names)
    source = [column(name, [*mine, mine[3]]) for name in names]
    with pytest.raises(InvalidInput, match="twice") as caught:
        KeyIndex(names, source)
    assert all(f"{name}={array[3].as_py()!r}" in str(caught.value) for name, array in zip(names, source, strict=True))


def test_texts_whose_hashes_are_equal_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_FEW_KEYS", 0)
    hashes = lookups._hashes
    monkeypatch.setattr(lookups, "_hashes", lambda columns: hashes(columns) % np.uint64(500))
    mine, theirs = numbers(["text"])
    source, table = column("text", mine), column("text", theirs)
    # Two keys of the source have one hash: another way is taken.
    assert isinstance(lookup_of([source]), Coded)
    alone = pa.array([text for text in source.to_pylist() if text is not None][:1])
    assert isinstance(lookup_of([alone]), Hashed)
    for some in (source, alone):
        rows, found = lookup_of([some]).find([table])
        assert list(zip(rows.tolist(), found.tolist(), strict=True)) == naive([some], [table])


def test_a_source_of_nulls_has_no_key() -> None:
    for kind in (pa.int64(), pa.string(), pa.float64(), pa.null()):
        index = KeyIndex(["k"], [pa.nulls(3, kind)])
        assert len(index) == 0
        assert [len(part) for part in index.find([pa.nulls(2, kind)])] == [0, 0]
