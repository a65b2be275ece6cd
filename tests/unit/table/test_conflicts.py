"""Every cell of the table of conflicts, by two writers that read the same version."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from table_values import (
    SCHEMA,
    add_column,
    append,
    compact,
    create,
    delete,
    index_segment,
    live_lineage,
    new_file,
    new_fragment,
    overwrite,
    recast,
    rename,
    replace_columns,
    small_table,
    update,
    update_column,
)

from lance_like.dataset.inputs import as_stream
from lance_like.dataset.write import FileLimits, write_version
from lance_like.errors import AlreadyExists, Conflict, IncompatibleChange
from lance_like.file.stats import ZoneEntry
from lance_like.io.memory import MemoryStore
from lance_like.table.actions import (
    Action,
    AddColumns,
    AlterColumns,
    Append,
    ChangeRows,
    Create,
    DropColumns,
    DropIndex,
    KeyRange,
    NewFragment,
    NewIndex,
    Restore,
    SetIndexes,
    UpdateMetadata,
)
from lance_like.table.apply import Stamp, apply, bound
from lance_like.table.commit import commit
from lance_like.table.conflicts import RULES, Verdict, judge
from lance_like.table.fields import Alteration
from lance_like.table.indices import IndexEntry
from lance_like.table.manifest import Manifest, Transaction
from lance_like.table.snapshot import read_manifest

NULL_COLUMN = AddColumns(pa.schema([("null", pa.int8())]), None)


def simple(kind: str, base: Manifest, mine: bool) -> Action:
    """An action of each kind; mine and theirs touch different columns, rows and keys of the metadata."""
    name = "mine" if mine else "theirs"
    fragment_id, width = 0 if mine else 1, len(base.schema.fields)
    return {
        "append": lambda: append(1),
        "delete": lambda: delete({fragment_id: [1]}),
        "update": lambda: update(base, {fragment_id: [0]}, changes=(2,)),
        "merge_insert": lambda: update(
            base, {fragment_id: [0]}, kind="merge_insert", changes=(2,), inserted=(new_fragment(2, width),)
        ),
        "add_columns": lambda: add_column(base, name),
        "drop_columns": lambda: DropColumns((2 if mine else 0,)),
        "alter_columns": lambda: rename({2 if mine else 0: name}),
        "replace_columns": lambda: replace_columns(base, [fragment_id], 3),
        "compact": lambda: compact(base, [fragment_id]),
        "update_metadata": lambda: UpdateMetadata({name: "1"}),
        "overwrite": lambda: overwrite(4),
        "restore": lambda: Restore(base),
        "create_index": lambda: index(base, name, 2 if mine else 0),
        "drop_index": lambda: DropIndex("by mine" if mine else "by theirs"),
    }[kind]()


def index(base: Manifest, name: str, *field_ids: int, **options: Any) -> SetIndexes:
    """An index of the rows of the first fragment."""
    segment = index_segment(np.arange(base.fragments[0].rows), base.version)
    return SetIndexes((NewIndex(IndexEntry(name, "SORTED", field_ids, {}, (segment,)), **options),), base.version)


def extension(base: Manifest, name: str = "by mine") -> SetIndexes:
    """One more segment of an index."""
    [known] = [entry for entry in base.indices if entry.name == name]
    entry = replace(known, segments=(index_segment(np.array([50]), base.version),))
    return SetIndexes((NewIndex(entry, "extend"),), base.version)


ROW_CHANGES = ("delete", "update", "merge_insert")
STOPPED = {
    (mine, theirs)
    for mine in (
        "append",
        *ROW_CHANGES,
        "add_columns",
        "drop_columns",
        "alter_columns",
        "replace_columns",
        "compact",
        "create_index",
    )
    for theirs in ("overwrite", "restore")
} | {("append", "drop_columns"), ("drop_index", "overwrite")}
RERUN = {
    *(("add_columns", theirs) for theirs in ("append", "update", "merge_insert", "replace_columns", "compact")),
    *((mine, "add_columns") for mine in ("update", "merge_insert", "compact")),
    # Rows written anew hold the column that has gone.
    *((mine, theirs) for mine in ("update", "merge_insert") for theirs in ("drop_columns", "alter_columns")),
    # Nothing is known about the keys.
    *(("merge_insert", theirs) for theirs in ("append", "update", "merge_insert")),
}


def test_the_table_has_a_cell_for_each_pair_of_kinds() -> None:
    kinds = {action.kind for action in get_args(Action) if action is not Create and action is not ChangeRows}
    assert set(RULES) == kinds | set(ROW_CHANGES)
    assert all(list(row) == list(RULES) for row in RULES.values())


@pytest.mark.parametrize("theirs", sorted(RULES))
@pytest.mark.parametrize("mine", sorted(RULES))
def test_each_pair_of_kinds_meets_its_cell(mine: str, theirs: str) -> None:
    store, base = indexed_table()
    action = simple(mine, base, mine=True)
    other = commit(store, base, simple(theirs, base, mine=False))
    if (mine, theirs) in STOPPED:
        with pytest.raises(IncompatibleChange, match=f"{mine} of version 3 (cannot follow {theirs}|does not fit)"):
            commit(store, base, action)
        assert read_manifest(store, 4) == other
    elif (mine, theirs) in RERUN:
        with pytest.raises(Conflict) as caught:
            commit(store, base, action)
        assert caught.value.retryable
        assert commit(store, base, lambda newest: simple(mine, newest or base, mine=True)).version == 5
    else:
        after = commit(store, base, action)
        assert (after.version, after.transaction.read_version) == (5, 3)
        assert read_manifest(store, 5) == after


def indexed_table() -> tuple[MemoryStore, Manifest]:
    """A small table with an index for each of two writers to drop, of a field that neither changes."""
    store, base = small_table()
    for name in ("by mine", "by theirs"):
        base = commit(store, base, index(base, name, 3))
    return store, base


# -- the cells with a condition: each of their verdicts


def ranged(low: int, high: int, rows: int = 2) -> NewFragment:
    """New rows whose field 0 has values from low to high."""
    entry = ZoneEntry(0, 0, low.to_bytes(8, "little"), high.to_bytes(8, "little"), 3)
    return NewFragment((replace(new_file(rows), stats=(entry,) * 4),))


def merge(
    base: Manifest, rows: Mapping[int, Sequence[int]] | None = None, *, keys: tuple[int, int] = (10, 20), low: int = 12
) -> Action:
    """A merge of keys from 10 to 20 that reads the key, and brings a row of the key 12."""
    ranges = (KeyRange(0, pa.scalar(keys[0]), pa.scalar(keys[1])),)
    new = (ranged(low, low, 1),)
    return update(base, rows or {}, kind="merge_insert", changes=(2, 3), inserted=new, reads=(0,), keys=ranges)


Made = Callable[[Manifest], Action]
C, R, X = Verdict.COMMIT, Verdict.RERUN, Verdict.STOP


def strict(*field_ids: int) -> AlterColumns:
    """No longer null."""
    return AlterColumns({field_id: Alteration(nullable=False) for field_id in field_ids})


def _strict(base: Manifest) -> Action:
    return AddColumns(pa.schema([pa.field("n", pa.int32(), False)]), add_column(base).files)


def _only_a(_: Manifest) -> Action:
    return Append(pa.schema([("a", pa.int64())]), (new_fragment(1, 1),))


def _without_rows(base: Manifest) -> Action:
    return update_column(base, 0, [0], field_id=3)


# Rows of fragment 0: they change row 2 of it, or all of it.
_BY_ROWS: dict[str, list[tuple[Made, Verdict]]] = {
    "delete": [
        (lambda _: delete({0: [2]}), C),
        (lambda _: delete({0: [0, 2]}), R),
        (lambda _: delete({0: [0, 1, 2]}), R),
    ],
    "update": [(lambda base: update(base, {1: [0]}, changes=(3,)), C), (lambda base: update(base, {0: [0]}), R)],
    "merge_insert": [
        (lambda base: update(base, {1: [0]}, kind="merge_insert", changes=(3,)), C),
        (lambda base: update(base, {0: [0]}, kind="merge_insert", changes=(3,)), R),
    ],
    "compact": [(lambda base: compact(base, [1]), C), (lambda base: compact(base, [0, 1]), R)],
}
_MINE: dict[str, Made] = {
    "delete": lambda _: delete({0: [0]}, reads=(2,)),
    "update": lambda base: update(base, {0: [0]}, reads=(2,)),
}
CASES: list[tuple[str, str, Made, Made, Verdict]] = [
    ("append", "add_columns", lambda _: append(1), add_column, C),
    ("append", "add_columns", lambda _: append(1), _strict, R),
    ("append", "drop_columns", _only_a, lambda _: DropColumns((1,)), C),
    ("append", "drop_columns", lambda _: append(1), lambda _: DropColumns((1,)), X),
    *(
        (mine, theirs, _MINE[mine], other, verdict)
        for mine in ("delete", "update")
        for theirs, others in _BY_ROWS.items()
        if (mine, theirs) != ("delete", "delete")
        for other, verdict in others
    ),
    # They change what mine was computed from, wherever.
    ("delete", "update", _MINE["delete"], lambda base: update(base, {1: [0]}, changes=(2,)), R),
    (
        "delete",
        "merge_insert",
        _MINE["delete"],
        lambda base: update(base, {1: [0]}, kind="merge_insert", changes=(2,)),
        R,
    ),
    ("update", "update", _MINE["update"], lambda base: update_column(base, 1, [0], field_id=2), R),
    # A column of the fragment: nothing to a delete, but rows written anew hold the old values.
    ("delete", "update", _MINE["delete"], lambda base: update_column(base, 0, [0], field_id=3), C),
    ("update", "update", _MINE["update"], lambda base: update_column(base, 0, [2], field_id=3), R),
    ("update", "delete", _without_rows, lambda _: delete({0: [1, 2]}), C),
    ("update", "delete", _without_rows, lambda _: delete({0: [0]}), R),
    # A field may no longer be null, has another type, another name; other values in a fragment.
    *(
        (mine, "alter_columns", made, other, verdict)
        for mine, made, other, verdict in (
            ("append", lambda _: append(1), lambda _: rename({0: "z"}), C),
            ("append", lambda _: append(1), lambda base: recast(base, 0), X),
            ("append", lambda _: append(1), lambda _: strict(3), X),
            ("append", _only_a, lambda base: recast(base, 3), C),
            ("append", _only_a, lambda _: strict(1), R),
            ("delete", _MINE["delete"], lambda base: recast(base, 0), C),
            ("delete", _MINE["delete"], lambda _: rename({2: "z"}), C),
            ("delete", _MINE["delete"], lambda base: recast(base, 2), X),
            ("update", _without_rows, lambda base: recast(base, 0), C),
            ("update", _without_rows, lambda _: strict(3), R),
            ("update", _MINE["update"], lambda base: recast(base, 3), R),
            ("update", _MINE["update"], lambda base: recast(base, 2), X),
            ("merge_insert", merge, lambda _: strict(3), R),
            ("merge_insert", merge, lambda base: recast(base, 0), X),
            ("merge_insert", lambda base: replace(merge(base), fragments=()), lambda _: rename({0: "z"}), C),
            ("add_columns", lambda base: add_column(base, reads=(0,)), lambda _: rename({0: "z"}), C),
            ("add_columns", lambda base: add_column(base, reads=(0,)), lambda base: recast(base, 0), X),
            ("compact", lambda base: compact(base, [0, 1]), lambda _: rename({0: "z"}), C),
            ("compact", lambda base: compact(base, [0, 1]), lambda base: recast(base, 0), R),
            ("replace_columns", lambda base: replace_columns(base, [0], 3), lambda _: rename({0: "z"}), C),
            ("replace_columns", lambda base: replace_columns(base, [0], 3), lambda _: strict(3), R),
            ("replace_columns", lambda base: replace_columns(base, [0], 3), lambda base: recast(base, 3), X),
        )
    ),
    *(
        (mine, "replace_columns", made, lambda base: replace_columns(base, [1], 2), verdict)
        for mine, made, verdict in (
            ("delete", lambda _: delete({0: [0]}), C),
            ("delete", lambda _: delete({0: [0]}, reads=(2,)), R),
            ("update", lambda base: update_column(base, 0, [0]), C),
            ("update", lambda base: update_column(base, 1, [0]), R),
            ("merge_insert", lambda base: merge(base, {0: [0]}), C),
            ("merge_insert", lambda base: merge(base, {1: [0]}), R),
            ("add_columns", add_column, R),
            ("add_columns", lambda _: NULL_COLUMN, C),
            ("alter_columns", lambda _: rename({2: "z"}), C),
            ("alter_columns", lambda _: strict(2), R),
            ("compact", lambda base: compact(base, [0], [1]), C),
            ("compact", lambda base: compact(base, [1]), R),
            ("replace_columns", lambda base: replace_columns(base, [0], 2), C),
            ("replace_columns", lambda base: replace_columns(base, [0, 1], 2), R),
        )
    ),
    *(
        ("alter_columns", theirs, made, lambda base, theirs=theirs: simple(theirs, base, mine=False), verdict)
        for theirs in ("append", "update", "merge_insert", "compact")
        for made, verdict in (
            (lambda base: recast(base, 0), R),
            (lambda _: strict(0), C if theirs == "compact" else R),
            (lambda _: AlterColumns({0: Alteration("z", nullable=True)}), C),
        )
    ),
    *(
        ("replace_columns", theirs, lambda base: replace_columns(base, [0], 3), other, verdict)
        for theirs in ("update", "merge_insert", "compact")
        for other, verdict in _BY_ROWS[theirs]
    ),
    ("replace_columns", "drop_columns", lambda base: replace_columns(base, [0], 3), lambda _: DropColumns((2,)), C),
    ("replace_columns", "drop_columns", lambda base: replace_columns(base, [0], 3), lambda _: DropColumns((1,)), X),
    *(
        (mine, "drop_columns", made, dropped, verdict)
        for mine, made, dropped, verdict in (
            ("delete", _MINE["delete"], lambda _: DropColumns((0,)), C),
            ("delete", _MINE["delete"], lambda _: DropColumns((1,)), X),
            ("update", _without_rows, lambda _: DropColumns((0,)), C),
            ("update", _without_rows, lambda _: DropColumns((3,)), X),
            ("update", _MINE["update"], lambda _: DropColumns((0,)), X),
            ("update", _MINE["update"], lambda _: DropColumns((3,)), R),
            ("merge_insert", lambda base: replace(merge(base), fragments=()), lambda _: DropColumns((2,)), X),
            (
                "merge_insert",
                lambda base: replace(merge(base), fragments=(), changes=()),
                lambda _: DropColumns((2,)),
                C,
            ),
            ("merge_insert", merge, lambda _: DropColumns((0,)), X),
            ("merge_insert", lambda base: replace(merge(base), changes=()), lambda _: DropColumns((2,)), R),
        )
    ),
    *(
        (
            "merge_insert",
            "append",
            lambda base: merge(base),
            lambda _, span=span: Append(SCHEMA, (ranged(*span),)),
            verdict,
        )
        for span, verdict in (((0, 9), C), ((21, 30), C), ((0, 10), R), ((20, 21), R), ((0, 99), R), ((13, 14), R))
    ),
    (
        "merge_insert",
        "append",
        lambda base: replace(merge(base), keys=()),
        lambda _: Append(SCHEMA, (ranged(0, 1),)),
        R,
    ),
    ("merge_insert", "append", merge, lambda _: append(1), R),
    ("merge_insert", "append", merge, _only_a, R),
    *(
        ("merge_insert", theirs, lambda base: merge(base, {0: [0]}), other, verdict)
        for theirs in ("delete", "compact")
        for other, verdict in _BY_ROWS[theirs]
    ),
    ("merge_insert", "update", lambda base: merge(base, {0: [0]}), lambda base: update_column(base, 1, [0], 3), C),
    ("merge_insert", "update", lambda base: merge(base, {0: [0]}), lambda base: update_column(base, 1, [0], 0), R),
    (
        "merge_insert",
        "update",
        lambda base: merge(base, {0: [0]}),
        lambda base: update(base, {1: [0]}, changes=(3,)),
        R,
    ),
    ("merge_insert", "merge_insert", merge, lambda base: merge(base, low=30), C),
    ("merge_insert", "merge_insert", merge, merge, R),
    (
        "merge_insert",
        "merge_insert",
        lambda base: merge(base, {0: [0]}),
        lambda base: replace(merge(base, low=30), removed={0: np.array([0])}),
        R,
    ),
    *(
        ("add_columns", theirs, made, lambda base, theirs=theirs: simple(theirs, base, mine=False), verdict)
        for theirs in ("append", "update", "merge_insert", "compact")
        for made, verdict in ((add_column, R), (lambda _: NULL_COLUMN, C))
    ),
    ("add_columns", "drop_columns", lambda base: add_column(base, reads=(0,)), lambda _: DropColumns((1,)), C),
    ("add_columns", "drop_columns", lambda base: add_column(base, reads=(2,)), lambda _: DropColumns((1,)), X),
    *(
        (mine, theirs, made, other, verdict)
        for mine, made in (
            ("drop_columns", lambda _: DropColumns((0,))),
            ("alter_columns", lambda _: rename({0: "z"})),
        )
        for theirs, same, different in (
            ("drop_columns", lambda _: DropColumns((0,)), lambda _: DropColumns((1,))),
            ("alter_columns", lambda _: rename({0: "y"}), lambda _: rename({1: "y"})),
        )
        for other, verdict in ((same, X), (different, C))
    ),
    *(
        ("compact", theirs, made, other, verdict)
        for theirs, other in (
            ("delete", lambda _: delete({0: [0]})),
            ("update", lambda base: update_column(base, 0, [0])),
            ("update", lambda base: update(base, {0: [0]})),
            ("merge_insert", lambda base: merge(base, {0: [0]})),
            ("compact", lambda base: compact(base, [0])),
        )
        for made, verdict in ((lambda base: compact(base, [0], [1]), C), (lambda base: compact(base, [0, 1]), R))
    ),
    # An index, and what would take its field, or what lies below it.
    *(
        (mine, "create_index", made, lambda base: index(base, "new", 2), verdict)
        for mine, made, verdict in (
            ("drop_columns", lambda _: DropColumns((0,)), C),
            ("drop_columns", lambda _: DropColumns((2,)), X),
            ("drop_columns", lambda _: DropColumns((1,)), X),
            ("alter_columns", lambda _: rename({2: "z"}), C),
            ("alter_columns", lambda base: recast(base, 0), C),
            ("alter_columns", lambda base: recast(base, 2), X),
        )
    ),
    *(
        ("create_index", theirs, lambda base: index(base, "new", 1), other, verdict)
        for theirs, other, verdict in (
            ("add_columns", lambda _: NULL_COLUMN, C),
            ("add_columns", lambda _: replace(NULL_COLUMN, parents=(1,)), R),
            ("drop_columns", lambda _: DropColumns((0,)), C),
            ("drop_columns", lambda _: DropColumns((2,)), R),
            ("drop_columns", lambda _: DropColumns((1,)), X),
            ("alter_columns", lambda _: rename({1: "z"}), C),
            ("alter_columns", lambda _: rename({2: "z"}), R),
        )
    ),
    ("create_index", "alter_columns", lambda base: index(base, "new", 0), lambda base: recast(base, 0), X),
    # Two writers and one index.
    *(
        ("create_index", theirs, mine, other, verdict)
        for theirs, mine, other, verdict in (
            ("create_index", lambda base: index(base, "new", 0), lambda base: index(base, "other", 0), C),
            ("create_index", lambda base: index(base, "new", 0), lambda base: index(base, "new", 1), X),
            ("create_index", lambda base: index(base, "new", 0, mode="replace"), lambda base: index(base, "new", 0), C),
            ("create_index", extension, extension, R),
            ("create_index", extension, lambda base: index(base, "by mine", 0, mode="replace"), X),
            ("create_index", extension, lambda base: index(base, "new", 0), C),
            ("drop_index", extension, lambda _: DropIndex("by mine"), X),
            ("drop_index", extension, lambda _: DropIndex("by theirs"), C),
        )
    ),
]


def meet(base: Manifest, mine: Action, theirs: Action) -> Verdict:
    newest = apply(base, bound(base, theirs), Stamp("1" * 32, 1, base.version))
    return judge(bound(base, mine), newest.transaction, base=base, newest=newest)


@pytest.mark.parametrize(("mine", "theirs", "made", "other", "verdict"), CASES)
def test_a_condition_is_judged(mine: str, theirs: str, made: Made, other: Made, verdict: Verdict) -> None:
    base = indexed_table()[1]
    action, before = made(base), other(base)
    assert (action.kind, before.kind) == (mine, theirs)
    assert meet(base, action, before) is verdict


def test_each_condition_has_a_case_for_each_of_its_verdicts() -> None:
    conditional = {(mine, theirs) for mine, row in RULES.items() for theirs, rule in row.items() if callable(rule)}
    found = {pair: {verdict for *kinds, _, _, verdict in CASES if tuple(kinds) == pair} for pair in conditional}
    assert {(mine, theirs) for mine, theirs, *_ in CASES} == conditional
    assert all(C in verdicts and len(verdicts) > 1 for verdicts in found.values()), found


def test_rows_that_came_and_were_compacted_since_may_have_the_keys() -> None:
    base = apply(None, create(3, 2), Stamp("0" * 32, 1, 0))
    appended = apply(base, bound(base, Append(SCHEMA, (ranged(13, 14),))), Stamp("1" * 32, 1, 1))
    newest = apply(appended, compact(appended, [2]), Stamp("2" * 32, 1, 2))
    verdicts = [judge(merge(base), v.transaction, base=base, newest=newest) for v in (appended, newest)]
    assert verdicts == [R, C]


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        (pa.string(), "b", "d"),
        (pa.string_view(), "b", "d"),
        (pa.binary(2), b"bb", b"dd"),
        (pa.float64(), 1.5, 2.5),
        (pa.date32(), date(2020, 1, 1), date(2021, 1, 1)),
        (pa.float16(), np.float16(1), np.float16(2)),
    ],
)
def test_keys_of_any_type_are_held_against_bounds(kind: pa.DataType, low: object, high: object) -> None:
    schema = pa.schema([("k", kind)])
    store = MemoryStore()
    first = pa.table([pa.array([low], kind)], schema=schema)
    base = write_version(store, None, as_stream(first), mode="create", limits=FileLimits())
    theirs = write_version(store, base, as_stream(first), mode="append", limits=FileLimits())
    for value, verdict in ((low, R), (high, C)):
        key = KeyRange(0, pa.scalar(value, kind), pa.scalar(value, kind))
        mine = ChangeRows("merge_insert", keys=(key,))
        expected = R if kind == pa.float16() else verdict
        assert judge(mine, theirs.transaction, base=base, newest=theirs) is expected


def test_a_change_that_must_see_new_rows_is_made_again_after_them() -> None:
    store, base = small_table()
    mine = replace(delete({0: [0]}), serializable=True)
    assert meet(base, mine, append(1)) is R
    assert meet(base, mine, simple("merge_insert", base, mine=False)) is R
    assert meet(base, mine, delete({1: [0]})) is C
    assert meet(base, mine, add_column(base)) is C
    with pytest.raises(IncompatibleChange):
        commit(store, commit(store, base, overwrite(1)) and base, mine)


# -- what a change does when it follows


def test_deletes_of_one_fragment_add_up() -> None:
    store, base = small_table()
    commit(store, base, delete({0: [0]}))
    after = commit(store, base, delete({0: [0, 2], 1: [1]}))
    assert [one.deleted.tolist() for one in after.fragments] == [[0, 2], [1]]


def test_an_update_follows_a_delete_of_other_rows() -> None:
    store, base = small_table()
    commit(store, base, delete({0: [0]}))
    after = commit(store, base, update(base, {0: [2]}))
    assert live_lineage(after) == [(1, 1, 1), (3, 1, 1), (4, 1, 1), (2, 1, 3)]


def test_a_compaction_leaves_what_changed_meanwhile() -> None:
    store, base = small_table()
    newer = commit(store, base, delete({1: [0]}))
    after = commit(store, base, compact(base, [0], [1]))
    assert [one.id for one in after.fragments] == [2, 1]
    assert live_lineage(after) == live_lineage(newer)


def test_an_append_follows_a_rename_by_id() -> None:
    store, base = small_table()
    commit(store, base, rename({0: "b", 1: "a"}))
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
        (lambda base: add_column(base, "z"), lambda base: rename({0: "z"})),
        (lambda base: rename({0: "z"}), lambda base: add_column(base, "z")),
        (lambda base: rename({0: "z"}), lambda base: rename({1: "z"})),
        (lambda base: rename({0: "z"}), lambda base: rename({0: "y"})),
        (lambda base: rename({2: "z"}), lambda base: DropColumns((1,))),
        (lambda base: DropColumns((0,)), lambda base: DropColumns((0,))),
        (lambda base: DropColumns((0,)), lambda base: DropColumns((1,))),
        (lambda base: DropColumns((0,)), lambda base: rename({0: "z"})),
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
    assert judge(append(1), Transaction("0" * 32, "teleport", 1), base=base, newest=base) is Verdict.RERUN


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
