"""Second reader, part 3 of 6: the data file (format_spec/file.md)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise

from naive_encodings import Node, PageDecoder, parse_node, struct_value
from naive_types import (
    FLOATS,
    FORMAT_VERSION,
    LIMIT,
    MAX_VALUES,
    SIGNED,
    TEXT,
    UNSIGNED,
    VARIABLE,
    Field,
    Type,
    cut,
    is_list,
    is_text,
    member,
    metadata_pairs,
    need,
    parse_field,
    parse_json,
    sum32,
    sum64,
)

MAX_COLUMNS = 1_000_000


@dataclass(frozen=True)
class Zone:
    """Statistics of some rows of a column. minimum, maximum: bytes, or None if unknown."""

    nulls: int
    nans: int
    minimum: bytes | None
    maximum: bytes | None
    flags: int


@dataclass
class Column:
    """A column of a file.

    json: its field JSON; values: what its own pages hold, {} for a struct; zones: each zone's, then the column's.
    """

    number: int
    parent: int
    field: Field
    json: dict
    values: list
    zones: list[Zone]
    zone_rows: int
    zone_width: int
    encodings: set[str] = field(default_factory=set)


@dataclass
class DataFile:
    """A whole file. json: its file metadata."""

    num_rows: int
    columns: list[Column]
    metadata: list[tuple[bytes, bytes]]
    json: dict

    def path(self, column: Column) -> tuple[str, ...]:
        above = () if column.parent == -1 else self.path(self.columns[column.parent])
        return (*above, column.field.name)

    def rows_of(self, column: Column) -> list:
        """Give the values of a column with its children put together."""
        if column.field.type.name != "struct":
            return column.values
        children = [c for c in self.columns if c.parent == column.number]
        return put_together(column.values, [c.field.name for c in children], [self.rows_of(c) for c in children])

    def to_pydict(self) -> dict[tuple[str, ...], list]:
        """Give every column by its path; of columns with the same path, the later ones as "name#number"."""
        out: dict[tuple[str, ...], list] = {}
        for column in self.columns:
            path = self.path(column)
            if path in out:
                path = (*path[:-1], f"{path[-1]}#{column.number}")
            out[path] = self.rows_of(column)
        return out


def put_together(own: list, names: list[str], columns: list[list]) -> list:
    """Make the rows of a struct from its own column and its children's rows."""
    rows = zip(*columns, strict=True) if columns else ((),) * len(own)
    return [None if mine is None else struct_value(names, row) for mine, row in zip(own, rows, strict=True)]


def read_file(data: bytes, identity: int | None = None) -> DataFile:
    """Read a whole data file. identity: sum64 of its tail, if the caller knows it."""
    need(len(data) >= 128, "truncated", f"{len(data)} bytes")
    tail = data[-64:]
    need(tail[60:] == b"LNLK", "magic", repr(tail[60:]))
    directory, rows, count, meta_nbytes, meta_sum, checksum_id = struct.unpack_from("<QQIIII", tail)
    version, features, tail_sum = struct.unpack_from("<III", tail, 48)
    need(sum32(tail[:56]) == tail_sum, "checksum", "tail")
    need(version == FORMAT_VERSION, "format-version", f"found {version}, this reads {FORMAT_VERSION}", "Unsupported")
    need(checksum_id == 1, "format-version", f"checksum id {checksum_id}, this knows 1", "Unsupported")
    need(features == 0, "feature", f"reader features {features:#x}, this knows none", "Unsupported")
    need(64 <= directory < LIMIT and rows < LIMIT, "length", "an offset or a count of 2^53 or more, or in the head")
    need(directory + 64 * count + meta_nbytes + 64 == len(data), "length", "the tail and the size of the file differ")
    need(count <= MAX_COLUMNS, "limit", f"{count} columns")
    need(identity is None or sum64(tail) == identity, "identity", "another file than the table recorded")

    text = cut(data, directory + 64 * count, meta_nbytes)
    need(sum32(text) == meta_sum, "checksum", "file metadata")
    body = parse_json(text)
    metadata = metadata_pairs(member(body, "metadata", is_list(), "metadata"))
    member(body, "writer", is_text, "metadata")

    budget = [MAX_VALUES]
    columns: list[Column] = []
    depths: list[int] = []
    for number in range(count):
        record = cut(data, directory + 64 * number, 64)
        column = read_column(data, number, record, (directory, rows), budget)
        if column.parent != -1:
            need(columns[column.parent].field.type.name == "struct", "directory", "a parent that is no struct")
        depths.append((depths[column.parent] if column.parent != -1 else 0) + (column.field.type.name == "struct"))
        need(depths[-1] <= 256, "limit", "structs nested more than 256 deep")
        columns.append(column)
    return DataFile(rows, columns, metadata, body)


