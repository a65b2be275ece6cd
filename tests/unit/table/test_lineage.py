from __future__ import annotations

import pickle
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lance_like.errors import Corrupt, InvalidInput, LanceLikeError
from lance_like.table import lineage
from lance_like.table.envelope import MAX_BODY, pack_envelope, unpack_envelope
from lance_like.table.fragment import DataFile, Fragment, fragment_from_json
from lance_like.table.lineage import (
    MAGIC,
    Lineage,
    Runs,
    check_lineage,
    decode_lineage,
    encode_lineage,
    fresh,
    of_rows,
    values_at,
    values_of,
    version_runs,
)
from lance_like.table.reference import Ref
from lance_like.table.shape import MAX_INTEGER

REF = Ref(f"_meta/{'a' * 32}.rows", 9, 9)
VERSIONS = st.lists(st.tuples(st.integers(1, MAX_INTEGER), st.integers(1, 2**32)), min_size=1, max_size=9)


def rows_of(made: Runs) -> int:
    return int((made.row_ids[:, 1] - made.row_ids[:, 0]).sum())


@st.composite
def runs(draw: st.DrawFn) -> Runs:
    """Runs of any widths; ids in any order, and the three kinds of other lengths."""
    spans = draw(st.lists(st.tuples(st.integers(0, MAX_INTEGER - 2**32), st.integers(1, 2**32)), min_size=1))
    ids = np.array([(start, start + length) for start, length in spans])
    return Runs(ids, np.array(draw(VERSIONS)), np.array(draw(VERSIONS)))


@given(runs())
def test_a_lineage_comes_back_from_its_part(made: Runs) -> None:
    assert decode_lineage(encode_lineage(made), "here") == made


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=30))
def test_runs_of_rows_one_by_one_say_the_same(rows: list[tuple[int, int, int]]) -> None:
    ids, created, updated = (np.array(column) for column in zip(*rows, strict=True))
    made = of_rows(ids, created, updated)
    assert [row_id for start, end in made.row_ids.tolist() for row_id in range(start, end)] == ids.tolist()
    assert values_of(made.created).tolist() == created.tolist()
    assert values_of(made.updated).tolist() == updated.tolist()
    assert (made.row_ids[1:, 0] != made.row_ids[:-1, 1]).all()
    assert (np.diff(made.created[:, 0]) != 0).all()
    assert rows_of(made) == len(rows)
    asked = np.arange(len(rows))[::-2]
    assert values_at(made.updated, asked).tolist() == updated[asked].tolist()
    assert check_lineage(made, len(rows), "here") is made


def test_no_rows_have_no_runs() -> None:
    none = np.empty(0, np.int64)
    assert of_rows(none, none, none).count == 0
    assert version_runs(none).shape == (0, 2)


def packed(*arrays: tuple[list[int], list[int]], widths: tuple[int, int] = (8, 8)) -> bytes:
    """The bytes of a lineage before compression."""
    made = b""
    for first, second in arrays:
        made += struct.pack("<IBB", len(first), *widths)
        for values, width in zip((first, second), widths, strict=True):
            made += b"".join(value.to_bytes(width, "little") for value in values)
    return made


def part(raw: bytes, nbytes: int | None = None) -> bytes:
    return pack_envelope(MAGIC, struct.pack("<I", len(raw) if nbytes is None else nbytes) + zlib.compress(raw))


RIGHT = packed(([0], [3]), ([1], [3]), ([2], [3]))


