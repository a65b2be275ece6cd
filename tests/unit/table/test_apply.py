from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from table_values import (
    COLUMNS,
    SCHEMA,
    add_column,
    append,
    compact,
    create,
    delete,
    live_lineage,
    new_file,
    new_fragment,
    overwrite,
    rename,
    rewritten,
    update,
    update_column,
)

from lance_like.errors import InvalidInput, NotFound
from lance_like.table.actions import (
    AddColumns,
    Append,
    ChangeRows,
    Create,
    DropColumns,
    NewFragment,
    Replacement,
    Restore,
    Rewrite,
    RewrittenGroup,
    UpdateMetadata,
)
from lance_like.table.apply import Stamp, apply, bound
from lance_like.table.lineage import fresh
from lance_like.table.manifest import Manifest

STAMP = Stamp("0" * 32, 1_000_000, 0)


def made(*actions) -> Manifest:
    version = None
    for action in actions:
        version = apply(version, action, replace(STAMP, read_version=version.version if version else 0))
    assert version is not None
    return version


def counters(version: Manifest) -> tuple[int, int, int]:
    return version.next_row_id, version.next_field_id, version.next_fragment_id


def test_create_numbers_everything_from_zero() -> None:
    version = made(create(3, 2))
    assert version.version == 1
    assert counters(version) == (5, 4, 2)
    first, second = version.fragments
    assert (second.id, second.runs, second.live_rows) == (1, fresh(3, 2, 1), 2)
    assert first.files[0].fields == ((0, 4),)
    assert [field_id for field_id, _ in first.files[0].stats] == [0, 1, 2, 3]
    record = version.transaction
    assert (record.kind, record.row_ids, record.fields) == ("create", ((0, 5),), ((0, 4),))
    assert record.files_added == tuple(f.files[0].path for f in version.fragments)
    assert version.tree.live_starts.tolist() == [0, 3, 5]


def test_append_goes_on_counting() -> None:
    version = made(create(3), append(2, 4))
    assert counters(version) == (9, 4, 3)
    assert [f.runs for f in version.fragments] == [fresh(0, 3, 1), fresh(3, 2, 2), fresh(5, 4, 2)]
    assert version.transaction.row_ids == ((3, 9),)
    assert version.transaction.fragments_added == (1, 2)


def test_append_finds_fields_by_name_and_lacks_only_nullable_ones() -> None:
    base = made(create(3))
    part = pa.schema([("s", pa.struct([("y", pa.int8())])), ("a", pa.int64())])
    after = apply(base, Append(part, (new_fragment(2, 3),)), STAMP)
    file = after.fragments[1].files[0]
    assert file.field_ids == (1, 3, 0)
    assert after.fragments[1].locate(2) is None
    assert after.fragments[1].locate(0) == (file, 2)


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([("a", pa.int32())]),
        pa.schema([("s", pa.string())]),
        pa.schema([("a", pa.int64()), ("a", pa.int64())]),
        pa.schema([("z", pa.int64())]),
    ],
)
def test_append_of_another_schema_is_refused(schema: pa.Schema) -> None:
    with pytest.raises((InvalidInput, NotFound)):
        bound(made(create(3)), Append(schema, ()))


def test_append_lacks_no_field_that_may_not_be_null() -> None:
    strict = pa.schema([pa.field("a", pa.int64(), False), ("b", pa.int64())])
    base = made(Create(strict, (new_fragment(2, 2),)))
    with pytest.raises(InvalidInput, match="'a' is not nullable"):
        apply(base, Append(pa.schema([("b", pa.int64())]), (new_fragment(1, 1),)), STAMP)
    with pytest.raises(InvalidInput, match="not null"):
        apply(base, Append(pa.schema([("a", pa.int64()), ("b", pa.int64())]), (new_fragment(1, 2),)), STAMP)


def test_a_field_that_may_not_be_null_may_be_missing_with_its_struct() -> None:
    inner = pa.struct([pa.field("x", pa.int8(), False)])
    base = made(Create(pa.schema([("a", pa.int8()), ("s", inner)]), ()))
    apply(base, Append(pa.schema([("a", pa.int8())]), (new_fragment(1, 1),)), STAMP)


