"""Second reader, part 5 of 6: fragments, which of their rows are deleted and where the rows come from
(format_spec/table.md, "Fragment tree" to "Lineage").
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import zlib
from dataclasses import dataclass
from itertools import accumulate, pairwise

from naive_file import MAX_COLUMNS
from naive_objects import (
    MAX_BODY,
    check,
    get,
    is_digest,
    is_object,
    is_path,
    is_reference,
    is_run,
    open_envelope,
    open_json,
    read_part,
)
from naive_types import LIMIT, cut, is_int, is_list, is_pair, is_range, is_text, need

MAX_FRAGMENTS = 10_000_000
MAX_DELETED = 1 << 28
MAX_RUNS = 1 << 26


@dataclass
class Fragment:
    """A fragment.

    body: its JSON, checked; columns: field id to (index in body["files"], column number); row_ids: ranges; created,
    updated: runs, all of all its rows; deleted: offsets, ascending.
    """

    body: dict
    columns: dict[int, tuple[int, int]]
    row_ids: list
    created: list
    updated: list
    deleted: list[int]

    @property
    def live(self) -> int:
        return self.body["rows"] - len(self.deleted)

    @property
    def bounds(self) -> list[int]:
        return [min(start for start, _ in self.row_ids), max(end for _, end in self.row_ids)]

    def live_values(self, values: list) -> list:
        """Give what is said of live rows. values: of all rows."""
        gone = set(self.deleted)
        return [value for offset, value in enumerate(values) if offset not in gone]

    def all_ids(self) -> list[int]:
        return [row_id for start, end in self.row_ids for row_id in range(start, end)]


def versions_of(runs: list) -> list[int]:
    return [version for version, count in runs for _ in range(count)]


def parse_fragment(folder: str, body: dict, next_field_id: int) -> Fragment:
    get(body, "id", is_int(0, 2**31 - 1))
    rows = get(body, "rows", is_int(1, 2**32))
    columns: dict[int, tuple[int, int]] = {}
    for number, file in enumerate(get(body, "files", is_list(is_object))):
        parse_file(file, rows)
        column = 0
        for first, count in get(file, "fields", is_list(is_pair(is_int(-1), is_int(1, MAX_COLUMNS)))):
            check(first + count <= next_field_id or first == -1, f"field id {first + count - 1}")
            for i in range(count if first >= 0 else 0):
                check(first + i not in columns, f"field {first + i} stands twice in a fragment")
                columns[first + i] = (number, column + i)
            column += count
            need(column <= MAX_COLUMNS, "limit", "columns of a file")
        check_stats(get(file, "stats", is_list()))
    check(bool(body["files"]), "a fragment without files")
    deleted = read_deletions(folder, body, rows)
    return Fragment(body, columns, *read_lineage(folder, body, rows), deleted)


def parse_file(file: dict, rows: int) -> None:
    get(file, "path", is_path)
    get(file, "nbytes", is_int(1))
    get(file, "tail", is_digest)
    check(get(file, "rows") == rows, "a file of another row count than its fragment")
    if get(file, "base", lambda value: value is None or is_int(1, 2**31 - 1)(value)) is not None:
        check(re.fullmatch("data/[0-9a-f]{32}[.]lnl", file["path"]) is not None, "another file below a base")


def check_stats(stats: list) -> None:
    def is_bound(value: object) -> bool:
        return value is None or (is_text(value) and re.fullmatch("([0-9a-f]{2})*", value) is not None)

    tests = (is_int(0, 2**31 - 1), is_bound, is_bound, is_int(0, 2**32), is_int(0, 2**32), is_int(0, 255))
    for row in stats:
        check(type(row) is list and len(row) == 6 and all(t(x) for t, x in zip(tests, row, strict=True)), "stats")
    check(all(a[0] < b[0] for a, b in pairwise(stats)), "stats that do not ascend")


# ---------------------------------------------------------------------------------------------- deleted rows


def read_deletions(folder: str, body: dict, rows: int) -> list[int]:
    """Give the offsets of the deleted rows of a fragment, ascending."""
    deletions = get(body, "deletions", lambda value: value is None or is_object(value))
    if deletions is None:
        return []
    count = get(deletions, "rows", is_int(1, rows - 1))
    need(count <= MAX_DELETED, "limit", f"{count} deleted rows")
    if "ref" in deletions:
        data = open_envelope(read_part(folder, get(deletions, "ref", is_reference("del"))), b"LLDV")
    else:
        data = from_base64(get(deletions, "data", is_text))
    found = read_bitmap(data, count)
    check(len(found) == count, f"{len(found)} deleted rows, {count} stated")
    check(found[-1] < rows, f"row {found[-1]} is deleted, of {rows}")
    return found


def from_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        data = b""
    check(base64.b64encode(data).decode() == text, "text that is not base64")
    return data


def read_bitmap(data: bytes, most: int) -> list[int]:
    """Give the integers of a bitmap, ascending. most: how many there may be."""
    (head,) = struct.unpack("<I", cut(data, 0, 4, "structure"))
    runs: list[bool] = []
    if head == 12346:
        (count,) = struct.unpack("<I", cut(data, 4, 4, "structure"))
        check(count <= 1 << 16, f"a bitmap of {count} containers")
        at = 8
    else:
        check(head & 0xFFFF == 12347, f"a bitmap with the head {head}")
        count = (head >> 16) + 1
        bits = cut(data, 4, (count + 7) // 8, "structure")
        runs = [bool(byte >> i & 1) for byte in bits for i in range(8)]
        check(any(runs[:count]) and not any(runs[count:]), "runs in no container, or past the last one")
        at = 4 + len(bits)
    described = [struct.unpack("<HH", cut(data, at + 4 * i, 4, "structure")) for i in range(count)]
    at += 4 * count
    check(all(a[0] < b[0] for a, b in pairwise(described)), "keys that do not ascend")
    places = None
    if not runs or count >= 4:
        places = struct.unpack(f"<{count}I", cut(data, at, 4 * count, "structure"))
        at += 4 * count
    found: list[int] = []
    for i, (key, size) in enumerate(described):
        check(places is None or places[i] == at, f"container {i} is not where it should be")
        lows, nbytes = read_container(data, at, size + 1, bool(runs and runs[i]))
        check(len(lows) == size + 1, f"container {i} holds {len(lows)} integers, {size + 1} stated")
        check(all(a < b for a, b in pairwise(lows)), f"integers of container {i} do not ascend")
        found += [key << 16 | low for low in lows]
        check(len(found) <= most, "more deleted rows than stated")
        at += nbytes
    check(at == len(data), "bytes after the last container")
    return found


def read_container(data: bytes, at: int, size: int, has_runs: bool) -> tuple[list[int], int]:
    """Give the integers of a container, and its length in bytes."""
    if has_runs:
        (count,) = struct.unpack("<H", cut(data, at, 2, "structure"))
        pairs = [struct.unpack("<HH", cut(data, at + 2 + 4 * i, 4, "structure")) for i in range(count)]
        check(all(a[0] + a[1] + 1 < b[0] for a, b in pairwise(pairs)), "runs without a gap")
        check(all(start + more < 1 << 16 for start, more in pairs), "a run past the end of its container")
        return [i for start, more in pairs for i in range(start, start + more + 1)], 2 + 4 * count
    if size <= 4096:
        return list(struct.unpack(f"<{size}H", cut(data, at, 2 * size, "structure"))), 2 * size
    bits = cut(data, at, 8192, "structure")
    return [i for i in range(1 << 16) if bits[i >> 3] >> (i & 7) & 1], 8192


# ---------------------------------------------------------------------------------------------- lineage


def read_lineage(folder: str, body: dict, rows: int) -> tuple[list, list, list]:
    """Give row ids, created and updated of a fragment, as ranges and runs."""
    apart = get(body, "lineage", lambda value: value is None or is_object(value))
    names = ("row_ids", "created", "updated")
    if apart is None:
        ids, created, updated = (get(body, name, is_list()) for name in names)
    else:
        check(not any(get(body, name, is_list()) for name in names), "arrays beside a lineage")
        bounds = get(apart, "row_ids", is_range)
        ids, created, updated = unpack_lineage(read_part(folder, get(apart, "ref", is_reference("rows"))))
    check(bool(ids) and all(is_range(pair) for pair in ids), "ranges of row ids")
    check(sum(end - start for start, end in ids) == rows, "row ids and rows")
    for name, runs in (("created", created), ("updated", updated)):
        check(all(is_run(pair) for pair in runs), f"runs of {name}")
        check(sum(count for _, count in runs) == rows, f"{name} and rows")
    if apart is not None:
        found = [min(start for start, _ in ids), max(end for _, end in ids)]
        check(found == bounds, f"row ids from {found[0]} to {found[1]}, {bounds} stated")
    return ids, created, updated


def unpack_lineage(part: bytes) -> tuple[list, list, list]:
    body = open_envelope(part, b"LLLN")
    (nbytes,) = struct.unpack("<I", cut(body, 0, 4, "structure"))
    need(nbytes <= MAX_BODY, "limit", f"a lineage of {nbytes} bytes")
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(body[4:], nbytes + 1)
    except zlib.error:
        check(False, "a stream that cannot be unpacked")
    need(len(raw) == nbytes and stream.eof and not stream.unused_data, "length", "a lineage of another length")
    at, arrays = 0, []
    for _ in range(3):
        count, *widths = struct.unpack("<IBB", cut(raw, at, 6, "structure"))
        need(count <= MAX_RUNS, "limit", f"{count} runs")
        check(count > 0 and all(width in (1, 2, 4, 8) for width in widths), "an array of a lineage")
        at, columns = at + 6, []
        for width in widths:
            data = cut(raw, at, count * width, "structure")
            columns.append([int.from_bytes(data[i : i + width], "little") for i in range(0, len(data), width)])
            check(max(columns[-1]) <= 2 * (LIMIT - 1), "a number in a lineage")
            at += len(data)
        arrays.append([list(pair) for pair in zip(*columns, strict=True)])
    check(at == len(raw), "bytes after the arrays of a lineage")
    steps = [-(code + 1) // 2 if code % 2 else code // 2 for code, _ in arrays[0]]
    ends = list(accumulate(step + length for step, (_, length) in zip(steps, arrays[0], strict=True)))
    ids = [[end - length, end] for end, (_, length) in zip(ends, arrays[0], strict=True)]
    return ids, arrays[1], arrays[2]


# ---------------------------------------------------------------------------------------------- parts


def sums_of(fragments: list[Fragment]) -> dict:
    """Give the members of a part entry that fragments add up to."""
    ids = [f.body["id"] for f in fragments]
    lows, highs = zip(*(f.bounds for f in fragments), strict=True)
    rows, live = sum(f.body["rows"] for f in fragments), sum(f.live for f in fragments)
    out = {"fragments": len(fragments), "rows": rows, "live_rows": live}
    return out | {"fragment_ids": [min(ids), max(ids) + 1], "row_ids": [min(lows), max(highs)]}


def read_fragments(
    folder: str, entries: list, above: int, room: int, next_field_id: int, seen: set[int]
) -> list[Fragment]:
    """Read the fragments below part entries.

    above: their levels are less; room: fragments there may be; seen: ids read so far, so that a part that stands in
    the tree a thousand times is read twice.
    """
    fragments: list[Fragment] = []
    for entry in entries:
        level = get(entry, "level", is_int(0, min(above - 1, 16)))
        need(get(entry, "fragments", is_int(1)) <= room - len(fragments), "structure", "more fragments than stated")
        promised = {name: get(entry, name) for name in ("fragments", "rows", "live_rows")}
        promised |= {name: get(entry, name, is_range) for name in ("fragment_ids", "row_ids")}
        part = open_json(read_part(folder, get(entry, "ref", is_reference("part"))), b"LLPT")
        check(get(part, "level") == level, f"a part of level {part['level']}, {level} expected")
        if level:
            below = get(part, "parts", is_list(is_object))
            found = read_fragments(folder, below, level, promised["fragments"], next_field_id, seen)
        else:
            found = [parse_fragment(folder, f, next_field_id) for f in get(part, "fragments", is_list(is_object))]
            check(seen.isdisjoint(f.body["id"] for f in found), "a fragment id stands twice")
            seen |= {f.body["id"] for f in found}
        check(bool(found), "a part without fragments")
        check(sums_of(found) == promised, f"an entry of {promised}, its part holds {sums_of(found)}")
        fragments += found
    return fragments
