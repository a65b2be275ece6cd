"""The naive reader against every vector of format_spec/vectors and every worked example of the spec."""

import ast
import json
import re
import struct
import sys
from pathlib import Path

import pytest
from forge import bitmap as forged_bitmap
from naive_encodings import PageDecoder, parse_node
from naive_fragments import from_base64, read_bitmap, unpack_lineage
from naive_json import FLOATS, as_vector
from naive_reader import NaiveError, check_root, open_json, read_file, read_schema, sum64
from naive_types import (
    parse_json,
    parse_type,
)

SPEC = Path(__file__).parents[2] / "format_spec"
VECTORS = SPEC / "vectors"
FILES = sorted(p.parent.name for p in VECTORS.glob("*/expected.json"))
ERRORS = sorted(p.parent.name for p in VECTORS.glob("errors/*/case.json"))


def field_of(file, column) -> dict:
    """Give the known members of a column's field JSON with its children inside, as the schema of a vector has it."""
    field = {k: v for k, v in column.json.items() if k in ("name", "type", "nullable", "metadata")}
    if column.field.type.name == "struct":
        children = [field_of(file, c) for c in file.columns if c.parent == column.number]
        field["type"] = {"t": "struct", "fields": children}
    return field


def zones_of(column) -> dict:
    """Write the zones of a column as expected.json does: -0.0 is 0.0 there."""

    def bound(value):
        zero = column.field.type.storage.name in FLOATS and value is not None and value.strip(b"\0") in (b"", b"\x80")
        return None if value is None else (bytes(len(value)) if zero else value).hex()

    entries = [[z.nulls, z.nans, bound(z.minimum), bound(z.maximum), z.flags] for z in column.zones]
    return {"zone_rows": column.zone_rows, "width": column.zone_width, "entries": entries}


