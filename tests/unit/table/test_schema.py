from __future__ import annotations

import struct

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from table_values import SCHEMA

from lance_like.errors import Corrupt, InvalidInput, NotFound
from lance_like.table.envelope import pack_envelope, unpack_envelope
from lance_like.table.fields import Alteration
from lance_like.table.schema import RESERVED_NAMES, Schema, join_path, split_path
from lance_like.table.schema_part import decode_schema, encode_schema

TYPES = st.recursive(
    st.sampled_from([pa.int8(), pa.float64(), pa.string(), pa.bool_(), pa.timestamp("us", "UTC"), pa.date32()]),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(lambda kind: pa.list_(kind, 3)),
        st.lists(st.tuples(st.text(max_size=3), inner, st.booleans()), max_size=3, unique_by=lambda f: f[0]).map(
            lambda fields: pa.struct([pa.field(*field) for field in fields])
        ),
    ),
    max_leaves=5,
)
METADATA = st.dictionaries(st.binary(max_size=4), st.binary(max_size=4), max_size=2)
SCHEMAS = st.builds(
    lambda fields, metadata: pa.schema([pa.field(*field) for field in fields], metadata or None),
    st.lists(
        st.tuples(st.text(max_size=4), TYPES, st.booleans(), METADATA), max_size=4, unique_by=lambda field: field[0]
    ),
    METADATA,
)


@given(SCHEMAS, st.integers(0, 1000))
def test_a_schema_comes_back_from_its_bytes(arrow: pa.Schema, first_id: int) -> None:
    schema, next_id = Schema.from_arrow(arrow, first_id)
    assert decode_schema(encode_schema(schema), "here") == schema
    assert schema.to_arrow().equals(arrow, check_metadata=True)
    assert [field.id for field in schema.fields] == list(range(first_id, next_id))


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4).map(tuple))
def test_a_joined_path_splits_into_its_names(names: tuple[str, ...]) -> None:
    assert split_path(join_path(names)) == names


def test_find_prefers_the_exact_name_then_the_path() -> None:
    arrow = pa.schema([("a", pa.struct([("b", pa.int8()), ("c.d", pa.int8())])), ("a.b", pa.int8()), ("", pa.int8())])
    schema, _ = Schema.from_arrow(arrow, 0)
    assert schema.find("a.b").id == 3
    assert schema.find(("a", "b")).id == 1
    assert schema.find("a.`c.d`").id == 2
    assert schema.find("`a.b`").id == 3
    assert schema.find("").id == 4
    assert schema.path(2) == ("a", "c.d")


@pytest.mark.parametrize("path", ["s.z", "z", "a.x", "s.x.y", "`s", "s.`x`y", ()])
def test_find_names_the_nearest_columns(path: str | tuple[str, ...]) -> None:
    schema, _ = Schema.from_arrow(SCHEMA, 0)
    with pytest.raises(NotFound, match="does not exist"):
        schema.find(path)
    with pytest.raises(NotFound, match="'status'"):
        Schema.from_arrow(pa.schema([("status", pa.int8())]), 0)[0].find("statsu")


@pytest.mark.parametrize("path", [None, 3, b"a", ["a"]])
def test_find_refuses_what_is_no_name(path: object) -> None:
    with pytest.raises(InvalidInput, match="names no column"):
        Schema.from_arrow(SCHEMA, 0)[0].find(path)  # type: ignore[arg-type]


def test_reserved_and_repeated_names_are_refused() -> None:
    for name in RESERVED_NAMES:
        with pytest.raises(InvalidInput, match="reserved"):
            Schema.from_arrow(pa.schema([(name, pa.int8())]), 0)
    inner = pa.struct([("_rowid", pa.int8())])
    Schema.from_arrow(pa.schema([("s", inner)]), 0)
    for kind in (pa.schema([("a", pa.int8())] * 2), pa.schema([("s", pa.struct([("b", pa.int8())] * 2))])):
        with pytest.raises(InvalidInput, match="two columns"):
            Schema.from_arrow(kind, 0)


def test_a_schema_evolves_without_using_an_id_twice() -> None:
    schema, next_id = Schema.from_arrow(SCHEMA, 0)
    more, added = schema.extended(pa.schema([("n", pa.struct([("m", pa.int8())]))]), next_id)
    assert [(f.id, f.name, f.parent_id) for f in more.fields[4:]] == [(4, "n", -1), (5, "m", 4)]
    assert added == (4, 5)
    assert [f.name for f in more.without([1]).fields] == ["a", "n", "m"]
    assert more.altered({2: Alteration("z"), 0: Alteration("b")}, {}).find("s.z").id == 2
    assert [f.id for f in more.project([3, 4]).fields] == [1, 3, 4, 5]
    assert more.subtree(1) == (1, 2, 3)
    with pytest.raises(InvalidInput, match=r"two columns 's\.y'"):
        more.altered({2: Alteration("y")}, {})
    with pytest.raises(InvalidInput, match="no field left"):
        more.without([2, 3])
    with pytest.raises(InvalidInput, match="no field left"):
        more.without([0, 1, 4])
    with pytest.raises(NotFound):
        more.without([99])


def sum32(data: bytes) -> int:
    return xxhash.xxh3_64_intdigest(data) & 0xFFFFFFFF


