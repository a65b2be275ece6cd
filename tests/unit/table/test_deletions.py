from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rowids import fragment

from lance_like.errors import Corrupt, InvalidInput, LanceLikeError
from lance_like.table import deletions
from lance_like.table.deletions import (
    MAGIC,
    Deletions,
    check_offsets,
    deletions_from_json,
    encode_deletions,
)
from lance_like.table.envelope import pack_envelope
from lance_like.table.reference import Ref

ROWS = 1 << 20
KEY = f"_meta/{'a' * 32}.del"


@st.composite
def offsets(draw: st.DrawFn) -> np.ndarray:
    """Offsets with stretches, so that arrays, bitmaps and runs are all met."""
    found: set[int] = set(draw(st.lists(st.integers(0, ROWS - 2), min_size=1, max_size=30)))
    for start, count, step in draw(
        st.lists(st.tuples(st.integers(0, ROWS - 20_002), st.integers(1, 9_000), st.integers(1, 2)), max_size=3)
    ):
        found.update(range(start, start + count * step, step))
    return np.array(sorted(found))


def unread(ref: Ref) -> bytes:
    raise AssertionError(ref)


def from_json(value: object, rows: int = ROWS, read=unread) -> Deletions:
    found = deletions_from_json(json.loads(json.dumps(value)), "here", rows, read)
    assert found is not None
    return found


@settings(deadline=None, max_examples=40)
@given(offsets())
def test_deleted_rows_come_back_from_the_manifest_and_from_a_part(rows: np.ndarray) -> None:
    made = Deletions.of(rows)
    assert made.rows == len(rows)
    back = from_json(made.to_json())
    assert back.offsets.tolist() == rows.tolist()
    assert back == made
    assert made.data is not None
    data = encode_deletions(made.data)
    apart = Deletions(made.rows, Ref(KEY, len(data), xxhash.xxh3_64_intdigest(data)))
    reads: list[Ref] = []
    read = from_json(apart.to_json(), read=lambda ref: reads.append(ref) or data)
    assert reads == []
    assert read.offsets.tolist() == read.offsets.tolist() == rows.tolist()
    assert reads == [apart.ref]
    assert read == apart != made


def test_only_a_short_bitmap_stands_in_the_manifest() -> None:
    assert Deletions.of(np.arange(50_000)).is_inline
    assert not Deletions.of(np.arange(0, 50_000, 3)).is_inline


@pytest.mark.parametrize(
    "value",
    [
        5,
        [],
        {},
        {"rows": 1},
        {"data": ""},
        {"rows": 0, "data": ""},
        {"rows": ROWS, "data": ""},
        {"rows": 1, "data": "?"},
        {"rows": 1, "data": "AAA"},
        {"rows": 1, "data": "AAB="},  # bits that base64 does not use
        {"rows": 1, "data": None},
        {"rows": 1, "ref": [f"_meta/{'a' * 32}.rows", 9, "0" * 16]},
        {"rows": 1, "ref": None},
    ],
)
def test_json_that_says_no_deletion_is_corrupt(value: object) -> None:
    with pytest.raises(Corrupt):
        from_json(value)


ONE = struct.pack("<IIHHI", 12346, 1, 0, 2, 16)  # the head of one array of three


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        ONE + struct.pack("<HH", 1, 2),
        ONE + struct.pack("<HHH", 1, 2, 3) + b"\0",
        ONE + struct.pack("<HHH", 2, 1, 3),
        ONE + struct.pack("<HHH", 1, 1, 3),
        ONE[:-4] + struct.pack("<IHHH", 17, 1, 2, 3),
        struct.pack("<II", 12346, 1 << 20),
        struct.pack("<IIHHI", 12346, 1, 0, 4999, 16) + b"\xff" * 8192,
        struct.pack("<IIHHHHIIHH", 12346, 2, 1, 0, 0, 0, 24, 26, 5, 6),
        struct.pack("<IBHHHHH", 12347, 1, 0, 9, 1, 0, 2),  # a run of three in a container of ten
        struct.pack("<IBHHHHH", 12347, 1, 0, 2, 1, 65534, 2),
        struct.pack("<IBHHHHHHH", 12347, 1, 0, 2, 2, 0, 1, 1, 0),
        struct.pack("<IBHHHHH", 12347, 0, 0, 2, 1, 2, 3),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_a_bitmap_that_is_not_in_its_form_is_corrupt(data: bytes, apart: bool) -> None:
    made = Deletions(3, Ref(KEY, 1, 1), read=lambda _: pack_envelope(MAGIC, data)) if apart else Deletions(3, data=data)
    with pytest.raises(Corrupt) as caught:
        _ = made.offsets
    assert caught.value.where == (KEY if apart else "deletions")


def test_another_count_than_the_bitmap_has_is_corrupt() -> None:
    data = Deletions.of(np.array([1, 2, 3])).data
    with pytest.raises(Corrupt, match="2 deleted rows"):
        _ = Deletions(2, data=data).offsets


def test_a_deleted_row_past_the_fragment_is_corrupt() -> None:
    made = Deletions.of(np.array([1, 9]))
    assert check_offsets(made, 10, "here").tolist() == [1, 9]
    with pytest.raises(Corrupt, match="below 9"):
        check_offsets(made, 9, "here")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bitmaps_are_refused_or_say_sound_offsets(data: st.DataObject) -> None:
    rows = np.concatenate((np.arange(5, 300), np.arange(70_000, 71_000, 2), [3_000_000]))
    right = Deletions.of(rows).data
    assert right is not None
    wrong = bytearray(right)
    for _ in range(data.draw(st.integers(1, 3))):
        wrong[data.draw(st.integers(0, len(wrong) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = Deletions(len(rows), data=bytes(wrong)).offsets
    except LanceLikeError as error:
        assert isinstance(error, Corrupt)
    else:
        assert len(found) == len(rows)
        assert (np.diff(found) > 0).all()


def test_more_deleted_rows_than_a_reader_takes_are_refused_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Deletions.of(np.arange(4)).to_json()
    monkeypatch.setattr(deletions, "MAX_DELETED", 3)
    with pytest.raises(InvalidInput, match="compact"):
        Deletions.of(np.arange(4))
    with pytest.raises(Corrupt) as caught:
        from_json(right)
    assert caught.value.kind == "limit"


# -- the live rows of a fragment


@given(st.integers(1, 40), st.data())
def test_live_rows_agree_with_a_list(rows: int, data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.integers(0, rows - 1), max_size=rows - 1))
    one = fragment(0, [(0, rows)], sorted(gone))
    live = [offset for offset in range(rows) if offset not in gone]
    assert one.live_rows == len(live)
    assert one.offsets_of_live(np.arange(len(live))).tolist() == live
    assert one.is_deleted(np.arange(rows)).tolist() == [offset in gone for offset in range(rows)]
    start = data.draw(st.integers(0, rows))
    end = data.draw(st.integers(start, rows))
    within = [offset for offset in live if start <= offset < end]
    found = one.live_between(start, end)
    assert (list(range(start, end)) if found is None else found.tolist()) == within
    assert (found is None) == (len(within) == end - start)
    assert one.live_count(start, end) == len(within)
