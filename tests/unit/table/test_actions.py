from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from table_values import COLUMNS, SCHEMA, add_column, append, create, new_file, new_fragment, overwrite

from lance_like.errors import InvalidInput, NotFound
from lance_like.table.actions import (
    AddColumns,
    Append,
    Create,
    DropColumns,
    NewFragment,
    RenameColumns,
    Replacement,
    Restore,
    Stamp,
    UpdateMetadata,
    apply,
    bound,
)
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
    assert (second.id, second.row_ids, second.created, second.updated) == (1, ((3, 5),), ((1, 2),), ((1, 2),))
    assert first.files[0].fields == ((0, 4),)
    assert [field_id for field_id, _ in first.files[0].stats] == [0, 1, 2, 3]
    record = version.transaction
    assert (record.kind, record.row_ids, record.fields) == ("create", ((0, 5),), ((0, 4),))
    assert record.files_added == tuple(f.files[0].path for f in version.fragments)
    assert version.row_starts.tolist() == [0, 3, 5]


def test_append_goes_on_counting() -> None:
    version = made(create(3), append(2, 4))
    assert counters(version) == (9, 4, 3)
    assert [f.row_ids for f in version.fragments] == [((0, 3),), ((3, 5),), ((5, 9),)]
    assert version.fragments[2].created == ((2, 4),)
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
    assert second.transaction.files_removed == first.transaction.files_added
    third = apply(second, Restore(first), STAMP)
    assert counters(third) == counters(second)
    assert (third.fragments, third.schema, third.version) == (first.fragments, first.schema, 3)
    assert third.transaction.source_version == 1
    assert third.transaction.files_added == first.transaction.files_added
    fourth = apply(third, append(1), STAMP)
    assert fourth.fragments[-1].row_ids == ((5, 6),)
    assert fourth.fragments[-1].id == 2


def test_add_columns_adds_a_file_to_each_fragment() -> None:
    base = made(create(3, 2))
    after = apply(base, add_column(base), STAMP)
    assert after.schema.find("n").id == 4
    assert [f.files[1].fields for f in after.fragments] == [((4, 1),)] * 2
    assert [f.files[0] for f in after.fragments] == [f.files[0] for f in base.fragments]
    assert [f.updated for f in after.fragments] == [f.updated for f in base.fragments]
    assert after.transaction.fields == ((4, 5),)
    assert len(after.transaction.files_added) == 2


def test_add_columns_without_files_reads_as_null() -> None:
    base = made(create(3))
    after = apply(base, AddColumns(pa.schema([("n", pa.int8())]), {}), STAMP)
    assert after.fragments == base.fragments
    with pytest.raises(InvalidInput, match="not nullable"):
        apply(base, AddColumns(pa.schema([pa.field("n", pa.int8(), False)]), {}), STAMP)


def test_add_columns_is_refused_when_it_misses_a_fragment_or_a_name_is_taken() -> None:
    base = made(create(3, 2))
    some = {0: (new_file(3, 1),)}
    with pytest.raises(InvalidInput, match="fragment 1"):
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
    renamed = apply(base, RenameColumns({2: "z"}), STAMP)
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