def test_the_bytes_of_a_lineage_are_those_of_the_spec() -> None:
    expected = Runs(np.array([[0, 3]]), np.array([[1, 3]]), np.array([[2, 3]]))
    assert decode_lineage(part(RIGHT), "here") == expected
    # Steps between intervals are zigzag: 3 is -2 and 4 is 2.
    two = packed(([4, 3], [1, 2]), ([1], [3]), ([1], [3]), widths=(1, 2))
    assert decode_lineage(part(two), "here").row_ids.tolist() == [[2, 3], [1, 3]]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (pack_envelope(MAGIC, b""), "structure"),
        (pack_envelope(MAGIC, struct.pack("<I", 5)), "length"),
        (pack_envelope(MAGIC, struct.pack("<I", 5) + b"no zlib at all"), "structure"),
        (part(RIGHT, MAX_BODY + 1), "limit"),
        (part(RIGHT, len(RIGHT) - 1), "length"),
        (part(RIGHT, len(RIGHT) + 1), "length"),
        (part(b""), "structure"),
        (part(RIGHT[:-1]), "structure"),
        (part(RIGHT + b"\0"), "structure"),
        (part(packed(([0], [3]), ([1], [3]))), "structure"),
        (part(packed(([], []), ([1], [3]), ([1], [3]))), "structure"),
        (part(packed(([0], [3]), ([], []), ([1], [3]))), "structure"),
        (part(b"\xff" * 4 + RIGHT[4:]), "limit"),
        (part(struct.pack("<I", 1 << 26) + RIGHT[4:]), "structure"),
        (part(packed(([0], [3]), ([1], [3]), ([1], [2**64 - 1]))), "structure"),
        (part(RIGHT[:4] + b"\3" + RIGHT[5:]), "structure"),
        (part(RIGHT)[:-9] + b"xxxxxxxxx", "checksum"),
        (pack_envelope(b"LLPT", b"{}"), "magic"),
    ],
)
def test_bytes_that_are_no_lineage_are_corrupt(data: bytes, kind: str) -> None:
    with pytest.raises(Corrupt) as caught:
        decode_lineage(data, "here")
    assert (caught.value.kind, caught.value.where) == (kind, "here")


def test_bytes_after_the_stream_are_corrupt() -> None:
    body = unpack_envelope(MAGIC, part(RIGHT), "here")
    with pytest.raises(Corrupt) as caught:
        decode_lineage(pack_envelope(MAGIC, body + b"\0"), "here")
    assert caught.value.kind == "length"


@settings(max_examples=300)
@given(st.integers(0, len(RIGHT) - 1), st.integers(0, 255), st.integers(1, 5))
def test_a_wrong_byte_is_refused_or_says_runs_of_as_many_rows(place: int, value: int, rows: int) -> None:
    wrong = RIGHT[:place] + bytes([value]) + RIGHT[place + 1 :]
    try:
        found = check_lineage(decode_lineage(part(wrong), "here"), rows, "here")
    except LanceLikeError as error:
        assert isinstance(error, Corrupt)
    else:
        assert (found.created[:, 1].sum(), found.updated[:, 1].sum(), rows_of(found)) == (rows, rows, rows)


GOOD = ([0], [3]), ([1], [3]), ([1], [3])
# 2**11 lengths of 2**53 add up to 2**64, and so to nothing.
OVERFLOWING = [2**53] * 2**11 + [3]


@pytest.mark.parametrize(
    "arrays",
    [
        (([0], [2]), *GOOD[1:]),
        (([0], [4]), *GOOD[1:]),
        (([0, 0], [3, 0]), *GOOD[1:]),
        (([1], [3]), *GOOD[1:]),  # from -1 on
        (([2 * (MAX_INTEGER - 2)], [3]), *GOOD[1:]),
        (([0] + [2**54 - 3] * 2**11, OVERFLOWING), *GOOD[1:]),
        (([0, 2**54 - 3] * 2**12, [2**53] * 2**13), *GOOD[1:]),
        (GOOD[0], ([1, 1], [3, 0]), GOOD[2]),
        (GOOD[0], ([0], [3]), GOOD[2]),
        (GOOD[0], ([2**53], [3]), GOOD[2]),
        (GOOD[0], GOOD[1], ([1], [2])),
        (GOOD[0], GOOD[1], ([1] * len(OVERFLOWING), OVERFLOWING)),
    ],
)
def test_runs_that_do_not_describe_the_rows_are_corrupt(arrays: tuple) -> None:
    found = decode_lineage(part(packed(*arrays)), "here")
    with pytest.raises(Corrupt) as caught:
        check_lineage(found, 3, "here")
    assert caught.value.kind == "structure"