def read_column(data: bytes, number: int, record: bytes, tail: tuple[int, int], budget: list[int]) -> Column:
    directory, rows = tail
    need(sum32(record[:60]) == struct.unpack_from("<I", record, 60)[0], "checksum", f"directory record {number}")
    need_place(record, directory + 64 * number, f"directory record {number}")
    offset, num_pages, texts_nbytes, num_blocks, shared_nbytes = struct.unpack_from("<QIIII", record)
    num_zones, field_nbytes, parent, zone_rows, zone_width = struct.unpack_from("<IIiIH", record, 24)
    fences_sum, shared_sum, field_sum = struct.unpack_from("<III", record, 44)
    need(64 <= offset < LIMIT, "directory", "metadata in the head, or an offset of 2^53 or more")
    need((num_pages == 0) == (rows == 0), "directory", f"{num_pages} pages of {rows} rows")
    need(zone_rows > 0 and num_zones == -(-rows // zone_rows), "directory", f"{num_zones} zones of {zone_rows} rows")
    need(-1 <= parent < number, "directory", f"parent {parent} of column {number}")
    need(zone_width in (0, 8, 16, 32), "directory", f"zone width {zone_width}")

    entries_at = offset + 8 * (num_pages + 1)
    texts_at = entries_at + 64 * num_pages
    sums_at = texts_at + texts_nbytes
    shared_at = sums_at + 4 * num_blocks
    zones_at = shared_at + shared_nbytes
    field_at = zones_at + (32 + 2 * zone_width) * (num_zones + 1)
    need(field_at + field_nbytes <= directory, "directory", f"metadata of column {number} past the directory")

    text = cut(data, field_at, field_nbytes)
    need(sum32(text) == field_sum, "checksum", f"field of column {number}")
    described = parse_json(text)
    column = Column(number, parent, parse_field(described), described, [], [], zone_rows, zone_width)
    kind = column.field.type
    need(kind.name != "struct" or not kind.fields, "field", "the column of a struct has the type struct without fields")
    need(zone_width in (0, zone_width_of(kind)), "zones", f"zone width {zone_width} for {kind.name}")

    raw = cut(data, offset, 8 * (num_pages + 1))
    need(sum32(raw) == fences_sum, "checksum", f"fences of column {number}")
    fences = struct.unpack(f"<{num_pages + 1}Q", raw)
    need(fences[0] == 0 and fences[-1] == rows, "fences", f"fences from {fences[0]} to {fences[-1]} of {rows} rows")
    need(all(a < b for a, b in pairwise(fences)), "fences", "fences that do not ascend")

    shared = cut(data, shared_at, shared_nbytes)
    need(sum32(shared) == shared_sum, "checksum", f"shared blob of column {number}")
    texts, sums = cut(data, texts_at, texts_nbytes), cut(data, sums_at, 4 * num_blocks)
    for i in range(num_pages):
        entry = cut(data, entries_at + 64 * i, 64)
        need(sum32(entry[:60]) == struct.unpack_from("<I", entry, 60)[0], "checksum", "page entry")
        need_place(entry, entries_at + 64 * i, "page entry")
        page, node = read_page(data, entry, (texts, sums, offset), (fences[i], fences[i + 1]))
        column.values += PageDecoder(page, shared, budget).decode(node, kind)
        column.encodings |= set(encodings_of(node))
    for i in range(num_zones + 1):
        at = zones_at + (32 + 2 * zone_width) * i
        entry = cut(data, at, 32 + 2 * zone_width)
        need(sum32(entry[:-4]) == struct.unpack_from("<I", entry, len(entry) - 4)[0], "checksum", "zone entry")
        need_place(entry, at, "zone entry")
        covered = rows if i == num_zones else min(zone_rows, rows - i * zone_rows)
        column.zones.append(read_zone(entry, zone_width, kind, covered))
    return column


def need_place(body: bytes, at: int, what: str) -> None:
    """What stands in front of its checksum is the place of the whole, modulo 2^32."""
    need(struct.unpack_from("<I", body, len(body) - 8)[0] == at % 2**32, "place", what)


def encodings_of(node: Node) -> list[str]:
    return [node.name] + [name for child in node.children for name in encodings_of(child)]


def read_page(
    data: bytes, entry: bytes, column: tuple[bytes, bytes, int], fences: tuple[int, int]
) -> tuple[bytes, Node]:
    """Check a page's entry, description and blocks. Returns its bytes and root.

    column: the descriptions and the block checksums of the column, and the offset of its metadata.
    """
    texts, sums, end = column
    offset, nbytes, first_row, text_offset, text_nbytes, text_sum = struct.unpack_from("<QQQIII", entry)
    first_block, num_blocks, sums_sum, num_rows, block_log2 = struct.unpack_from("<IIIII", entry, 36)
    need(max(offset, nbytes, first_row) < LIMIT, "page", "an offset or a count of 2^53 or more")
    need(offset >= 64 and offset + nbytes <= end, "page", f"bytes [{offset}, {offset + nbytes}), metadata from {end}")
    need((first_row, num_rows) == (fences[0], fences[1] - fences[0]), "page", "the entry and the fences differ")
    need(6 <= block_log2 <= 24, "page", f"blocks of 2^{block_log2} bytes")
    need(num_blocks == -(-nbytes // (1 << block_log2)), "page", f"{num_blocks} blocks of {nbytes} bytes")
    text = cut(texts, text_offset, text_nbytes, "page")
    need(sum32(text) == text_sum, "checksum", "page description")
    own = cut(sums, 4 * first_block, 4 * num_blocks, "page")
    need(sum32(own) == sums_sum, "checksum", "block checksums")
    page = cut(data, offset, nbytes)
    for i in range(num_blocks):
        block = page[i << block_log2 : (i + 1) << block_log2]
        need(sum32(block) == struct.unpack_from("<I", own, 4 * i)[0], "checksum", f"block {i}")
    node = parse_node(parse_json(text), nbytes)
    need(node.n == num_rows, "page", f"a description of {node.n} rows, a page of {num_rows}")
    return page, node


def zone_width_of(kind: Type) -> int:
    kind = kind.storage
    if kind.name in VARIABLE or kind.name == "fixed_size_binary":
        return 32
    if kind.name in SIGNED or kind.name in UNSIGNED or kind.name in FLOATS or kind.name == "bool":
        return 8
    return {"decimal32": 8, "decimal64": 8, "decimal128": 16, "decimal256": 32}.get(kind.name, 0)


def is_bound(kind: Type, bound: bytes) -> bool:
    if kind.name == "bool":
        return bound in (b"\0", b"\1")
    if kind.name in TEXT:
        try:
            bound.decode("utf-8")
        except UnicodeDecodeError:
            return False
    return kind.name in VARIABLE or kind.name == "fixed_size_binary" or len(bound) == kind.width


def read_zone(entry: bytes, width: int, kind: Type, rows: int) -> Zone:
    nulls, nans, low, high, flags = struct.unpack_from("<QQHHB", entry)
    need(low <= width and high <= width, "zones", f"bounds of {low} and {high} bytes, width {width}")
    need(nulls + nans <= rows, "zones", f"{nulls} nulls and {nans} NaN in {rows} rows")
    need(nans == 0 or kind.storage.name in FLOATS, "zones", f"NaN in a column of {kind.name}")
    minimum = entry[24 : 24 + low] if width and flags & 1 else None
    maximum = entry[24 + width : 24 + width + high] if width and flags & 2 else None
    for bound in (minimum, maximum):
        need(bound is None or is_bound(kind.storage, bound), "zones", f"a bound {bound!r} of {kind.name}")
    return Zone(nulls, nans, minimum, maximum, flags)
