"""Schemas as JSON, in the words of Lance."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from lance_like.errors import InvalidInput, Unsupported
from lance_like.schema import json_to_schema, schema_to_json

# What pylance 14 writes.
WRITTEN: dict[str, tuple[pa.DataType, Any]] = {
    "float16": (pa.float16(), {"type": "halffloat"}),
    "float32": (pa.float32(), {"type": "float"}),
    "date64": (pa.date64(), {"type": "date64:ms"}),
    "time32": (pa.time32("s"), {"type": "time32:s"}),
    "time64": (pa.time64("ns"), {"type": "time64:ns"}),
    "duration": (pa.duration("ms"), {"type": "duration:ms"}),
    "timestamp": (pa.timestamp("ns"), {"type": "timestamp:ns:-"}),
    "zoned": (pa.timestamp("ms", "+01:00"), {"type": "timestamp:ms:+01:00"}),
    "decimal128": (pa.decimal128(5, -2), {"type": "decimal:128:5:-2"}),
    "decimal256": (pa.decimal256(40, 2), {"type": "decimal:256:40:2"}),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), {"type": "dict:string:int8:false"}),
    "bytes": (pa.binary(4), {"type": "fixed_size_binary", "length": 4}),
    "vector": (
        pa.list_(pa.field("x", pa.int8(), False), 3),
        {
            "type": "fixed_size_list",
            "fields": [{"name": "x", "type": {"type": "int8"}, "nullable": False}],
            "length": 3,
        },
    ),
    "nested": (
        pa.struct([("a", pa.large_list(pa.bool_()))]),
        {
            "type": "struct",
            "fields": [
                {
                    "name": "a",
                    "type": {
                        "type": "large_list",
                        "fields": [{"name": "item", "type": {"type": "bool"}, "nullable": True}],
                    },
                    "nullable": True,
                }
            ],
        },
    ),
}


@pytest.mark.parametrize("case", sorted(WRITTEN))
def test_types_have_the_words_of_lance(case: str) -> None:
    kind, expected = WRITTEN[case]
    schema = pa.schema([pa.field("f", kind, False)])
    assert schema_to_json(schema) == {"fields": [{"name": "f", "type": expected, "nullable": False}]}
    assert json_to_schema(json.loads(json.dumps(schema_to_json(schema)))) == schema


def test_metadata_travels_along() -> None:
    schema = pa.schema([pa.field("f", pa.int8(), metadata={"unit": "m"})], {"origin": "here"})
    told = schema_to_json(schema)
    assert (told["metadata"], told["fields"][0]["metadata"]) == ({"origin": "here"}, {"unit": "m"})
    assert json_to_schema(told).equals(schema, check_metadata=True)
    with pytest.raises(InvalidInput, match="no text"):
        schema_to_json(pa.schema([], {b"k": b"\xff"}))


@pytest.mark.parametrize("kind", [pa.string_view(), pa.map_(pa.string(), pa.int8()), pa.month_day_nano_interval()])
def test_types_without_a_word_are_refused(kind: pa.DataType) -> None:
    with pytest.raises(Unsupported, match="no word"):
        schema_to_json(pa.schema([("f", pa.list_(kind))]))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"fields": [{"name": "f"}]},
        {"fields": 3},
        {"fields": [{"name": "f", "nullable": True, "type": {"type": "int9"}}]},
        {"fields": [{"name": "f", "nullable": True, "type": {"type": "decimal:64:3:1"}}]},
        {"fields": [{"name": "f", "nullable": True, "type": {"type": "time32:hours"}}]},
        {"fields": [{"name": "f", "nullable": True, "type": {"type": "list", "fields": []}}]},
    ],
)
def test_what_is_no_schema_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="no schema"):
        json_to_schema(wrong)