def test_one_field_is_read_by_range_and_checked_alone() -> None:
    schema, _ = Schema.from_arrow(SCHEMA, 7)
    body = unpack_envelope(b"LLSC", encode_schema(schema), "here")
    count, kinds, names_nbytes, kinds_nbytes, metadata_nbytes, *sums = struct.unpack_from("<IIIIIIII", body)
    kinds_at = 32 + 28 * count
    kind_records = body[kinds_at : kinds_at + 12 * kinds]
    metadata_at = kinds_at + 12 * kinds + names_nbytes + kinds_nbytes
    metadata = body[metadata_at:]
    assert len(metadata) == metadata_nbytes
    assert sums == [sum32(metadata), sum32(kind_records), sum32(body[:28])]
    record = body[32 + 2 * 28 : 32 + 3 * 28]
    field_id, parent, hashed, offset, length, number, checksum = struct.unpack("<iiIIIII", record)
    name = body[offset : offset + length]
    assert (count, field_id, parent, name, hashed) == (4, 9, 8, b"x", sum32(b"x"))
    assert checksum == sum32(record[:24] + name)
    offset, length, checksum = struct.unpack_from("<III", kind_records, 12 * number)
    text = body[offset : offset + length]
    assert text == b'{"type":"string","nullable":true}'
    assert checksum == sum32(text)


def test_equal_kinds_are_stored_once_and_others_kept_apart() -> None:
    item = pa.list_(pa.field("item", pa.int8(), metadata={"k": "v"}))
    kinds = [pa.int8(), pa.int8(), pa.list_(pa.int8()), item, pa.list_(pa.int8()), pa.int8()]
    fields = [pa.field(f"c{i}", kind, nullable=i != 5) for i, kind in enumerate(kinds)]
    arrow = pa.schema([*fields, pa.field("m", pa.int8(), metadata={"k": "v"})])
    part = encode_schema(Schema.from_arrow(arrow, 0)[0])
    assert struct.unpack_from("<II", part, 16) == (7, 5)
    assert decode_schema(part, "here").to_arrow().equals(arrow, check_metadata=True)


WIDE = pa.schema(
    [(f"c{i}", pa.int64()) for i in range(500)]
    + [("s", pa.struct([("x", pa.string()), ("é", pa.struct([("z", pa.bool_())]))])), ("a.b", pa.int8())]
)


def test_a_field_is_found_whether_few_or_many_were_asked_for() -> None:
    schema, _ = Schema.from_arrow(WIDE, 3)
    part = encode_schema(schema)
    few, many = decode_schema(part, "here"), decode_schema(part, "here")
    assert many.fields == schema.fields
    for read in (few, many):
        assert read.find("c7") == schema.find("c7")
        assert read.find("a.b").id == read.find(("a.b",)).id == 507
        assert read.find("s.é.z") == schema.find("s.é.z")
        assert [field.name for field in read.children(503)] == ["x", "é"]
        assert read.children(504) == ()
        assert read.arrow_field(503).equals(WIDE.field("s"))
        assert read.field(10).name == "c7"
        assert read.missing([2, 3, 507, 508]) == [2, 508]
        for path in ("C7", "s.e", "s.é.z.y", "c7.x"):
            with pytest.raises(NotFound):
                read.find(path)
    assert [few.find(f"c{i}").id for i in range(500)] == list(range(3, 503))
    assert few.to_arrow().equals(WIDE)


def test_one_column_of_many_is_found_without_reading_the_others() -> None:
    body = bytearray(unpack_envelope(b"LLSC", encode_schema(Schema.from_arrow(WIDE, 0)[0]), "here"))
    names_at = body.index(b"c0c1c2")
    body[names_at] ^= 1
    schema = decode_schema(pack_envelope(b"LLSC", bytes(body)), "here")
    assert schema.find("c7").id == 7
    for ask in (lambda: schema.field(0), lambda: schema.find("c0"), lambda: schema.fields, lambda: schema.to_arrow()):
        with pytest.raises(Corrupt, match="hash of the name"):
            ask()


def test_columns_in_any_order_of_ids_are_found() -> None:
    first, next_id = Schema.from_arrow(SCHEMA, 5)
    second, _ = Schema.from_arrow(pa.schema([("n", pa.int8())]), 2)
    moved = decode_schema(encode_schema(Schema.of(first.fields + second.fields, {})), "here")
    assert [moved.field(i).name for i in (2, 5, 6, 7, 8)] == ["n", "a", "s", "x", "y"]
    assert moved.missing(range(next_id + 1)) == [0, 1, 3, 4, 9]
    assert moved.source.greatest_id == 8


@pytest.mark.parametrize("place", [*range(32), *range(-2, 0)])
def test_the_head_and_the_metadata_have_checksums_of_their_own(place: int) -> None:
    schema, _ = Schema.from_arrow(SCHEMA, 7)
    body = bytearray(unpack_envelope(b"LLSC", encode_schema(schema), "here"))
    body[place] ^= 1
    with pytest.raises(Corrupt):
        decode_schema(pack_envelope(b"LLSC", bytes(body)), "here")


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_body_under_a_right_envelope_is_refused_or_harmless(data: st.DataObject) -> None:
    schema, _ = Schema.from_arrow(SCHEMA, 7)
    body = bytearray(unpack_envelope(b"LLSC", encode_schema(schema), "here"))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode_schema(pack_envelope(b"LLSC", bytes(body)), "here")
        assert [read.find(read.path(field.id)) for field in read.fields] == list(read.fields)
        read.to_arrow()
    except Corrupt as error:
        assert error.where == "here"
    except NotImplementedError:
        pass