def test_overwrite_and_restore_never_turn_a_counter_back() -> None:
    first = made(create(3))
    second = apply(first, overwrite(2), STAMP)
    assert counters(second) == (5, 8, 2)
    assert second.fragments[0].files[0].fields == ((4, 4),)
    third = apply(second, Restore(first), STAMP)
    assert counters(third) == counters(second)
    assert (third.fragments, third.schema, third.version) == (first.fragments, first.schema, 3)
    assert third.transaction.source_version == 1
    fourth = apply(third, append(1), STAMP)
    assert fourth.fragments[-1].runs == fresh(5, 1, 4)
    assert fourth.fragments[-1].id == 2


def test_add_columns_adds_a_file_to_each_fragment() -> None:
    base = made(create(3, 2))
    after = apply(base, add_column(base), STAMP)
    assert after.schema.find("n").id == 4
    assert [f.files[1].fields for f in after.fragments] == [((4, 1),)] * 2
    assert [f.files[0] for f in after.fragments] == [f.files[0] for f in base.fragments]
    assert [f.lineage for f in after.fragments] == [f.lineage for f in base.fragments]
    assert after.transaction.fields == ((4, 5),)
    assert len(after.transaction.files_added) == 2


def test_add_columns_without_files_reads_as_null() -> None:
    base = made(create(3))
    after = apply(base, AddColumns(pa.schema([("n", pa.int8())]), None), STAMP)
    assert after.fragments == base.fragments
    with pytest.raises(InvalidInput, match="not nullable"):
        apply(base, AddColumns(pa.schema([pa.field("n", pa.int8(), False)]), None), STAMP)


def test_add_columns_is_refused_when_it_misses_a_fragment_or_a_name_is_taken() -> None:
    base = made(create(3, 2))
    some = {0: (new_file(3, 1),)}
    with pytest.raises(InvalidInput, match="also for 1"):
        apply(base, AddColumns(pa.schema([("n", pa.int8())]), some), STAMP)
    with pytest.raises(InvalidInput, match="two columns 'a'"):
        apply(base, add_column(base, "a"), STAMP)
    with pytest.raises(InvalidInput, match="rows"):
        apply(base, AddColumns(pa.schema([("n", pa.int8())]), {0: (new_file(2, 1),), 1: (new_file(2, 1),)}), STAMP)


def test_drop_and_rename_touch_no_file() -> None:
    base = made(create(3))
    dropped = apply(base, DropColumns((1,)), STAMP)
    assert [f.name for f in dropped.schema.fields] == ["a"]
    assert dropped.tree is base.tree
    assert dropped.transaction.fields == ((1, 4),)
    renamed = apply(base, rename({2: "z"}), STAMP)
    assert renamed.schema.find("s.z").id == 2
    assert renamed.tree is base.tree


def test_metadata_is_set_and_removed_key_by_key() -> None:
    version = made(create(1), UpdateMetadata({"a": "1", "b": "2"}), UpdateMetadata({"a": None, "c": "3"}))
    assert version.metadata == {"b": "2", "c": "3"}


def test_metadata_of_all_kinds_changes_alone_and_no_file_with_it() -> None:
    base = made(create(3), UpdateMetadata({"t": "1"}, {"c": "1", "d": "1"}))
    changed = apply(base, UpdateMetadata(None, {"d": None}, {"s": "é"}, {1: {"f": "1"}, 2: {"f": "2"}}), STAMP)
    assert (changed.metadata, changed.config) == ({"t": "1"}, {"c": "1"})
    assert changed.schema.metadata == {b"s": "é".encode()}
    assert [field.metadata for field in changed.schema.fields] == [{}, {b"f": b"1"}, {b"f": b"2"}, {}]
    assert [field[:5] for field in changed.schema.fields] == [field[:5] for field in base.schema.fields]
    assert changed.tree is base.tree
    assert changed.schema_ref is None
    assert apply(changed, UpdateMetadata({"t": "2"}), STAMP).schema is changed.schema


