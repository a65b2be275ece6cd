"""Every vector of format_spec/vectors/, read by the package's own reader."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from vector_json import schema_json, values_json

from lance_like import errors
from lance_like.file.carry import carried_type, present
from lance_like.file.columns import flatten, join
from lance_like.file.reader import FileReader, open_file
from lance_like.file.types import field_to_json
from lance_like.io.fetch import drive
from lance_like.io.local import LocalStore

VECTORS = Path(__file__).resolve().parents[2] / "format_spec" / "vectors"
INDEX = json.loads((VECTORS / "index.json").read_text())
KEY = "data.lnl"


class OpenVector:
    """One vector, open."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalStore(str(folder))
        self.reader: FileReader = self.run(open_file(KEY, self.store.size(KEY)))

    def run(self, conversation: Any) -> Any:
        return drive(self.store, KEY, conversation)

    def schema(self) -> pa.Schema:
        return self.run(self.reader.schema())

    def spans(self, start: int, end: int) -> list[pa.Array]:
        """Rows [start, end) of every top-level field."""
        return self._fields(lambda c, kind: _one(self.run(self.reader.read_span(c, kind, start, end)), kind))

    def rows(self, rows: list[int]) -> list[pa.Array]:
        """Some rows of every top-level field."""
        wanted = np.array(rows, np.int64)
        return self._fields(lambda c, kind: self.run(self.reader.read_rows(c, kind, wanted)))

    def _fields(self, read: Any) -> list[pa.Array]:
        schema = self.schema()
        columns = [read(c, column.type) for c, column in enumerate(flatten(schema))]
        rest = iter(columns)
        return [present(_assemble(field.type, rest), field.type) for field in schema]


def _assemble(kind: pa.DataType, columns: Any) -> pa.Array:
    own = next(columns)
    if not pa.types.is_struct(kind):
        return own
    return join(carried_type(kind), own, [_assemble(field.type, columns) for field in kind])


def _one(arrays: list[pa.Array], kind: pa.DataType) -> pa.Array:
    kind = carried_type(kind)
    arrays = arrays or [pa.array([], kind)]
    if len(arrays) == 1:
        return arrays[0]
    if pa.types.is_dictionary(kind):
        return pa.chunked_array(arrays).unify_dictionaries().combine_chunks()
    return pa.concat_arrays(arrays)


def expected_of(name: str) -> dict[str, Any]:
    return json.loads((VECTORS / name / "expected.json").read_text())


def test_vectors_are_those_of_the_index():
    found = {path.parent for path in VECTORS.rglob("data.lnl")}
    named = {VECTORS / name: entry for name, entry in INDEX["cases"].items()}
    named |= {VECTORS / "errors" / name: entry for name, entry in INDEX["errors"].items()}
    assert found == named.keys()
    for folder, entry in named.items():
        assert hashlib.sha256((folder / KEY).read_bytes()).hexdigest() == entry["sha256"], folder.name


@pytest.mark.parametrize("name", INDEX["cases"])
def test_scan_answers_what_was_written(name: str):
    vector, expected = OpenVector(VECTORS / name), expected_of(name)
    assert vector.reader.num_rows == expected["num_rows"]
    assert schema_json(vector.schema(), field_to_json) == expected["schema"]
    arrays = vector.spans(0, vector.reader.num_rows)
    for array in arrays:
        array.validate(full=True)
    assert [values_json(array) for array in arrays] == expected["values"]


@pytest.mark.parametrize("name", INDEX["cases"])
def test_take_answers_what_was_written(name: str):
    vector, expected = OpenVector(VECTORS / name), expected_of(name)
    n = expected["num_rows"]
    rows = [n - 1, 0, n // 2, n // 3, 0, n - 1] if n else []
    assert [values_json(a) for a in vector.rows(rows)] == [[column[r] for r in rows] for column in expected["values"]]


@pytest.mark.parametrize("name", INDEX["cases"])
def test_part_of_a_scan_answers_what_was_written(name: str):
    vector, expected = OpenVector(VECTORS / name), expected_of(name)
    start, end = expected["num_rows"] // 3, expected["num_rows"] * 2 // 3
    assert [values_json(a) for a in vector.spans(start, end)] == [column[start:end] for column in expected["values"]]


@pytest.mark.parametrize("name", [name for name in INDEX["cases"] if "zones" in expected_of(name)])
def test_zones_are_those_of_the_values(name: str):
    vector, expected = OpenVector(VECTORS / name), expected_of(name)
    for column, (part, stored) in enumerate(zip(flatten(vector.schema()), expected["zones"], strict=True)):
        zones = vector.run(vector.reader.zones(column, part.type))
        entries = stored["entries"][:-1]
        assert zones.rows.tolist() == _zone_sizes(expected["num_rows"], stored["zone_rows"])
        assert zones.nulls.tolist() == [entry[0] for entry in entries]
        assert zones.nans.tolist() == [entry[1] for entry in entries]
        for bounds, place in ((zones.mins, 2), (zones.maxs, 3)):
            assert [_bound_bytes(bound) for bound in bounds] == [entry[place] for entry in entries], part.name


def _zone_sizes(num_rows: int, zone_rows: int) -> list[int]:
    return [min(zone_rows, num_rows - start) for start in range(0, num_rows, zone_rows)]


def _bound_bytes(bound: pa.Scalar) -> str | None:
    """A bound in hexadecimal, as expected.json has it; -0.0 as 0.0, since either may stand for both."""
    if not bound.is_valid:
        return None
    if pa.types.is_boolean(bound.type):
        return f"{bound.as_py():02x}"
    if hasattr(bound, "as_buffer"):
        return bound.as_buffer().to_pybytes().hex()
    data = pa.repeat(bound, 1).buffers()[1].to_pybytes()[: bound.type.bit_width // 8]
    if pa.types.is_floating(bound.type) and bound.as_py() == 0:
        return bytes(len(data)).hex()
    return data.hex()


def read_everything(vector: OpenVector) -> None:
    """In the order that format_spec/vectors/README.md states for error vectors."""
    schema = vector.schema()
    for column, part in enumerate(flatten(schema)):
        vector.run(vector.reader.zones(column, part.type))
    vector.spans(0, vector.reader.num_rows)


@pytest.mark.parametrize("name", INDEX["errors"])
def test_a_broken_file_is_refused(name: str):
    expected = INDEX["errors"][name]["error"]
    with pytest.raises(errors.LanceLikeError) as caught:
        read_everything(OpenVector(VECTORS / "errors" / name))
    assert (type(caught.value).__name__, caught.value.kind) == (expected["class"], expected["kind"])


def test_the_worked_example_of_the_spec_is_the_vector():
    page = (VECTORS.parent / "file.md").read_text()
    block = page.partition("## Example worked to the byte")[2].split("```")[1]
    data = (VECTORS / "tiny" / KEY).read_bytes()
    lines = re.findall(r"^ *(\d+)  (?:((?:[0-9a-f]{2} +)*[0-9a-f]{2})(?: |$)|(\{.*?\})(?: {2}|$))", block, re.M)
    assert len(lines) > 40
    for offset, digits, text in lines:
        stated = bytes.fromhex(digits) if digits else text.encode()
        assert data[int(offset) :][: len(stated)] == stated, f"byte {offset}"
