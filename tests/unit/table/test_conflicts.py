"""Every cell of the table of conflicts, by two writers that read the same version."""

from __future__ import annotations

import pyarrow as pa
import pytest
from table_values import SCHEMA, add_column, append, new_fragment, overwrite, small_table

from lance_like.errors import AlreadyExists, Conflict, IncompatibleChange
from lance_like.table.actions import (
    AddColumns,
    Append,
    Create,
    DropColumns,
    RenameColumns,
    Restore,
    UpdateMetadata,
)
from lance_like.table.commit import commit
from lance_like.table.conflicts import RULES, Verdict, judge
from lance_like.table.manifest import Manifest, Transaction
from lance_like.table.snapshot import read_manifest

NULL_COLUMN = AddColumns(pa.schema([("null", pa.int8())]), {})


def simple(kind: str, base: Manifest, mine: bool):
    """An action of each kind; mine and theirs touch different columns and keys."""
    name = "mine" if mine else "theirs"
    return {
        "append": lambda: append(1),
        "add_columns": lambda: add_column(base, name),
        "drop_columns": lambda: DropColumns((2 if mine else 0,)),
        "rename_columns": lambda: RenameColumns({2 if mine else 0: name}),
        "update_metadata": lambda: UpdateMetadata({name: "1"}),
        "overwrite": lambda: overwrite(4),
        "restore": lambda: Restore(base),
    }[kind]()


STOPPED = {
    (mine, theirs)
    for mine in ("append", "add_columns", "drop_columns", "rename_columns")
    for theirs in ("overwrite", "restore")
} | {("append", "drop_columns")}
RERUN = {("add_columns", "append")}


@pytest.mark.parametrize("theirs", sorted(RULES))
@pytest.mark.parametrize("mine", sorted(RULES))
def test_each_pair_of_kinds_meets_its_cell(mine: str, theirs: str) -> None:
    store, base = small_table()
    action = simple(mine, base, mine=True)
    other = commit(store, base, simple(theirs, base, mine=False))
    if (mine, theirs) in STOPPED:
        with pytest.raises(IncompatibleChange, match=f"{mine} of version 1 cannot follow {theirs}"):
            commit(store, base, action)
        assert read_manifest(store, 2) == other
    elif (mine, theirs) in RERUN:
        with pytest.raises(Conflict) as caught:
            commit(store, base, action)
        assert caught.value.retryable
        assert commit(store, base, lambda newest: simple(mine, newest, mine=True)).version == 3
    else:
        after = commit(store, base, action)
        assert (after.version, after.transaction.read_version) == (3, 1)
        assert read_manifest(store, 3) == after


def test_an_append_follows_a_rename_by_id() -> None:
    store, base = small_table()
    commit(store, base, RenameColumns({0: "b", 1: "a"}))
    after = commit(store, base, append(1))
    assert after.fragments[-1].files[0].field_ids == (0, 1, 2, 3)


def test_an_append_that_lacks_a_dropped_field_follows() -> None:
    store, base = small_table()
    commit(store, base, DropColumns((1,)))
    after = commit(store, base, Append(pa.schema([("a", pa.int64())]), (new_fragment(1, 1),)))
    assert after.fragments[-1].files[0].field_ids == (0,)


def test_an_append_is_made_again_after_a_column_that_may_not_be_null() -> None:
    store, base = small_table()
    strict = AddColumns(pa.schema([pa.field("n", pa.int32(), False)]), add_column(base).files)
    commit(store, base, strict)
    with pytest.raises(Conflict) as caught:
        commit(store, base, append(1))
    assert caught.value.retryable
    both = pa.schema([*SCHEMA, pa.field("n", pa.int32(), False)])
    assert commit(store, base, lambda newest: append(1) if newest is base else Append(both, (new_fragment(1, 5),)))


def test_columns_that_read_as_null_follow_an_append() -> None:
    store, base = small_table()
    commit(store, base, append(1))
    assert commit(store, base, NULL_COLUMN).schema.find("null").id == 4


def test_added_columns_get_fresh_ids_when_they_follow_others() -> None:
    store, base = small_table()
    mine, theirs = add_column(base, "mine"), add_column(base, "theirs")
    commit(store, base, theirs)
    after = commit(store, base, mine)
    assert (after.schema.find("theirs").id, after.schema.find("mine").id) == (4, 5)
    assert [file.fields for file in after.fragments[0].files] == [((0, 4),), ((4, 1),), ((5, 1),)]


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (lambda base: add_column(base), lambda base: add_column(base)),
        (lambda base: add_column(base, "z"), lambda base: RenameColumns({0: "z"})),
        (lambda base: RenameColumns({0: "z"}), lambda base: add_column(base, "z")),
        (lambda base: RenameColumns({0: "z"}), lambda base: RenameColumns({1: "z"})),
        (lambda base: RenameColumns({0: "z"}), lambda base: RenameColumns({0: "y"})),
        (lambda base: RenameColumns({2: "z"}), lambda base: DropColumns((1,))),
        (lambda base: DropColumns((0,)), lambda base: DropColumns((0,))),
        (lambda base: DropColumns((0,)), lambda base: DropColumns((1,))),
        (lambda base: DropColumns((0,)), lambda base: RenameColumns({0: "z"})),
        (lambda base: add_column(base, reads=(2,)), lambda base: DropColumns((1,))),
    ],
)
def test_changes_of_the_same_columns_stop(mine, theirs) -> None:
    store, base = small_table()
    action = mine(base)
    commit(store, base, theirs(base))
    with pytest.raises(IncompatibleChange) as caught:
        commit(store, base, action)
    assert not caught.value.retryable


def test_a_column_computed_from_others_follows_a_drop_of_the_rest() -> None:
    store, base = small_table()
    commit(store, base, DropColumns((1,)))
    assert commit(store, base, add_column(base, reads=(0,))).version == 3


def test_every_version_since_is_judged_not_only_the_newest() -> None:
    store, base = small_table()
    second = commit(store, base, overwrite(1))
    commit(store, second, append(1))
    with pytest.raises(IncompatibleChange, match=r"cannot follow overwrite \(version 2\)"):
        commit(store, base, append(1))


def test_an_unknown_kind_of_change_asks_for_a_rerun() -> None:
    _, base = small_table()
    assert judge(append(1), Transaction("0" * 32, "teleport", 1), base) is Verdict.RERUN


def test_a_table_is_created_once() -> None:
    store, _ = small_table()
    with pytest.raises(AlreadyExists):
        commit(store, None, Create(SCHEMA, ()))


def test_metadata_of_a_field_that_was_dropped_meanwhile_stops() -> None:
    store, base = small_table()
    commit(store, base, DropColumns((0,)))
    commit(store, base, UpdateMetadata(fields={2: {"f": "1"}}))
    with pytest.raises(IncompatibleChange, match="no field with the id 0"):
        commit(store, base, UpdateMetadata(fields={0: {"f": "1"}}))


def test_metadata_of_two_writers_is_kept_key_by_key() -> None:
    store, base = small_table()
    commit(store, base, UpdateMetadata({"a": "1"}, {"a": "1"}, {"a": "1"}, {0: {"a": "1"}}))
    made = commit(store, base, UpdateMetadata({"b": "2"}, {"b": "2"}, {"b": "2"}, {0: {"b": "2"}}))
    assert made.metadata == made.config == {"a": "1", "b": "2"}
    assert made.schema.metadata == made.schema.field(0).metadata == {b"a": b"1", b"b": b"2"}
    assert read_manifest(store, 3) == made
