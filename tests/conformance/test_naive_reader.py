"""The naive reader against every vector of format_spec/vectors and every worked example of the spec."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from naive_encodings import Float, PageDecoder, parse_json, parse_node, parse_type
from naive_reader import NaiveError, check_root, open_json, read_file, read_schema, sum64

SPEC = Path(__file__).parents[2] / "format_spec"
VECTORS = SPEC / "vectors"
FILES = sorted(p.parent.relative_to(VECTORS).as_posix() for p in VECTORS.glob("**/expected.json"))
ERRORS = sorted(p.parent.name for p in VECTORS.glob("errors/*/case.json"))


def load(name: str) -> tuple[dict, bytes]:
    return json.loads((VECTORS / name / "case.json").read_text()), (VECTORS / name / "data.lnl").read_bytes()


def as_vector(value):
    """Write a value of the naive reader as the vectors do, but every integer as a number."""
    if isinstance(value, Float):
        return value.bits[::-1].hex()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        sign, digits, _ = value.as_tuple()
        return (-1 if sign else 1) * int("".join(map(str, digits)))
    if isinstance(value, dict):
        return [as_vector(v) for v in value.values()]
    if isinstance(value, list | tuple):
        return [as_vector(v) for v in value]
    return value


def struct_values(field: dict, value):
    """Drop the names of (name, value) pairs, which stand for a struct whose names repeat."""
    names = [f["name"] for f in field["type"]["fields"]] if is_struct(field) else []
    return [v for _, v in value] if value is not None and len(set(names)) < len(names) else value


def is_struct(field: dict) -> bool:
    return isinstance(field["type"], dict) and field["type"]["t"] == "struct"


def as_numbers(kind, value):
    """Read the decimal texts of a vector as numbers."""
    name = kind if isinstance(kind, str) else kind["t"]
    if name == "extension":
        return as_numbers(kind["storage"], value)
    if value is None:
        return None
    if name == "dictionary":
        return as_numbers(kind["value"], value)
    if name == "struct":
        return [as_numbers(f["type"], v) for f, v in zip(kind["fields"], value, strict=True)]
    if name == "map":
        return [[as_numbers(f["type"], v) for f, v in zip(kind["fields"], row, strict=True)] for row in value]
    if "list" in name:
        return [as_numbers(kind["item"]["type"], v) for v in value]
    if name == "month_day_nano_interval":
        return [int(v) for v in value]
    if "string" in name or "binary" in name or "float" in name or name == "bool":
        return value
    return int(value)


def field_of(file, column) -> dict:
    """Give the field JSON of a column with its children inside, as a vector's schema has it."""
    children = [field_of(file, c) for c in file.columns if c.parent == column.number]
    return {**column.json, "type": {"t": "struct", "fields": children}} if is_struct(column.json) else column.json


def test_there_are_vectors():
    assert len(FILES) >= 30
    assert len(ERRORS) >= 100


@pytest.mark.parametrize("name", FILES)
def test_a_file_reads_as_expected(name):
    case, data = load(name)
    expected = json.loads((VECTORS / name / "expected.json").read_text())
    file = read_file(data)
    top = [c for c in file.columns if c.parent == -1]
    fields = [field_of(file, c) for c in top]
    assert file.num_rows == expected["num_rows"]
    assert fields == [known_members(f) for f in expected["schema"]["fields"]]
    assert file.json["metadata"] == expected["schema"]["metadata"]
    for column, field, values in zip(top, fields, expected["values"], strict=True):
        found = [as_vector(struct_values(field, v)) for v in file.rows_of(column)]
        assert found == [as_numbers(field["type"], v) for v in values], field["name"]
    if "zones" in expected:
        assert [zones_of(c) for c in file.columns] == expected["zones"]
    assert sorted({e for c in file.columns for e in c.encodings}) == case["encodings"]


def known_members(field: dict) -> dict:
    return field


def zones_of(column) -> dict:
    def row(zone) -> list:
        bounds = [None if b is None else b.hex() for b in (zone.minimum, zone.maximum)]
        return [zone.nulls, zone.nans, *bounds, zone.flags]

    return {"zone_rows": column.zone_rows, "width": column.zone_width, "entries": [row(z) for z in column.zones]}


@pytest.mark.parametrize("name", ERRORS)
def test_a_bad_file_is_refused(name):
    case, data = load(f"errors/{name}")
    with pytest.raises(NaiveError) as caught:
        read_file(data)
    assert {"class": caught.value.family, "kind": caught.value.kind} == case["error"]
