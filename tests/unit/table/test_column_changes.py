"""What changes of columns do to a schema and to the files of fragments."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from table_values import add_column, append, create, delete, new_file, recast, rename, replace_columns, small_table

from lance_like.errors import IncompatibleChange, InvalidInput, NotFound
from lance_like.table.actions import Action, AddColumns, AlterColumns, DropColumns
from lance_like.table.apply import Stamp, apply, bound
from lance_like.table.commit import commit
from lance_like.table.fields import Alteration
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema

STAMP = Stamp("0" * 32, 1, 0)
INTO_S = pa.schema([("z", pa.int8()), ("n", pa.struct([("m", pa.int8())]))])


def after(*actions: Action) -> Manifest:
    version: Manifest | None = None
    for action in actions:
        version = apply(version, bound(version, action), STAMP)
    assert version is not None
    return version


def shown(schema: Schema) -> list[tuple[int, int, str]]:
    return [(field.id, field.parent_id, field.name) for field in schema.fields]


def test_new_fields_stand_after_the_last_of_their_struct() -> None:
    base = after(create(3), add_column(after(create(3)), "last"))
    files = {0: (new_file(3, 3),)}
    made = after(create(3), add_column(base, "last"), AddColumns(INTO_S, files, parents=(1, -1)))
    assert shown(made.schema) == [
        *((0, -1, "a"), (1, -1, "s"), (2, 1, "x"), (3, 1, "y"), (5, 1, "z")),
        *((4, -1, "last"), (6, -1, "n"), (7, 6, "m")),
    ]
    assert made.fragments[0].files[2].fields == ((5, 3),)
    assert (made.next_field_id, made.transaction.fields) == (8, ((5, 8),))


@pytest.mark.parametrize(
    ("schema", "parents", "kind", "says"),
    [
        (pa.schema([("x", pa.int8())]), (1,), InvalidInput, r"two columns 's\.x'"),
        (pa.schema([("z", pa.int8())]), (0,), InvalidInput, "'a' is no struct"),
        (pa.schema([("z", pa.int8())]), (9,), NotFound, "id 9"),
        (pa.schema([pa.field("z", pa.int8(), False)]), (1,), InvalidInput, r"'s\.z' is not nullable"),
    ],
)
def test_a_field_that_its_struct_cannot_have_is_refused(schema, parents, kind, says) -> None:
    with pytest.raises(kind, match=says):
        after(create(3), AddColumns(schema, None, parents=parents))


def test_structs_are_nested_256_deep_at_most() -> None:
    base = after(create(1))
    for depth in range(1, 256):
        field_id = base.next_field_id - 1 if depth > 1 else 1
        base = apply(base, AddColumns(pa.schema([("d", pa.struct([]))]), None, parents=(field_id,)), STAMP)
    with pytest.raises(InvalidInput, match="deeper than 256"):
        apply(base, AddColumns(pa.schema([("d", pa.int8())]), None, parents=(base.next_field_id - 1,)), STAMP)


def test_a_field_below_a_new_struct_that_may_be_null_needs_no_values() -> None:
    kind = pa.struct([pa.field("m", pa.int8(), nullable=False)])
    assert after(create(3), AddColumns(pa.schema([("n", kind)]), None)).schema.find("n.m").nullable is False


def test_a_column_computed_from_no_rows_is_not_null_in_rows_that_come() -> None:
    store, full = small_table()
    base = commit(store, full, delete({0: [0, 1, 2], 1: [0, 1]}))
    commit(store, base, append(1))
    made = []

    def add(newest: Manifest) -> AddColumns:
        made.append(newest.version)
        return add_column(newest)

    assert commit(store, base, add).fragments[0].files[1].fields == ((4, 1),)
    assert made == [base.version, base.version + 1]


def test_an_alteration_changes_name_nullability_and_type_at_once() -> None:
    base = after(create(3))
    change = {
        0: Alteration("key", nullable=False, type=pa.int32()),
        2: Alteration(nullable=False),
        3: Alteration(type=pa.int64()),
    }
    made = apply(base, AlterColumns(change, {0: (new_file(3, 2),)}), STAMP)
    assert made.schema.to_arrow() == pa.schema(
        [
            pa.field("key", pa.int32(), False),
            ("s", pa.struct([pa.field("x", pa.string(), False), ("y", pa.int64())])),
        ]
    )
    assert shown(made.schema) == [(4, -1, "key"), (1, -1, "s"), (2, 1, "x"), (5, 1, "y")]
    old, new = made.fragments[0].files
    assert (old.fields, new.fields) == (((-1, 1), (1, 2), (-1, 1)), ((4, 2),))
    assert [field_id for field_id, _ in old.stats] == [1, 2]
    assert made.fragments[0].lineage == base.fragments[0].lineage
    assert made.transaction.fields == ((0, 1), (2, 6))


def test_a_fragment_without_the_column_needs_no_file_for_its_type() -> None:
    base = after(create(3), AddColumns(pa.schema([("n", pa.int8())]), None))
    wider = {4: Alteration(type=pa.int64())}
    assert apply(base, AlterColumns(wider, {0: ()}), STAMP).fragments == base.fragments
    with pytest.raises(InvalidInput, match="files for each fragment, also for 0"):
        apply(base, replace(recast(base, 0), files={0: ()}), STAMP)


def test_an_alteration_without_files_for_all_rows_is_refused() -> None:
    base = after(create(3, 2))
    with pytest.raises(InvalidInput, match="also for 1"):
        apply(base, replace(recast(base, 0), files={0: (new_file(3, 1),)}), STAMP)
    with pytest.raises(InvalidInput, match="need files"):
        apply(base, replace(recast(base, 0), files=None), STAMP)
    with pytest.raises(InvalidInput, match="'s' is a struct"):
        apply(base, recast(base, 1), STAMP)


def test_names_of_any_text_are_told_apart() -> None:
    base = after(create(3))
    made = apply(base, rename({0: "s.x", 1: "", 2: "ключ", 3: "a`b"}), STAMP)
    assert [field.id for field in map(made.schema.find, ("s.x", "", "``.ключ", "``.`a``b`"))] == [0, 1, 2, 3]


def test_replaced_columns_are_new_in_all_rows_of_their_fragments() -> None:
    base = after(create(3, 2))
    made = apply(base, replace_columns(base, [1], 3, 0), replace(STAMP, read_version=1))
    assert made.fragments[0] == base.fragments[0]
    assert [file.fields for file in made.fragments[1].files] == [((-1, 1), (1, 2), (-1, 1)), ((3, 1), (0, 1))]
    assert made.fragments[1].runs.updated.tolist() == [[2, 2]]
    assert made.fragments[1].runs.created.tolist() == [[1, 2]]
    with pytest.raises(InvalidInput, match="field 9"):
        apply(base, replace_columns(base, [1], 9), STAMP)


def test_replaced_columns_of_rows_that_were_all_deleted_are_gone_too() -> None:
    store, base = small_table()
    newer = commit(store, base, delete({1: [0, 1]}))
    assert commit(store, base, replace_columns(base, [1], 3)).fragments == newer.fragments


def test_columns_of_one_struct_are_added_and_dropped_side_by_side() -> None:
    store, base = small_table()
    commit(store, base, DropColumns((2,)))
    made = commit(store, base, AddColumns(pa.schema([("z", pa.int8())]), None, parents=(1,)))
    assert [field.name for field in made.schema.children(1)] == ["y", "z"]
    commit(store, made, DropColumns((1,)))
    with pytest.raises(IncompatibleChange):
        commit(store, made, AddColumns(pa.schema([("w", pa.int8())]), None, parents=(1,)))