def test_metadata_is_replaced_whole() -> None:
    base = made(create(3), UpdateMetadata({"t": "1"}, {"c": "1"}, {"s": "1"}, {1: {"f": "1"}}))
    other = Replacement({"z": "9"})
    assert apply(base, UpdateMetadata(other), STAMP).metadata == {"z": "9"}
    assert apply(base, UpdateMetadata(config=Replacement({})), STAMP).config == {}
    changed = apply(base, UpdateMetadata(schema=other, fields={1: other}), STAMP)
    assert (changed.schema.metadata, changed.schema.field(1).metadata) == ({b"z": b"9"}, {b"z": b"9"})
    assert (changed.metadata, changed.config) == ({"t": "1"}, {"c": "1"})


def test_the_configuration_outlives_restore_and_overwrite() -> None:
    first = made(create(3))
    configured = apply(first, UpdateMetadata({"t": "1"}, {"c": "1"}), STAMP)
    restored = apply(configured, Restore(first), STAMP)
    assert (restored.metadata, restored.config) == ({}, {"c": "1"})
    assert apply(configured, overwrite(1), STAMP).config == {"c": "1"}


def test_metadata_of_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(NotFound):
        apply(made(create(3)), UpdateMetadata(fields={99: {}}), STAMP)


def test_time_never_stands_still() -> None:
    first = apply(None, create(1), STAMP)
    second = apply(first, append(1), replace(STAMP, timestamp_us=5))
    assert second.timestamp_us == first.timestamp_us + 1


@pytest.mark.parametrize(
    "files",
    [(), (new_file(0),), (new_file(2), new_file(3)), (new_file(2, COLUMNS - 1),), (new_file(2), new_file(2, 0))],
)
def test_files_that_do_not_make_a_fragment_are_refused(files: tuple) -> None:
    with pytest.raises(InvalidInput):
        apply(None, Create(SCHEMA, (NewFragment(files),)), STAMP)


def test_several_files_share_the_columns_of_a_fragment() -> None:
    version = apply(None, Create(SCHEMA, (NewFragment((new_file(2, 1), new_file(2, 3))),)), STAMP)
    first, second = version.fragments[0].files
    assert (first.fields, second.fields) == (((0, 1),), ((1, 3),))
    assert version.fragments[0].locate(3) == (second, 2)


def test_create_and_the_others_need_what_they_stand_on() -> None:
    with pytest.raises(InvalidInput):
        apply(None, append(1), STAMP)
    with pytest.raises(InvalidInput):
        bound(None, append(1))
    with pytest.raises(InvalidInput):
        apply(made(create(1)), create(1), STAMP)


# -- changes of rows


def test_a_delete_marks_rows_and_writes_no_file() -> None:
    base = made(create(3, 2))
    after = made(create(3, 2), delete({0: [1]}), delete({0: [0], 1: [1]}))
    assert [one.deleted.tolist() for one in after.fragments] == [[0, 1], [1]]
    assert (after.rows, after.live_rows) == (5, 2)
    assert counters(after) == counters(base)
    assert [row_id for row_id, _, _ in live_lineage(after)] == [2, 3]
    record = after.transaction
    assert (record.kind, record.row_ids, record.fields, record.files_added) == ("delete", (), (), ())
    assert record.fragments_added == ()


def test_rows_are_deleted_once_however_often_they_are_named() -> None:
    after = made(create(3), delete({0: [1]}), delete({0: [1, 2]}))
    assert after.fragments[0].deleted.tolist() == [1, 2]
    assert after.live_rows == 1


def test_a_fragment_without_a_live_row_is_not_kept() -> None:
    after = made(create(3, 2), delete({0: [0, 2]}), delete({0: [1]}))
    assert [one.id for one in after.fragments] == [1]
    assert counters(after) == (5, 4, 2)
    emptied = apply(after, delete({1: [0, 1]}), STAMP)
    assert (emptied.fragments, emptied.rows, emptied.live_rows) == ((), 0, 0)
    assert apply(emptied, append(1), STAMP).fragments[0].runs == fresh(5, 1, 5)


