"""Arrow types as JSON and back, and what is no type."""

from __future__ import annotations

import base64
import json

import pyarrow as pa
import pytest
from arrow_values import TYPES
from wrong_json import changed, members

from lance_like.errors import Corrupt, Unsupported
from lance_like.file.types import (
    MAX_DEPTH,
    field_from_json,
    field_to_json,
    is_stored_as,
    metadata_from_json,
    metadata_to_json,
    type_from_json,
    type_to_json,
)
from lance_like.typing_ import Json

MORE = (
    *(pa.timestamp("ns", "no such zone"), pa.timestamp("ms", ""), pa.duration("ns"), pa.decimal128(1, 0)),
    *(pa.decimal256(76, 76), pa.map_(pa.string(), pa.int8(), keys_sorted=True), pa.binary(2**31 - 1), pa.struct([])),
    pa.struct(
        [pa.field("a", pa.int8(), nullable=False, metadata={"k": "v", "": "\0"}), ("a", pa.string()), ("", pa.bool_())]
    ),
    pa.list_(pa.field("named", pa.dictionary(pa.int8(), pa.timestamp("s")), nullable=False)),
)


@pytest.mark.parametrize("kind", [*TYPES, *MORE], ids=str)
def test_a_type_comes_back_from_its_json(kind: pa.DataType) -> None:
    field = pa.field("né.\0", kind, kind == pa.null(), {b"\xff": b"\x00", b"k": b""})
    assert type_from_json(json.loads(json.dumps(type_to_json(kind)))) == kind
    assert field_from_json(json.loads(json.dumps(field_to_json(field)))).equals(field, check_metadata=True)


UNIONS_WITHOUT_A_NAME = (
    pa.sparse_union([]),
    pa.dense_union([pa.field("a", pa.int8())], [-1]),
    pa.sparse_union([pa.field("a", pa.int8()), pa.field("b", pa.int8())], [5, 5]),
)


@pytest.mark.parametrize("kind", UNIONS_WITHOUT_A_NAME, ids=str)
def test_a_type_without_a_name_is_refused(kind: pa.DataType) -> None:
    for field in (pa.field("c", kind), pa.field("c", pa.struct([("x", pa.list_(kind))]))):
        with pytest.raises(Unsupported, match="cannot be stored") as caught:
            type_to_json(field.type)
        assert caught.value.kind == "type"


def nested(depth: int) -> pa.DataType:
    kind = pa.int8()
    for level in range(depth):
        kind = pa.list_(kind) if level % 2 else pa.struct([("x", kind)])
    return kind


def test_what_is_too_deep_is_refused_before_it_is_written() -> None:
    assert type_from_json(type_to_json(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 300):
        with pytest.raises(Unsupported) as caught:
            type_to_json(nested(depth))
        assert caught.value.kind == "limit"


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 900])
def test_what_is_too_deep_is_refused_when_read(depth: int) -> None:
    body: Json = "int8"
    for _ in range(depth):
        body = {"t": "list", "item": {"name": "", "type": body, "nullable": True}}
    with pytest.raises(Corrupt) as caught:
        type_from_json(body)
    assert caught.value.kind == "limit"


def test_an_unknown_name_is_named() -> None:
    for body in ("int7", {"t": "int7"}, {"t": "list", "item": {"name": "", "type": "int7", "nullable": True}}):
        with pytest.raises(Unsupported, match="int7"):
            type_from_json(body)


def test_an_unknown_extension_is_its_storage_and_keeps_its_name() -> None:
    body = {"t": "extension", "name": "my.own", "data": base64.b64encode(b"\xff").decode(), "storage": "int8"}
    assert type_from_json(body) == pa.int8()
    field = field_from_json({"name": "x", "type": body, "nullable": True})
    assert field.type == pa.int8()
    assert field.metadata == {b"ARROW:extension:name": b"my.own", b"ARROW:extension:metadata": b"\xff"}


def test_metadata_may_be_any_bytes() -> None:
    metadata = {bytes(range(256)): b"", b"": b"\xff"}
    assert metadata_from_json(json.loads(json.dumps(metadata_to_json(metadata)))) == metadata
    for bad in (None, 1, "x", {"a": "b"}, [["YQ=="]], [["YQ==", "!"]], [[1, 2]], [["YQ==", "YQ==", "YQ=="]], {}, ""):
        with pytest.raises(Corrupt):
            metadata_from_json(bad)


ODD: list[Json] = [
    *(None, True, -1, 0, 1, 2**31, 2**53, 2**70, 1.5, float("nan"), "", "x", "int8", "ns", "arrow.uuid", "\ud800"),
    *([], [[]], [["YQ==", "YQ=="]], {}, {"t": "list"}, {"t": 5}, {"t": "struct", "fields": []}),
    *(base64.b64encode(text).decode() for text in (b'{"shape":[-1]}', b"\xff")),
]
if int(pa.__version__.split(".")[0]) >= 24:  # before, Arrow takes this permutation and crashes when it prints the type
    ODD.append(base64.b64encode(b'{"shape":[2,3],"permutation":[9,9]}').decode())


@pytest.mark.parametrize("kind", [*TYPES, *MORE[:4]], ids=str)
def test_a_wrong_member_is_refused_or_another_type(kind: pa.DataType) -> None:
    for body, read in (
        (type_to_json(kind), type_from_json),
        (field_to_json(pa.field("x", kind, metadata={"a": "b"})), field_from_json),
    ):
        for path in members(body):
            for odd in [*ODD, ...] if path else ODD:
                try:
                    found = read(changed(body, path, odd))
                except (Corrupt, Unsupported) as error:
                    assert error.kind in ("type", "field", "metadata", "limit")
                else:
                    assert str(found)


class Bfloat16(pa.ExtensionType):
    """As pylance has it; Arrow has none."""

    def __init__(self) -> None:
        super().__init__(pa.binary(2), "test.bfloat16")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"kept"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Bfloat16:
        assert (storage_type, serialized) == (pa.binary(2), b"kept")
        return cls()


def test_a_user_s_extension_is_itself_where_it_is_known_and_its_storage_where_it_is_not() -> None:
    kind = pa.list_(Bfloat16())
    body = json.loads(json.dumps(type_to_json(kind)))
    assert type_from_json(body).value_type == pa.binary(2)
    assert is_stored_as(kind, type_from_json(body))
    assert not is_stored_as(kind, pa.list_(pa.binary(3)))
    pa.register_extension_type(Bfloat16())
    try:
        assert type_from_json(body) == kind
    finally:
        pa.unregister_extension_type("test.bfloat16")


def test_an_extension_of_an_extension_is_refused() -> None:
    class Outer(Bfloat16):
        def __init__(self) -> None:
            pa.ExtensionType.__init__(self, pa.uuid(), "outer")

    with pytest.raises(Unsupported, match="cannot be stored"):
        type_to_json(Outer())


def test_an_extension_of_dictionaries_in_dictionaries_is_itself() -> None:
    inner = pa.struct([("x", pa.dictionary(pa.int8(), pa.string()))])
    kind = pa.opaque(pa.dictionary(pa.int8(), pa.dictionary(pa.int16(), inner)), "kind", "vendor")
    assert type_from_json(json.loads(json.dumps(type_to_json(kind)))) == kind
