"""The files that a reader must refuse: one fault each, every checksum right unless the fault is a checksum.

The faults of the container are here, those of the encodings in bad_encodings.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from bad_encodings import PLAIN, VALUES, bad_encodings, int64_column
from handmade import Column, Edit, Page, make_file, put
from number_cases import bad_numbers
from vector_cases import BadCase

ENTRY, FENCES, RECORD, TAIL, ZONE = "entry", "fences", "record", "tail", "zone"


GOOD = int64_column(PLAIN, VALUES)
GOOD_FILE = make_file([GOOD], num_rows=3)


def bad_cases() -> Iterator[BadCase]:
    for make in (_ends, _flips, _parts, _fields, _descriptions, bad_encodings, bad_numbers):
        yield from make()


def _ends() -> Iterator[BadCase]:
    spec = "file.md, Tail"
    yield BadCase("zero_length", "no bytes at all", "file.md, Bytes", "Corrupt", "truncated", b"")
    yield BadCase("too_short", "127 bytes", "file.md, Bytes", "Corrupt", "truncated", GOOD_FILE[-127:])
    yield BadCase("last_byte_missing", "the last byte is missing", spec, "Corrupt", "magic", GOOD_FILE[:-1])
    yield BadCase(
        "half_missing", "the second half is missing", spec, "Corrupt", "magic", GOOD_FILE[: len(GOOD_FILE) // 2]
    )
    yield BadCase("first_byte_missing", "the first byte is missing", spec, "Corrupt", "length", GOOD_FILE[1:])
    yield BadCase("front_missing", "the tail is whole, the front is missing", spec, "Corrupt", "length", GOOD_FILE[64:])
    yield BadCase("magic", "another magic at the end", spec, "Corrupt", "magic", GOOD_FILE[:-4] + b"PAR1")
    for version in (1, 1 << 31):
        data = make_file([GOOD], num_rows=3, edits={TAIL: put(48, "<I", version)})
        yield BadCase(f"version_{version}", f"format version {version}", spec, "Unsupported", "format-version", data)
    data = make_file([GOOD], num_rows=3, edits={TAIL: put(28, "<I", 2)})
    yield BadCase("checksum_id", "checksum id 2", spec, "Unsupported", "format-version", data)
    data = make_file([GOOD], num_rows=3, edits={TAIL: put(52, "<I", 4)})
    yield BadCase("feature_bit", "a reader feature that nobody knows", spec, "Unsupported", "feature", data)


def _flips() -> Iterator[BadCase]:
    """One flipped bit in each kind of bytes that has a checksum."""
    tail = len(GOOD_FILE) - 64
    directory, rows, columns, metadata_nbytes = struct.unpack_from("<QQII", GOOD_FILE, tail)
    assert (rows, columns) == (3, 1)
    offset, _pages, texts, blocks, _shared, zones, field = struct.unpack_from("<QIIIIII", GOOD_FILE, directory)
    entries = offset + 16
    zone = entries + 64 + texts + 4 * blocks
    places = {
        "block": (64 + 9, "a block of a page"),
        "fences": (offset + 8, "the fences"),
        "entry": (entries + 1, "a page entry"),
        "description": (entries + 64 + 10, "a page description"),
        "block_sum": (zone - 1, "the checksum of a block"),
        "zone": (zone + 3, "a zone entry"),
        "field": (zone + 32 * (zones + 1) + field - 3, "a field"),
        "directory": (directory + 60, "the checksum of a directory record"),
        "file_metadata": (directory + 64 + metadata_nbytes - 3, "the file metadata"),
        "tail": (tail + 33, "the random bytes of the tail"),
    }
    for name, (place, what) in places.items():
        data = bytearray(GOOD_FILE)
        data[place] ^= 4
        yield BadCase(
            f"flip_{name}",
            f"a flipped bit in {what}, byte {place}",
            "file.md, Checksums",
            "Corrupt",
            "checksum",
            bytes(data),
        )


def _parts() -> Iterator[BadCase]:
    far = 1 << 40
    faults: list[tuple[str, str, str, Mapping[str, Edit]]] = [
        ("tail_directory", "length", "the directory does not fill the file", {TAIL: put(0, "<Q", 64)}),
        ("tail_directory_huge", "length", "a directory offset of 2^63", {TAIL: put(0, "<Q", 1 << 63)}),
        ("tail_columns", "length", "2^32 - 1 columns", {TAIL: put(16, "<I", (1 << 32) - 1)}),
        ("tail_metadata", "length", "file metadata longer than the file", {TAIL: put(20, "<I", 1 << 31)}),
        ("tail_rows", "fences", "the tail and the fences disagree about the rows", {TAIL: put(8, "<Q", 4)}),
        ("record_offset", "directory", "column metadata outside the file", {RECORD: put(0, "<Q", far)}),
        ("record_texts", "directory", "descriptions outside the file", {RECORD: put(12, "<I", (1 << 32) - 1)}),
        ("record_blocks", "directory", "block checksums outside the file", {RECORD: put(16, "<I", (1 << 32) - 1)}),
        ("record_shared", "directory", "a shared blob outside the file", {RECORD: put(20, "<I", (1 << 32) - 1)}),
        ("record_shared_sum", "checksum", "another checksum of the shared blob", {RECORD: put(48, "<I", 7)}),
        ("record_pages", "directory", "more pages than the file has room for", {RECORD: put(8, "<I", (1 << 32) - 1)}),
        ("record_no_pages", "directory", "rows and no pages", {RECORD: put(8, "<I", 0)}),
        ("record_zones", "directory", "two zones for three rows", {RECORD: put(24, "<I", 2)}),
        ("record_zone_rows", "directory", "zones of no rows", {RECORD: put(36, "<I", 0)}),
        ("record_zone_width", "directory", "bounds of 5 bytes", {RECORD: put(40, "<H", 5)}),
        ("record_place", "place", "a record from the place of another", {RECORD: put(56, "<I", 7)}),
        ("entry_place", "place", "a page entry from the place of another", {ENTRY: put(56, "<I", 7)}),
        ("zone_place", "place", "a zone entry from the place of another", {ZONE: put(40, "<I", 7)}),
        ("record_parent_self", "directory", "a column that is its own parent", {RECORD: put(32, "<i", 0)}),
        ("record_parent_negative", "directory", "parent -2", {RECORD: put(32, "<i", -2)}),
        ("fences_start", "fences", "fences that begin at 1", {FENCES: put(0, "<Q", 1)}),
        ("fences_end", "fences", "fences that end behind the last row", {FENCES: put(8, "<Q", 4)}),
        ("fences_huge", "fences", "fences that end at 2^63 + 3", {FENCES: put(8, "<Q", (1 << 63) + 3)}),
        ("entry_offset", "page", "a page outside the file", {ENTRY: put(0, "<Q", far)}),
        ("entry_offset_huge", "page", "a page offset of 2^64 - 8", {ENTRY: put(0, "<Q", (1 << 64) - 8)}),
        ("entry_in_head", "page", "a page inside the head", {ENTRY: put(0, "<Q", 0)}),
        ("entry_nbytes", "page", "a page that reaches into the metadata", {ENTRY: put(8, "<Q", 4000)}),
        ("entry_first_row", "page", "an entry that disagrees with the fences", {ENTRY: put(16, "<Q", 1)}),
        ("entry_text", "page", "a description outside the descriptions", {ENTRY: put(24, "<I", 4096)}),
        ("entry_text_nbytes", "page", "a description longer than the descriptions", {ENTRY: put(28, "<I", 4096)}),
        ("entry_text_short", "checksum", "a description cut short", {ENTRY: put(28, "<I", 4)}),
        ("entry_first_block", "page", "block checksums outside those of the column", {ENTRY: put(36, "<I", 9)}),
        ("entry_blocks_sum", "checksum", "another checksum of the block checksums", {ENTRY: put(44, "<I", 9)}),
        ("entry_rows", "page", "an entry of another row count", {ENTRY: put(48, "<I", 2)}),
        ("entry_blocks", "page", "two blocks for 24 bytes", {ENTRY: put(40, "<I", 2)}),
        ("entry_block_log2", "page", "blocks of 2^40 bytes", {ENTRY: put(52, "<I", 40)}),
        (
            "entry_block_log2_small",
            "page",
            "blocks of 1 byte",
            {ENTRY: _one_byte_blocks},
        ),
        ("tail_in_head", "length", "a directory inside the head", {TAIL: _into_the_head}),
        ("zone_length", "zones", "a bound longer than the zone width", {ZONE: put(16, "<HHB", 9, 9, 3)}),
        ("zone_bound", "zones", "a bound of 3 bytes for int64", {ZONE: put(16, "<HHB", 3, 8, 3)}),
        ("zone_nulls", "zones", "4 nulls in 3 rows", {ZONE: put(0, "<Q", 4)}),
        ("zone_nans", "zones", "NaN in integers", {ZONE: put(8, "<Q", 1)}),
    ]
    for name, kind, covers, edits in faults:
        column = int64_column(PLAIN, VALUES, zone_width=8) if name.startswith("zone_") else GOOD
        yield BadCase(
            name,
            covers,
            f"file.md, {_SECTIONS[name.partition('_')[0]]}",
            "Corrupt",
            kind,
            make_file([column], num_rows=3, edits=edits),
        )
    empty = Column(GOOD.field, [Page({"e": "plain", "n": 0, "b": [[0, 0]]}, b"", 0), *GOOD.pages])
    yield BadCase(
        "fences_equal", "a page without rows", "file.md, Fences", "Corrupt", "fences", make_file([empty], num_rows=3)
    )
    wide = int64_column(PLAIN, VALUES, zone_width=32)
    yield BadCase(
        "zone_width_of_type",
        "bounds of 32 bytes for int64",
        "file.md, Zones",
        "Corrupt",
        "zones",
        make_file([wide], num_rows=3),
    )


def _into_the_head(tail: bytearray) -> None:
    """Move the directory to byte 32; the file metadata grows by as much, so that all lengths add up."""
    directory, _, _, metadata_nbytes = struct.unpack_from("<QQII", tail)
    struct.pack_into("<Q", tail, 0, 32)
    struct.pack_into("<I", tail, 20, metadata_nbytes + directory - 32)


def _one_byte_blocks(entry: bytearray) -> None:
    struct.pack_into("<I", entry, 40, 24)
    struct.pack_into("<I", entry, 52, 0)


_SECTIONS = {
    "tail": "Tail",
    "record": "Directory",
    "fences": "Fences",
    "entry": "Page entry",
    "zone": "Zones",
}


_INT8 = {"name": "a", "type": "int8", "nullable": True}


def _fields() -> Iterator[BadCase]:
    deep: Any = "int8"
    for _ in range(65):
        deep = {"t": "list", "item": {"name": "item", "type": deep, "nullable": True}}
    faults: list[tuple[str, str, str, Any]] = [
        ("field_no_json", "json", "a field that is not JSON", b'{"name":'),
        ("field_not_object", "field", "a field that is a list", ["n", "int64", True]),
        ("field_no_name", "field", "a field without a name", {"type": "int64", "nullable": True}),
        ("field_nullable", "field", "nullable is a number", {"name": "n", "type": "int64", "nullable": 1}),
        (
            "field_metadata",
            "metadata",
            "metadata that is not base64",
            {"name": "n", "type": "int64", "nullable": True, "metadata": [["!", "!"]]},
        ),
        ("field_key_twice", "json", "a name twice", b'{"name":"n","name":"n","type":"int64","nullable":true}'),
        ("field_surrogate", "field", "half a surrogate pair", b'{"name":"\\ud800","type":"int64","nullable":true}'),
        (
            "field_base64",
            "metadata",
            "base64 with bits that no byte has",
            {"name": "n", "type": "int64", "nullable": True, "metadata": [["YR==", ""]]},
        ),
        (
            "field_struct",
            "field",
            "the column of a struct with fields in its type",
            {"name": "n", "type": {"t": "struct", "fields": [_INT8]}, "nullable": True},
        ),
        ("type_object", "type", "a plain type as an object", {"name": "n", "type": {"t": "int64"}, "nullable": True}),
        ("type_text", "type", "a type with parameters as text", {"name": "n", "type": "list", "nullable": True}),
        (
            "type_tz",
            "type",
            "a time zone that is null",
            {"name": "n", "type": {"t": "timestamp", "unit": "s", "tz": None}, "nullable": True},
        ),
        (
            "type_ordered",
            "type",
            "ordered is a number",
            {
                "name": "n",
                "type": {"t": "dictionary", "index": "int8", "value": "int8", "ordered": 0},
                "nullable": True,
            },
        ),
        ("type_number", "type", "a type that is a number", {"name": "n", "type": 7, "nullable": True}),
        (
            "type_unit",
            "type",
            "a timestamp of weeks",
            {"name": "n", "type": {"t": "timestamp", "unit": "w"}, "nullable": True},
        ),
        (
            "type_no_unit",
            "type",
            "a timestamp without a unit",
            {"name": "n", "type": {"t": "timestamp"}, "nullable": True},
        ),
        (
            "type_size",
            "type",
            "a size of -1",
            {"name": "n", "type": {"t": "fixed_size_binary", "size": -1}, "nullable": True},
        ),
        ("type_no_item", "type", "a list without an item", {"name": "n", "type": {"t": "list"}, "nullable": True}),
        (
            "type_precision",
            "type",
            "a decimal128 of 39 digits",
            {"name": "n", "type": {"t": "decimal128", "precision": 39, "scale": 0}, "nullable": True},
        ),
        (
            "type_index",
            "type",
            "a dictionary indexed by floats",
            {
                "name": "n",
                "type": {"t": "dictionary", "index": "float32", "value": "string", "ordered": False},
                "nullable": True,
            },
        ),
        (
            "type_codes",
            "type",
            "a union with one code twice",
            {
                "name": "n",
                "type": {"t": "sparse_union", "fields": [_INT8, _INT8], "codes": [3, 3]},
                "nullable": True,
            },
        ),
        (
            "type_run_ends",
            "type",
            "run ends of 8 bits",
            {"name": "n", "type": {"t": "run_end_encoded", "run_ends": "int8", "value": "int8"}, "nullable": True},
        ),
        ("type_deep", "limit", "65 lists around a type", {"name": "n", "type": deep, "nullable": True}),
    ]
    for name, kind, covers, field in faults:
        data = make_file([Column(field, GOOD.pages)], num_rows=3)
        yield BadCase(
            name, covers, "types.md" if name.startswith("type") else "file.md, Field JSON", "Corrupt", kind, data
        )
    for name, unknown in (("unknown_type", "int128"), ("unknown_type_object", {"t": "union", "fields": []})):
        data = make_file([int64_column(PLAIN, VALUES, kind=unknown)], num_rows=3)
        yield BadCase(name, "a type that the spec does not have", "types.md", "Unsupported", "type", data)
    for name, kind, text in (
        ("file_metadata_json", "json", b"{]"),
        ("file_metadata_list", "metadata", b"[]"),
        ("file_metadata_base64", "metadata", b'{"metadata":[["?"]]}'),
    ):
        yield BadCase(
            name,
            "file metadata that is not as it must be",
            "file.md, File metadata",
            "Corrupt",
            kind,
            make_file([GOOD], num_rows=3, metadata=text),
        )
    child = Column({"name": "c", "type": "int64", "nullable": True}, GOOD.pages, parent=0)
    yield BadCase(
        "parent_no_struct",
        "a parent that is not a struct",
        "file.md, Columns",
        "Corrupt",
        "directory",
        make_file([GOOD, child], num_rows=3),
    )
    bare = {"name": "s", "type": {"t": "struct", "fields": []}, "nullable": True}
    chain = [Column(bare, [Page({"e": "struct", "n": 1}, b"", 1)], parent=i - 1) for i in range(300)]
    yield BadCase(
        "structs_deep",
        "300 structs inside one another",
        "file.md, Limits",
        "Corrupt",
        "limit",
        make_file(chain, num_rows=1),
    )


def _descriptions() -> Iterator[BadCase]:
    deep: Any = PLAIN
    for _ in range(200):
        deep = {"e": "struct", "n": 3, "c": [deep]}
    faults: list[tuple[str, str, str, Any]] = [
        ("description_json", "json", "a description that is not JSON", b'{"e":"plain"'),
        ("description_key_twice", "json", "a row count twice", b'{"e":"plain","n":3,"n":3,"b":[[0,24]]}'),
        ("description_nan", "json", "NaN", b'{"e":"plain","n":3,"b":[[0,24]],"x":NaN}'),
        ("description_null", "page", "a bitmap that is null", {**PLAIN, "v": None}),
        ("description_brackets", "json", "a description of 100,000 brackets", b"[" * 40_000),
        ("description_list", "page", "a description that is a list", [PLAIN]),
        ("description_no_rows", "page", "a description without a row count", {"e": "plain", "b": [[0, 24]]}),
        ("description_rows_bool", "page", "a row count that is true", {"e": "plain", "n": True, "b": [[0, 24]]}),
        ("description_rows_float", "page", "a row count of 3.0", b'{"e":"plain","n":3.0,"b":[[0,24]]}'),
        ("description_rows", "page", "another row count than the page", {**PLAIN, "n": 2}),
        ("description_rows_negative", "page", "a row count of -3", {**PLAIN, "n": -3}),
        ("description_rows_huge", "page", "a row count of 2^53", {**PLAIN, "n": 1 << 53}),
        ("description_name", "page", "an encoding that is a number", {**PLAIN, "e": 1}),
        ("description_deep", "page", "200 nodes inside one another", deep),
        ("range_outside", "page", "a buffer that ends outside its page", {**PLAIN, "b": [[8, 24]]}),
        ("range_start_outside", "page", "a buffer that begins outside its page", {**PLAIN, "b": [[1 << 52, 24]]}),
        ("range_negative", "page", "a buffer that begins at -8", {**PLAIN, "b": [[-8, 24]]}),
        ("range_short", "page", "a range of one number", {**PLAIN, "b": [[0]]}),
        ("range_text", "page", "a range of texts", {**PLAIN, "b": [["0", "24"]]}),
        ("buffers_object", "page", "buffers that are an object", {**PLAIN, "b": {"0": [0, 24]}}),
        ("validity_outside", "page", "a bitmap outside its page", {**PLAIN, "v": [24, 1]}),
        ("validity_short", "page", "a bitmap of no bytes", {**PLAIN, "v": [0, 0]}),
    ]
    for name, kind, covers, description in faults:
        yield BadCase(
            name,
            covers,
            "file.md, Page description",
            "Corrupt",
            kind,
            make_file([int64_column(description, VALUES)], num_rows=3),
        )
    for name, description in (
        ("unknown_encoding", {**PLAIN, "e": "delta"}),
        ("unknown_encoding_inside", {"e": "dictionary", "n": 3, "c": [{"e": "later", "n": 3}, PLAIN]}),
    ):
        yield BadCase(
            name,
            "an encoding that the spec does not have",
            "encodings/README.md",
            "Unsupported",
            "plugin",
            make_file([int64_column(description, VALUES)], num_rows=3),
        )
