from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lance_like.errors import InvalidInput
from lance_like.query.projection import place_leaves, project
from lance_like.table.fragment import DEAD, DataFile, Fragment, runs_of
from lance_like.table.lineage import Lineage, fresh
from lance_like.table.schema import Schema

TABLE = pa.schema(
    [
        pa.field("a", pa.int64(), nullable=False, metadata={"k": "v"}),
        ("s", pa.struct([("x", pa.string()), ("y", pa.struct([("z", pa.bool_())]))])),
        ("s.x", pa.int8()),
    ],
    metadata={"of": "all"},
)


@st.composite
def files_of_fields(draw: st.DrawFn) -> list[list[int]]:
    """What the columns of some files hold: ids below 30, each once at most, and dead columns."""
    ids = draw(st.permutations(range(30)))[: draw(st.integers(0, 30))]
    cuts = sorted(draw(st.lists(st.integers(0, len(ids)), max_size=3)))
    files = [ids[start:end] for start, end in zip([0, *cuts], [*cuts, len(ids)], strict=True)]
    return [[field_id if field_id % 7 else DEAD for field_id in held] for held in files]


@given(files_of_fields(), st.sets(st.integers(0, 30)))
def test_every_leaf_is_placed_where_its_fragment_holds_it(files: list[list[int]], wanted: set[int]) -> None:
    held = tuple(DataFile("data/x.lnl", 1, 0, 3, runs_of(ids)) for ids in files)
    fragment = Fragment(0, 3, held, Lineage.of(fresh(0, 3, 1)))
    placement = place_leaves({field_id: pa.int8() for field_id in wanted}, [file.fields for file in held])
    placed = {
        field_id: (file.file, column)
        for file in placement.files
        for field_id, column in zip(file.field_ids, file.columns, strict=True)
    }
    assert all(kind == pa.int8() for file in placement.files for kind in file.kinds)
    for field_id in wanted:
        place = fragment.locate(field_id)
        if place is None:
            assert placement.missing[field_id] == pa.int8()
        else:
            number, column = placed[field_id]
            assert (files[number][column], place[1]) == (field_id, column)
    assert len(placed) + len(placement.missing) == len(wanted)


def test_a_projection_has_the_fields_of_the_table_under_the_names_asked() -> None:
    table, _ = Schema.from_arrow(TABLE, 4)
    whole = project(table)
    assert whole.schema.equals(TABLE, check_metadata=True)
    assert whole.leaves == dict(zip(range(4, 10), (f.type for f in table.fields), strict=True))
    some = project(table, ["s.y.z", "s.x", "s.y", "a", "_rowid", "s"])
    assert some.schema.names == ["s.y.z", "s.x", "s.y", "a", "_rowid", "s"]
    assert some.schema.field("s.x").type == pa.int8()
    assert some.schema.field("s").equals(TABLE.field("s"))
    assert some.schema.field("a").equals(TABLE.field("a"), check_metadata=True)
    assert set(some.leaves) == {4, 5, 6, 7, 8, 9}
    with pytest.raises(InvalidInput, match="twice"):
        project(table, ["a", "s", "a"])
