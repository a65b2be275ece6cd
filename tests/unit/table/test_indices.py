"""Indexes as a manifest states them: values, bytes, and what every change makes of them."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_values import append, compact, create, delete, index_segment, replace_columns, update, update_column

from lance_like.errors import Corrupt, InvalidInput, LanceLikeError, NotFound
from lance_like.table.actions import DropIndex, NewIndex, SetIndexes
from lance_like.table.apply import Stamp, apply, bound
from lance_like.table.envelope import pack_envelope
from lance_like.table.indices import (
    MAGIC,
    IndexEntry,
    JsonPath,
    RowRuns,
    check_indices,
    decode_row_runs,
    encode_row_runs,
    indices_from_json,
)
from lance_like.table.manifest import Manifest
from lance_like.table.reference import Ref
from lance_like.table.shape import MAX_INTEGER

SPANS = st.lists(st.tuples(st.integers(1, 1 << 30), st.integers(1, 1 << 20)), min_size=1, max_size=60)


def runs_of(gaps: list[tuple[int, int]], first: int = 0) -> np.ndarray:
    """Runs apart from each other: gap before each, and its length."""
    ends = np.cumsum([gap + length for gap, length in gaps]) + first
    return np.stack((ends - [length for _, length in gaps], ends), axis=1)


@given(SPANS)
def test_row_ids_come_back_from_their_part(gaps: list[tuple[int, int]]) -> None:
    runs = runs_of(gaps, -gaps[0][0])
    assert np.array_equal(decode_row_runs(encode_row_runs(runs), "here"), runs)


@given(st.sets(st.integers(0, 200), min_size=1))
def test_ordinals_and_row_ids_say_each_other(ids: set[int]) -> None:
    ascending = np.array(sorted(ids))
    made = RowRuns.of(ascending)
    assert (made.rows, made.bounds) == (len(ids), (min(ids), max(ids) + 1))
    assert made.ids(np.arange(len(ids))).tolist() == ascending.tolist()
    asked = np.arange(-3, 205)
    expected = [sorted(ids).index(i) if i in ids else -1 for i in asked.tolist()]
    assert made.ordinals(asked).tolist() == expected
    assert pickle.loads(pickle.dumps(made)) == made


def entry(*ids: int, field_id: int = 2, version: int = 1, **options: Any) -> IndexEntry:
    segments = (index_segment(np.array(ids), version),) if ids else ()
    return IndexEntry("i", "LATER", (field_id,), {"p": 1}, segments, **options)


DUMPED = json.dumps({"indices": [entry(0, 1, 5, 9, json=JsonPath("$.a", "bool")).without(np.array([5, 6])).to_json()]})


def dumped() -> dict[str, Any]:
    return json.loads(DUMPED)


def test_an_index_comes_back_from_its_json() -> None:
    made = [one.to_json() for one in indices_from_json(dumped(), "here")]
    assert json.loads(json.dumps(made)) == dumped()["indices"]


def segment_of(holder: dict[str, Any]) -> dict[str, Any]:
    return holder["indices"][0]["segments"][0]


def with_segment(**members: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda holder: segment_of(holder).update(members)


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "indices that are an object": lambda holder: holder.update(indices={}),
    "an index that is a text": lambda holder: holder.update(indices=["i"]),
    "a name twice": lambda holder: holder["indices"].append({**copy.deepcopy(holder["indices"][0]), "segments": []}),
    "a name that is no text": lambda holder: holder["indices"][0].update(name=5),
    "no kind": lambda holder: holder["indices"][0].pop("kind"),
    "no field": lambda holder: holder["indices"][0].update(fields=[]),
    "a field twice": lambda holder: holder["indices"][0].update(fields=[1, 1]),
    "a field of another type": lambda holder: holder["indices"][0].update(fields=["a"]),
    "a path of no type": lambda holder: holder["indices"][0].update(json={"path": "$.a", "type": "date"}),
    "parameters in a list": lambda holder: holder["indices"][0].update(params=[]),
    "too many segments": lambda holder: holder["indices"][0].update(segments=[None] * 10_001),
    "a segment twice": lambda holder: holder["indices"][0]["segments"].append(segment_of(holder)),
    "no rows": with_segment(rows=0, row_ids=[]),
    "too many rows": with_segment(rows=2**32 + 1, row_ids=[[0, 2**32 + 1]]),
    "other rows": with_segment(rows=5),
    "rows that go back": with_segment(row_ids=[[5, 7], [0, 2]]),
    "rows that touch": with_segment(row_ids=[[0, 2], [2, 4]]),
    "rows that meet": with_segment(row_ids=[[0, 3], [2, 3]]),
    "an empty run": with_segment(row_ids=[[0, 4], [7, 7]]),
    "no run": with_segment(row_ids=[]),
    "runs here and apart": with_segment(apart={"ref": [f"_meta/{'a' * 32}.idx", 9, "0" * 16], "row_ids": [0, 9]}),
    "a part of another kind": with_segment(
        row_ids=[], apart={"ref": [f"_meta/{'a' * 32}.rows", 9, "0" * 16], "row_ids": [0, 9]}
    ),
    "as many invalid rows as there are": with_segment(invalid={"rows": 4, "data": ""}),
    "a uuid of capitals": with_segment(uuid="A" * 32),
    "version 0": with_segment(version=0),
    "detail that is null": with_segment(detail=None),
    "too many files": with_segment(files=[None] * 1_001),
    "a file of two names": lambda holder: segment_of(holder)["files"].append(segment_of(holder)["files"][0]),
    "a file elsewhere": lambda holder: segment_of(holder)["files"][0].update(path="data/../secret"),
    "a file of no bytes": lambda holder: segment_of(holder)["files"][0].update(nbytes=0),
    "a file of base 0": lambda holder: segment_of(holder)["files"][0].update(base=0),
}


@pytest.mark.parametrize("name", WRONG)
def test_json_that_is_no_index_is_refused(name: str) -> None:
    holder = dumped()
    indices_from_json(holder, "here")
    WRONG[name](holder)
    with pytest.raises(Corrupt):
        indices_from_json(holder, "here")


def test_an_invalid_ordinal_past_the_last_row_is_refused() -> None:
    [segment] = entry(0, 1, 5, 9).segments
    longer = index_segment(np.arange(9), 1).without(np.array([8]))
    assert longer is not None
    with pytest.raises(Corrupt, match="below 4"):
        _ = replace(segment, invalid=longer.invalid).invalid_ordinals


@pytest.mark.parametrize(
    ("runs", "rows", "bounds"),
    [
        (np.array([[0, 2], [5, 6]]), 4, (0, 6)),
        (np.array([[0, 2], [5, 6]]), 3, (0, 7)),
        (np.array([[1, 2], [2, 6]]), 5, (1, 6)),
        (np.array([[0, MAX_INTEGER], [MAX_INTEGER + 5, MAX_INTEGER + 6]]), MAX_INTEGER + 1, (0, 6)),
    ],
)
def test_a_part_of_other_row_ids_than_are_named_is_refused(
    runs: np.ndarray, rows: int, bounds: tuple[int, int]
) -> None:
    data = encode_row_runs(runs)
    made = RowRuns(rows, bounds, Ref(f"_meta/{'a' * 32}.idx", len(data), 0), read=lambda _: data)
    with pytest.raises(Corrupt):
        _ = made.runs


@given(st.binary(max_size=60))
def test_any_bytes_are_row_ids_or_corrupt(body: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_row_runs(pack_envelope(MAGIC, body), "here")


def test_what_indexes_name_is_held_against_the_counters() -> None:
    good = {"next_row_id": 10, "next_field_id": 3, "bases": {None}, "where": "here"}
    made = (entry(0, 1, 5, 9),)
    check_indices(made, **good)
    for wrong in ({"next_row_id": 9}, {"next_field_id": 2}, {"bases": {1}}):
        with pytest.raises(Corrupt):
            check_indices(made, **{**good, **wrong})


# -- what changes make of them

STAMP = Stamp("0" * 32, 1, 0)


def indexed(*entries: IndexEntry) -> Manifest:
    """A table of rows 0, 1, 2 and 3, 4 with indexes."""
    base = apply(None, create(3, 2), STAMP)
    return apply(base, SetIndexes(tuple(NewIndex(one) for one in entries), 1), STAMP)


def valid(manifest: Manifest) -> list[int]:
    """The row ids that are not invalidated in the index of a version."""
    found: list[int] = []
    for segment in manifest.indices[0].segments:
        left = np.setdiff1d(np.arange(segment.rows), segment.invalid_ordinals)
        found += segment.row_ids.ids(left).tolist()
    return found


ALL = (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("made", "left"),
    [
        (lambda _: append(3), ALL),
        (lambda _: delete({0: [1]}), ALL),
        (lambda base: compact(base, [0, 1]), ALL),
        (lambda base: update(base, {0: [1], 1: [0]}, changes=(2,)), (0, 2, 4)),
        (lambda base: update(base, {0: [1], 1: [0]}, changes=(3,)), ALL),
        (lambda base: update(base, {0: [1]}, changes=(1,)), (0, 2, 3, 4)),
        (lambda base: update_column(base, 1, [1], 2), (0, 1, 2, 3)),
        (lambda base: update_column(base, 1, [1], 3), ALL),
        (lambda base: replace_columns(base, [0], 2), (3, 4)),
        (lambda base: replace_columns(base, [0], 3), ALL),
        (lambda base: replace_columns(base, [0, 1], 2), ()),
    ],
)
def test_a_change_invalidates_what_it_changes(made: Any, left: tuple[int, ...]) -> None:
    base = indexed(entry(*ALL))
    after = apply(base, bound(base, made(base)), STAMP)
    assert tuple(valid(after)) == left
    assert after.indices[0].of_same(base.indices[0])


def test_a_segment_that_lands_later_lacks_what_changed_since() -> None:
    base = apply(None, create(3, 2), STAMP)
    newest = apply(base, update(base, {0: [1]}, changes=(2,)), STAMP)
    newest = apply(newest, compact(newest, [0, 2]), STAMP)
    action = SetIndexes((NewIndex(entry(*ALL)),), 1)
    assert valid(apply(newest, action, STAMP)) == [0, 2, 3, 4]
    assert valid(apply(base, action, STAMP)) == list(ALL)


def test_segments_take_the_places_of_others() -> None:
    base = indexed(entry(0, 1))
    [old] = base.indices[0].segments
    more = apply(base, SetIndexes((NewIndex(entry(3, 4), "extend"),), 2), STAMP)
    assert valid(more) == [0, 1, 3, 4]
    merged = apply(more, SetIndexes((NewIndex(entry(0, 1, 2), "extend", (old.uuid,)),), 3), STAMP)
    assert sorted(valid(merged)) == list(ALL)
    assert merged.transaction.indexes == ("i",)
    assert merged.transaction.files_added == (merged.indices[0].segments[-1].files[0].path,)


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (SetIndexes((NewIndex(entry(field_id=9)),), 2), InvalidInput),
        (SetIndexes((NewIndex(entry()),), 2), InvalidInput),
        (SetIndexes((NewIndex(replace(entry(), name="j"), "extend"),), 2), NotFound),
        (SetIndexes((NewIndex(replace(entry(), params={}), "extend"),), 2), InvalidInput),
        (DropIndex("j"), NotFound),
    ],
)
def test_what_does_not_fit_the_version_is_refused(action: Any, error: type[LanceLikeError]) -> None:
    with pytest.raises(error):
        apply(indexed(entry()), action, STAMP)


def test_more_rows_than_a_segment_holds_are_refused() -> None:
    with pytest.raises(InvalidInput, match="limit"):
        RowRuns.of_runs(np.array([[0, 2**32 + 1]]))