def test_the_naive_reader_imports_nothing_that_could_know_the_answer():
    imported = set()
    for path in Path(__file__).parent.glob("naive_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    others = {name for name in imported if name not in sys.stdlib_module_names and not name.startswith("naive_")}
    assert others == {"xxhash", "zstandard"}


def test_there_are_vectors():
    assert len(FILES) >= 30
    assert len(ERRORS) >= 150


@pytest.mark.parametrize("name", FILES)
def test_a_vector_reads_as_expected(name):
    case = json.loads((VECTORS / name / "case.json").read_text("utf-8"))
    expected = json.loads((VECTORS / name / "expected.json").read_text("utf-8"))
    file = read_file((VECTORS / name / "data.lnl").read_bytes())
    top = [c for c in file.columns if c.parent == -1]
    fields = [field_of(file, c) for c in top]
    values = [[as_vector(f["type"], v) for v in file.rows_of(c)] for f, c in zip(fields, top, strict=True)]
    assert file.num_rows == expected["num_rows"]
    assert {"metadata": file.json["metadata"], "fields": fields} == expected["schema"]
    assert values == expected["values"]
    assert sorted({e for c in file.columns for e in c.encodings}) == case["encodings"]
    if "zones" in expected:
        assert [zones_of(c) for c in file.columns] == expected["zones"]


@pytest.mark.parametrize("name", ERRORS)
def test_a_bad_vector_is_refused(name):
    case = json.loads((VECTORS / "errors" / name / "case.json").read_text("utf-8"))
    with pytest.raises(NaiveError) as caught:
        read_file((VECTORS / "errors" / name / "data.lnl").read_bytes())
    assert {"class": caught.value.family, "kind": caught.value.kind} == case["error"]


def test_a_flipped_bit_is_refused_or_lies_outside_the_checksums():
    data = (VECTORS / "tiny" / "data.lnl").read_bytes()
    right = read_file(data).to_pydict()
    accepted = []
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        try:
            assert read_file(bytes(flipped)).to_pydict() == right
            accepted.append(at)
        except NaiveError:
            pass
    # Head and padding, see "Example worked to the byte" of file.md.
    assert accepted == [*range(64), *range(131, 192), *range(480, 512)]


def test_a_file_cut_anywhere_is_refused():
    data = (VECTORS / "tiny" / "data.lnl").read_bytes()
    for end in range(len(data)):
        for part in (data[:end], data[-end:] if end else b""):
            with pytest.raises(NaiveError):
                read_file(part)


# ---------------------------------------------------------------------------------------------- worked examples

INT32_LIST = {"t": "list", "item": {"name": "item", "type": "int32", "nullable": True}}
PAIRS = {"t": "fixed_size_list", "size": 2, "item": {"name": "item", "type": "int8", "nullable": True}}
STRUCTS = parse_json(
    b'{"t":"list","item":{"name":"item","nullable":true,"type":{"t":"struct","fields":['
    b'{"name":"x","type":"int64","nullable":true},{"name":"y","type":"bool","nullable":true}]}}}'
)
MAP = parse_json(
    b'{"t":"map","sorted":false,"fields":['
    b'{"name":"key","type":"string","nullable":false},{"name":"value","type":"int8","nullable":true}]}'
)
UNION = parse_json(
    b'{"t":"dense_union","codes":[5,2],"fields":['
    b'{"name":"i","type":"int8","nullable":true},{"name":"s","type":"string","nullable":true}]}'
)
WORDS = {"t": "dictionary", "index": "int32", "value": "string", "ordered": False}
EXAMPLES = {
    "plain.md": [("float32", [1.5, None, -0.0]), ("bool", [True, False, None, True, True, True, False, False, True])],
    "narrow.md": [("int32", [100000, 100001, None, 100700]), ("int64", [-3, -1, 250])],
    "bitpack.md": [("int32", [10 + (r + r // 8) % 8 for r in range(64)])],
    "constant.md": [
        ("int16", [7, 7, 7]),
        ("string", ["é", "é"]),
        ("string", ["", ""]),
        ("bool", [True, True]),
        ("int8", [None, None]),
    ],
    "dictionary.md": [("string", ["no", "yes", None, "no"] * 4), (WORDS, ["b", "a", None, "b"])],
    "variable.md": [("string", ["ab", None, "", "cde"])],
    "outlined.md": [("binary", [b"a", bytes(range(6)), None, b"a"])],
    "nested.md": [
        (INT32_LIST, [[1, None], None, [], [3]]),
        (MAP, [[("a", 1)], [("b", None), ("c", 3)]]),
        (PAIRS, [[1, None], [3, 4]]),
        (STRUCTS, [[{"x": 1, "y": True}, None], []]),
        (UNION, [(5, 7), (2, "ab"), (5, None)]),
    ],
}


def examples_of(page: str) -> list[tuple[dict, bytes]]:
    """Give the descriptions of a page's examples, each with the bytes that stand below it."""
    text = (SPEC / "encodings" / page).read_text("utf-8").split("## Example worked to the byte")[1]
    found = []
    for block in re.findall(r"```\n(.*?)```", text, re.DOTALL):
        for at in [m.start() for m in re.finditer(r'(?<![\[,]\n  )(?<![\[,]\n    )(?<![\[,]){"e"', block)]:
            node, end = json.JSONDecoder().raw_decode(block[at:])
            data = bytearray()
            for line in block[at + end :].splitlines()[1:]:
                match = re.fullmatch(r" *(\d+)  ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  .*)?", line)
                if match:
                    data = data.ljust(int(match[1]), b"\0") + bytes.fromhex(match[2])
            found.append((node, bytes(data)))
    return found


@pytest.mark.parametrize("page", EXAMPLES)
def test_the_worked_examples_of_an_encoding_decode(page):
    examples = examples_of(page)
    for (described, data), (kind, values) in zip(examples, EXAMPLES[page], strict=True):
        node = parse_node(described, len(data))
        assert PageDecoder(data, b"", [1 << 16]).decode(node, parse_type(kind)) == values


TABLE = (SPEC / "table.md").read_text("utf-8")


def fenced(info: str) -> str:
    return re.search(f"```{info}\n(.*?)```", TABLE, re.DOTALL)[1]


def fenced_hex(info: str) -> bytes:
    return b"".join(bytes.fromhex(line[4:]) for line in fenced(info).splitlines())


def test_the_worked_example_of_a_table_decodes():
    schema, tag = fenced_hex("hex schema"), fenced_hex("hex tag")
    body = fenced("json root").replace("\n", "").encode()
    head = b"LLMF" + struct.pack("<IQ", 0, len(body))
    manifest = head + body + struct.pack("<Q", sum64(head + body))
    assert f"ends with the checksum `{manifest[-8:].hex(' ')}`" in TABLE
    root = open_json(manifest, b"LLMF")
    check_root("", root, 1)
    assert root["schema"][1:] == [len(schema), f"{sum64(schema):016x}"]
    fields, metadata = read_schema(schema, root["next_field_id"])
    assert [(f.id, f.parent, f.field.name, f.field.type.name) for f in fields] == [
        (0, -1, "a", "int64"),
        (1, -1, "s", "struct"),
        (2, 1, "x", "string"),
    ]
    assert metadata == []
    assert open_json(tag, b"LLTG")["manifest"] == f"{sum64(manifest):016x}"


def test_the_worked_examples_of_deleted_rows_and_of_a_lineage_decode():
    bitmap = bytes.fromhex(re.search("the 18 bytes `([0-9a-f ]+)`", TABLE)[1])
    example = TABLE.partition("## Example worked to the byte")[2]
    assert from_base64(re.search('"data":"([^"]+)"', example)[1]) == bitmap
    assert read_bitmap(bitmap, 1) == [1]
    ids, created, updated = unpack_lineage(fenced_hex("hex lineage"))
    assert (ids, created, updated) == ([[2, 3], [0, 2]], [[1, 3]], [[1, 1], [2, 2]])


@pytest.mark.parametrize(
    ("integers", "with_runs"),
    [
        ([0], ()),
        ([5, 6, 7, 9], (0,)),
        (range(4096), ()),
        (range(4097), ()),
        (range(0, 1 << 16, 2), ()),
        ([*range(10), *range(65_536, 65_546), 1 << 31], (0, 1)),
        ([i << 16 | 3 for i in range(9)], (2, 8)),
        (range(1 << 17), (0, 1)),
    ],
)
def test_bitmaps_of_every_container_decode(integers, with_runs):
    data = forged_bitmap(integers, with_runs)
    assert read_bitmap(data, len(integers)) == list(integers)
    for wrong in (data + b"\0", data[:-1], b""):
        with pytest.raises(NaiveError):
            read_bitmap(wrong, len(integers))