def test_rows_and_fragments_that_are_not_there_are_not_deleted() -> None:
    with pytest.raises(InvalidInput, match="row 3 of fragment 0 with 3 rows"):
        made(create(3), delete({0: [1, 3]}))
    with pytest.raises(InvalidInput, match="row -1 of fragment 0"):
        made(create(3), delete({0: [-1, 1]}))
    with pytest.raises(NotFound):
        made(create(3), delete({1: [0]}))


def test_rows_written_anew_keep_their_ids_and_the_version_that_made_them() -> None:
    base = made(create(3), append(2))
    after = apply(base, update(base, {0: [0, 2], 1: [1]}), STAMP)
    assert live_lineage(after) == [(1, 1, 1), (3, 2, 2), (0, 1, 3), (2, 1, 3), (4, 2, 3)]
    assert counters(after) == (5, 4, 3)
    record = after.transaction
    assert (record.kind, record.row_ids, record.fields, record.fragments_added) == ("update", (), ((0, 1),), (2,))
    assert record.files_added == (after.fragments[2].files[0].path,)


def test_a_merge_brings_rows_with_fresh_ids_beside_those_written_anew() -> None:
    base = made(create(3))
    merge = update(base, {0: [2]}, kind="merge_insert", inserted=(new_fragment(2), new_fragment(1)))
    after = apply(base, merge, STAMP)
    assert live_lineage(after) == [(0, 1, 1), (1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 2, 2), (5, 2, 2)]
    assert (after.transaction.kind, after.transaction.row_ids) == ("merge_insert", ((3, 6),))
    assert counters(after) == (6, 4, 4)


def test_rows_are_written_anew_with_the_fields_of_the_table() -> None:
    base = made(create(3), DropColumns((2,)))
    gone = replace(update(base, {0: [1]}), field_ids=(0, 1, 2, 3))
    with pytest.raises(InvalidInput, match="no longer in the table"):
        apply(base, gone, STAMP)


def test_a_column_written_anew_takes_the_place_of_the_old_one() -> None:
    base = made(create(3), delete({0: [1]}))
    after = apply(base, update_column(base, 0, [2], field_id=2), STAMP)
    (one,) = after.fragments
    old, new = one.files
    assert (old.fields, new.fields) == (((0, 2), (-1, 1), (3, 1)), ((2, 1),))
    assert [field_id for field_id, _ in old.stats] == [0, 1, 3]
    assert one.locate(2) == (new, 0)
    assert live_lineage(after) == [(0, 1, 1), (2, 1, 3)]
    assert one.deleted.tolist() == [1]
    record = after.transaction
    assert (record.fields, record.files_added, record.fragments_added) == (((2, 3),), (new.path,), ())


def test_a_file_of_which_no_column_is_left_is_not_named() -> None:
    base = made(create(3))
    wider = apply(base, add_column(base), STAMP)
    after = apply(wider, update_column(wider, 0, [0], field_id=4), STAMP)
    assert [file.fields for file in after.fragments[0].files] == [((0, 4),), ((4, 1),)]
    assert after.fragments[0].files[0] == base.fragments[0].files[0]
    assert after.fragments[0].files[1].path == after.transaction.files_added[0]


def test_a_column_of_other_rows_than_the_fragment_is_refused() -> None:
    base = made(create(3))
    columns = replace(update_column(base, 0, [0]).columns[0], files=(new_file(2, 1),))
    with pytest.raises(InvalidInput, match="rows"):
        apply(base, ChangeRows("update", columns={0: columns}, changes=(0,)), STAMP)


def test_compacted_rows_stand_where_the_first_of_them_stood() -> None:
    base = made(create(3, 2, 1), append(4), delete({0: [0], 1: [1]}))
    after = apply(base, compact(base, [0, 1]), STAMP)
    assert live_lineage(after) == live_lineage(base)
    assert [one.id for one in after.fragments] == [4, 2, 3]
    assert after.fragments[0].deletions is None
    assert (after.rows, after.live_rows) == (8, 8)
    record = after.transaction
    assert (record.kind, record.row_ids, record.fields, record.fragments_added) == ("compact", (), (), (4,))
    assert counters(after) == (10, 4, 5)