def test_more_runs_than_a_reader_takes_are_refused_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    made = of_rows(np.array([4, 2, 0, 9]), np.ones(4, int), np.ones(4, int))
    data = encode_lineage(made)
    monkeypatch.setattr(lineage, "MAX_RUNS", 3)
    with pytest.raises(InvalidInput):
        encode_lineage(made)
    with pytest.raises(Corrupt) as caught:
        decode_lineage(data, "here")
    assert caught.value.kind == "limit"


# -- in a fragment


def fragment(line: Lineage, rows: int = 3) -> Fragment:
    return Fragment(0, rows, (DataFile("data/x.lnl", 1, 0, rows, ((0, 1),)),), line)


@given(runs(), st.booleans())
def test_a_fragment_keeps_its_lineage_in_either_place(made: Runs, apart: bool) -> None:
    line = replace(Lineage.of(made), ref=REF) if apart else Lineage.of(made)
    rows = rows_of(made)
    made = replace(made, created=np.array([[1, rows]]), updated=np.array([[2, rows]]))
    line = replace(line, held=made)
    if not 1 <= rows <= 2**32:
        return
    back = fragment_from_json(_json(fragment(line, rows)), "here", read=lambda _: encode_lineage(made))
    assert back == fragment(line, rows)
    assert back.runs == made
    assert back.lineage.bounds == (made.row_ids[:, 0].min(), made.row_ids[:, 1].max())


def _json(one: Fragment) -> dict:
    return {name: _plain(value) for name, value in one.to_json().items()}


def _plain(value):
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else _members(value)


def _members(value):
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def test_the_part_of_a_lineage_is_read_once_and_when_asked_for() -> None:
    made, reads = fresh(5, 3, 2), []
    body = _json(fragment(replace(Lineage.of(made), ref=REF)))
    back = fragment_from_json(body, "here", read=lambda ref: reads.append(ref) or encode_lineage(made))
    assert (back.live_rows, back.lineage.bounds, reads) == (3, (5, 8), [])
    assert back.runs == back.runs == made
    assert reads == [REF]
    assert pickle.loads(pickle.dumps(fragment(Lineage.of(made)))) == fragment(Lineage.of(made))


@pytest.mark.parametrize(
    "held",
    [fresh(4, 3, 2), fresh(5, 2, 2), of_rows(np.array([5, 9, 7]), np.ones(3, int), np.ones(3, int))],
)
def test_a_part_that_is_not_as_its_fragment_says_is_corrupt(held: Runs) -> None:
    body = _json(fragment(replace(Lineage.of(fresh(5, 3, 2)), ref=REF)))
    back = fragment_from_json(body, "here", read=lambda _: encode_lineage(held))
    with pytest.raises(Corrupt):
        _ = back.runs


@pytest.mark.parametrize(
    "change",
    [
        {"lineage": 5},
        {"lineage": {}},
        {"lineage": {"ref": REF.to_json()}},
        {"lineage": {"ref": REF.to_json(), "row_ids": [8, 5]}},
        {"lineage": {"ref": [f"_meta/{'a' * 32}.del", 9, "0" * 16], "row_ids": [5, 8]}},
        {"row_ids": [[5, 8]]},
        {"created": [[1, 3]]},
        {"updated": [[1, 3]]},
        {"lineage": None},
    ],
)
def test_json_that_says_no_lineage_is_corrupt(change: dict) -> None:
    body = _json(fragment(replace(Lineage.of(fresh(5, 3, 2)), ref=REF)))
    with pytest.raises(Corrupt):
        fragment_from_json({**body, **change}, "here")