def test_each_group_of_a_compaction_gets_fragments_of_its_own() -> None:
    base = made(create(1, 1, 1, 1))
    after = apply(base, compact(base, [0, 1], [2, 3]), STAMP)
    assert [one.id for one in after.fragments] == [4, 5]
    assert live_lineage(after) == live_lineage(base)


def test_a_group_that_changed_is_left_as_it_is() -> None:
    base = made(create(1, 2, 1, 1))
    plan = compact(base, [0, 1], [2, 3])
    for change in (delete({1: [0]}), update_column(base, 1, [0]), delete({0: [0]})):
        newer = apply(base, change, STAMP)
        after = apply(newer, plan, STAMP)
        assert live_lineage(after) == live_lineage(newer)
        assert after.fragments[:-1] == newer.fragments[:-2]
        assert after.transaction.fragments_added == (4,)


def test_a_compaction_may_hold_dropped_fields_and_lacks_none_of_the_table() -> None:
    base = made(create(3))
    plan = compact(base, [0])
    dropped = apply(base, DropColumns((1,)), STAMP)
    assert apply(dropped, plan, STAMP).fragments[0].files[0].field_ids == (0, 1, 2, 3)
    group = RewrittenGroup(base.fragments, (rewritten(base, {0: [0, 1, 2]}, updated=False),))
    short = Rewrite((replace(group, new=(replace(group.new[0], files=(new_file(3, 2),)),)),), (0, 3))
    with pytest.raises(InvalidInput, match="hold the field 1"):
        apply(base, short, STAMP)
    assert apply(dropped, short, STAMP).fragments[0].files[0].field_ids == (0, 3)
    with pytest.raises(InvalidInput, match="never"):
        apply(dropped, replace(short, field_ids=(0, 4)), STAMP)


def test_changes_of_rows_need_a_table() -> None:
    base = made(create(3))
    for change in (delete({0: [0]}), update(base, {0: [0]}), compact(base, [0])):
        with pytest.raises(InvalidInput):
            apply(None, change, STAMP)


def test_new_rows_may_follow_rows_written_anew() -> None:
    base = made(create(4, 3), append(2))
    moved = rewritten(base, {0: [1, 3], 1: [2]}, updated=True)
    [file] = moved.files
    change = ChangeRows("merge_insert", {0: np.array([1, 3]), 1: np.array([2])})
    mixed = NewFragment((replace(file, rows=5),), moved.lineage)
    ids = tuple(field.id for field in base.schema.fields)
    after = apply(base, replace(change, fragments=(mixed, new_fragment(2)), field_ids=ids), STAMP)
    first, second = after.fragments[-2:]
    assert first.runs.row_ids.tolist() == [[1, 2], [3, 4], [6, 7], [9, 11]]
    assert first.runs.created.tolist() == [[1, 3], [3, 2]]
    assert first.runs.updated.tolist() == [[3, 5]]
    assert second.runs.row_ids.tolist() == [[11, 13]]
    assert (after.next_row_id, after.transaction.row_ids) == (13, ((9, 13),))


def test_ids_of_new_rows_may_go_on_where_those_of_rows_written_anew_end() -> None:
    base = made(create(4))
    moved = rewritten(base, {0: [3]}, updated=True)
    mixed = NewFragment((replace(moved.files[0], rows=2),), moved.lineage)
    change = ChangeRows("merge_insert", {0: np.array([3])}, fragments=(mixed,))
    after = apply(base, replace(change, field_ids=tuple(field.id for field in base.schema.fields)), STAMP)
    assert after.fragments[-1].runs.row_ids.tolist() == [[3, 5]]
    assert after.transaction.row_ids == ((4, 5),)


def test_a_lineage_of_more_rows_than_there_are_is_refused() -> None:
    base = made(create(4))
    moved = rewritten(base, {0: [1, 3]}, updated=True)
    short = NewFragment((replace(moved.files[0], rows=1),), moved.lineage)
    ids = tuple(field.id for field in base.schema.fields)
    with pytest.raises(InvalidInput, match="lineage of 2 rows for 1"):
        apply(base, ChangeRows("update", {0: np.array([1, 3])}, fragments=(short,), field_ids=ids), STAMP)
