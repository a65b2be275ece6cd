"""Second reader, part 4 of 4, and its door: a version of a table (format_spec/table.md, commit.md).

`read_file` and `read_table` read everything, check everything, and raise `NaiveError` or answer right.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from naive_file import MAX_COLUMNS, DataFile, put_together, read_file
from naive_types import (
    FORMAT_VERSION,
    LIMIT,
    MAX_VALUES,
    Field,
    NaiveError,
    cut,
    is_int,
    is_list,
    is_pair,
    is_range,
    is_text,
    member,
    metadata_pairs,
    need,
    parse_field,
    parse_json,
    sum32,
    sum64,
)

__all__ = [
    "DataFile",
    "NaiveError",
    "Table",
    "list_branches",
    "list_tags",
    "list_versions",
    "read_file",
    "read_table",
]

UUID = "[0-9a-f]{32}"
MAX_BODY = 1 << 30
MAX_FRAGMENTS = 10_000_000


@dataclass
class TableField:
    """A field of a table's schema. json: its field JSON."""

    id: int
    parent: int
    field: Field
    json: dict


@dataclass
class Fragment:
    """A fragment. body: its JSON, checked; columns: field id to (index in body["files"], column number)."""

    body: dict
    columns: dict[int, tuple[int, int]]

    @property
    def row_ids(self) -> list[int]:
        return [row for start, end in self.body["row_ids"] for row in range(start, end)]


@dataclass
class Table:
    """One version of a table. rows: its rows in scan order, each a dict with _rowid; metadata: of the schema."""

    version: int
    root: dict
    transaction: dict
    fields: list[TableField]
    metadata: list[tuple[bytes, bytes]]
    fragments: list[Fragment]
    files: dict[str, DataFile]
    rows: list[dict]


IS_COUNT = is_int()


def check(condition: bool, found: str) -> None:
    need(condition, "structure", found)


def get(obj: object, name: str, test: Callable[[object], bool] = IS_COUNT):
    return member(obj, name, test, "structure")


def is_digest(value: object) -> bool:
    return is_text(value) and re.fullmatch("[0-9a-f]{16}", value) is not None


def is_object(value: object) -> bool:
    return type(value) is dict


def is_texts(value: object) -> bool:
    return is_object(value) and all(is_text(k) and is_text(v) for k, v in value.items())


def is_path(value: object) -> bool:
    """Tell whether a text follows "Paths"."""
    if not is_text(value) or len(value) > 1024 or re.search(r"[\\:%\0]", value):
        return False
    return all(part not in ("", ".", "..") for part in value.split("/"))


def is_reference(ending: str) -> Callable[[object], bool]:
    """Tell whether a value is a reference to a part. ending: of the names of the parts that may stand here."""

    def test(value: object) -> bool:
        if type(value) is not list or len(value) != 3 or not is_path(value[0]):
            return False
        named = re.fullmatch(rf"_meta/{UUID}\.{ending}", value[0]) is not None
        return named and is_int(1, MAX_BODY)(value[1]) and is_digest(value[2])

    return test


def is_run(value: object) -> bool:
    return is_pair(is_int(1), is_int(1))(value)


def read_object(folder: str, key: str, missing: tuple[str, str] = ("missing", "Corrupt")) -> bytes:
    """Read the bytes of an object. missing: kind and family of the error when it is not there."""
    path = os.path.join(folder, *key.split("/"))
    need(os.path.lexists(path), missing[0], f"{key} is missing", missing[1])
    need(os.path.isfile(path) and not os.path.islink(path), "file-type", f"{key} is a link or no file")
    with open(path, "rb") as file:
        return file.read()


def open_envelope(data: bytes, magic: bytes) -> bytes:
    """Check an envelope and give its body."""
    need(len(data) >= 24, "truncated", f"an object of {len(data)} bytes")
    need(sum64(data[:-8]) == struct.unpack("<Q", data[-8:])[0], "checksum", "the envelope")
    need(data[:4] == magic, "magic", f"{data[:4]!r}, {magic!r} expected")
    version, nbytes = struct.unpack_from("<IQ", data, 4)
    need(version == FORMAT_VERSION, "format-version", f"found {version}, this reads {FORMAT_VERSION}", "Unsupported")
    need(nbytes <= MAX_BODY, "limit", f"a body of {nbytes} bytes")
    need(nbytes + 24 == len(data), "length", f"a body of {nbytes} bytes in {len(data)}")
    return data[16:-8]


def open_json(data: bytes, magic: bytes) -> dict:
    body = parse_json(open_envelope(data, magic))
    check(type(body) is dict, "a body that is no object")
    return body


def read_part(folder: str, reference: list) -> bytes:
    path, nbytes, digest = reference
    data = read_object(folder, path)
    need(len(data) == nbytes and sum64(data) == int(digest, 16), "checksum", f"{path} is not what was recorded")
    return data


# ---------------------------------------------------------------------------------------------- table.md, schema part


def read_schema(data: bytes, next_field_id: int) -> tuple[list[TableField], list[tuple[bytes, bytes]]]:
    """Give the fields of a schema part, depth first, and the metadata of the schema."""
    body = open_envelope(data, b"LLSC")
    head = struct.unpack("<IIIIIIII", cut(body, 0, 32, "structure"))
    count, kind_count, names_nbytes, kinds_nbytes, meta_nbytes, meta_sum, kinds_sum, head_sum = head
    need(sum32(body[:28]) == head_sum, "checksum", "head of a schema part")
    need(count <= MAX_COLUMNS and kind_count <= MAX_COLUMNS, "limit", f"{count} fields of {kind_count} kinds")
    kinds_at = 32 + 28 * count
    names_at = kinds_at + 12 * kind_count
    text = cut(body, names_at + names_nbytes + kinds_nbytes, meta_nbytes, "structure")
    check(names_at + names_nbytes + kinds_nbytes + meta_nbytes == len(body), "lengths of a schema part")
    need(sum32(text) == meta_sum, "checksum", "metadata of a schema")
    need(sum32(body[kinds_at:names_at]) == kinds_sum, "checksum", "kind records of a schema part")
    metadata = metadata_pairs(parse_json(text))
    records = [struct.unpack_from("<iiIIIII", body, 32 + 28 * i) for i in range(count)]
    kind_records = [struct.unpack_from("<III", body, kinds_at + 12 * i) for i in range(kind_count)]
    check(all(record[5] < kind_count for record in records), "a kind that is not there")
    need(sum(kind_records[record[5]][1] for record in records) <= MAX_BODY, "limit", "the kinds of all fields")
    array_at = names_at + names_nbytes
    kinds = read_kinds(body, kind_records, array_at, array_at + kinds_nbytes)

    fields: list[TableField] = []
    open_parents = [-1]  # the ids of the struct that the next field may belong to, and of those around it
    children: dict[int, list[str]] = {-1: []}
    at = names_at
    for i, (field_id, parent, name_sum, offset, nbytes, kind, record_sum) in enumerate(records):
        check(offset == at, f"the name of field {i} at {offset}, {at} expected")
        spelled = cut(body, offset, nbytes, "structure")
        at = offset + nbytes
        record = body[32 + 28 * i : 32 + 28 * i + 24]
        need(sum32(record + spelled) == record_sum, "checksum", f"record of field {i}")
        check(sum32(spelled) == name_sum, f"name hash of field {field_id}")
        described = {**kinds[kind], "name": utf8(spelled)}
        entry = TableField(field_id, parent, parse_field(described), described)
        check(0 <= field_id < next_field_id and field_id not in children, f"field id {field_id}")
        while open_parents[-1] != parent:
            open_parents.pop()
            check(bool(open_parents), f"field {field_id} does not stand below {parent}")
        siblings = children[parent]
        check(entry.field.name not in siblings, f"two siblings are called {entry.field.name!r}")
        siblings.append(entry.field.name)
        children[field_id] = []
        if entry.field.type.name == "struct":
            check(not entry.field.type.fields, "a struct with fields in its own type")
            open_parents.append(field_id)
            check(len(open_parents) <= 257, "structs nested more than 256 deep")
        fields.append(entry)
    check(at == array_at, "bytes between names and kinds")
    return fields, metadata


def read_kinds(body: bytes, kind_records: list[tuple[int, int, int]], start: int, end: int) -> list[dict]:
    """Give the kinds of a schema part, whose array stands at bytes start to end."""
    texts = []
    at = start
    for i, (offset, nbytes, kind_sum) in enumerate(kind_records):
        check(cut(body, at, 1, "structure") == (b"," if i else b"["), "kinds that are not one JSON array")
        check(offset == at + 1, f"kind {i} at {offset}, {at + 1} expected")
        text = cut(body, offset, nbytes, "structure")
        need(sum32(text) == kind_sum, "checksum", f"kind {i}")
        texts.append(text)
        at = offset + nbytes
    check(body[at:end] == (b"]" if kind_records else b"[]"), "kinds that are not one JSON array")
    kinds = [parse_json(text) for text in texts]
    check(all(type(kind) is dict for kind in kinds), "a kind that is no object")
    return kinds


def utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise NaiveError("structure", "a name that is not UTF-8") from None


# ---------------------------------------------------------------------------------------------- table.md, fragments


def parse_fragment(body: dict, next_field_id: int) -> Fragment:
    get(body, "id", is_int(0, 2**31 - 1))
    rows = get(body, "rows", is_int(1, 2**32))
    check(sum(end - start for start, end in get(body, "row_ids", is_list(is_range))) == rows, "row ids and rows")
    for name in ("created", "updated"):
        check(sum(count for _, count in get(body, name, is_list(is_run))) == rows, f"{name} and rows")
    need(get(body, "deletions", lambda _: True) is None, "feature", "deletions", "Unsupported")
    columns: dict[int, tuple[int, int]] = {}
    for number, file in enumerate(get(body, "files", is_list(is_object))):
        get(file, "path", is_path)
        get(file, "nbytes", is_int(1))
        get(file, "tail", is_digest)
        check(get(file, "rows") == rows, "a file of another row count than its fragment")
        need(get(file, "base", lambda _: True) is None, "feature", "base", "Unsupported")
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
    return Fragment(body, columns)


def check_stats(stats: list) -> None:
    def is_bound(value: object) -> bool:
        return value is None or (is_text(value) and re.fullmatch("([0-9a-f]{2})*", value) is not None)

    tests = (is_int(0, 2**31 - 1), is_bound, is_bound, is_int(0, 2**32), is_int(0, 2**32), is_int(0, 255))
    for row in stats:
        check(type(row) is list and len(row) == 6 and all(t(x) for t, x in zip(tests, row, strict=True)), "stats")
    check(all(a[0] < b[0] for a, b in pairwise(stats)), "stats that do not ascend")


def sums_of(fragments: list[Fragment]) -> dict:
    """Give the members of a part entry that fragments add up to; in version 0 all rows live."""
    ids = [f.body["id"] for f in fragments]
    starts, ends = zip(*(run for f in fragments for run in f.body["row_ids"]), strict=True)
    rows = sum(f.body["rows"] for f in fragments)
    out = {"fragments": len(fragments), "rows": rows, "live_rows": rows}
    return out | {"fragment_ids": [min(ids), max(ids) + 1], "row_ids": [min(starts), max(ends)]}


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
            found = [parse_fragment(f, next_field_id) for f in get(part, "fragments", is_list(is_object))]
            check(seen.isdisjoint(f.body["id"] for f in found), "a fragment id stands twice")
            seen |= {f.body["id"] for f in found}
        check(bool(found), "a part without fragments")
        check(sums_of(found) == promised, f"an entry of {promised}, its part holds {sums_of(found)}")
        fragments += found
    return fragments


# ---------------------------------------------------------------------------------------------- table.md, versions


def manifest_key(version: int, above: str = "") -> str:
    """Give the key of a root. above: where the versions of a branch lie."""
    return f"{above}_versions/{version // 256:016x}/{version:020d}.manifest"


def list_folder(folder: str, key: str) -> list[str]:
    path = os.path.join(folder, *key.split("/"))
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def list_versions(folder: str, branch: str | None = None) -> list[int]:
    """Give all versions of a table or of a branch, ascending; the last one is the newest (commit.md)."""
    versions = []
    above = above_of(folder, branch)
    for bucket in list_folder(folder, f"{above}_versions"):
        if not re.fullmatch("[0-9a-f]{16}", bucket):
            continue
        path = os.path.join(folder, above, "_versions", bucket)
        need(os.path.isdir(path) and not os.path.islink(path), "file-type", f"bucket {bucket} is no folder")
        for name in os.listdir(path):
            found = re.fullmatch(r"([0-9]{20})\.manifest", name)
            if found and 1 <= int(found[1]) < LIMIT and manifest_key(int(found[1])).endswith(f"/{bucket}/{name}"):
                versions.append(int(found[1]))
    return sorted(versions)


def is_tag_name(name: str) -> bool:
    if name in (".", "..") or name.startswith(".tmp-") or name.endswith(".lock"):
        return False
    return re.fullmatch("[A-Za-z0-9._-]{1,128}", name) is not None


def read_tag(folder: str, name: str) -> dict:
    need(is_tag_name(name), "tag", f"{name!r} cannot be a tag", "NotFound")
    body = open_json(read_object(folder, f"_refs/tags/{name}.tag", ("tag", "NotFound")), b"LLTG")
    check(get(body, "name", is_text) == name, f"a tag called {body['name']!r} at {name!r}")
    get(body, "branch", lambda value: value is None or (is_text(value) and is_branch_name(value)))
    get(body, "version", is_int(1))
    for name in ("created_us", "updated_us"):
        get(body, name)
    get(body, "manifest", is_digest)
    get(body, "manifest_nbytes", is_int(1))
    get(body, "metadata", is_texts)
    return body


def is_branch_name(name: str) -> bool:
    plain = len(name) <= 128 and name != "main" and ".." not in name
    return plain and all(is_tag_name(part) for part in name.split("/"))


def read_branch(folder: str, name: str) -> dict:
    need(is_branch_name(name), "branch", f"{name!r} cannot be a branch", "NotFound")
    key = f"_refs/branches/{name.replace('/', '+')}.branch"
    body = open_json(read_object(folder, key, ("branch", "NotFound")), b"LLBR")
    check(get(body, "name", is_text) == name, f"a branch called {body['name']!r} at {name!r}")
    get(body, "line", is_line)
    get(body, "parent", lambda value: value is None or (is_text(value) and is_branch_name(value)))
    get(body, "version", is_int(1))
    get(body, "ancestors", is_list(is_pair(is_int(1), is_line)))
    get(body, "created_us")
    get(body, "manifest", is_digest)
    get(body, "manifest_nbytes", is_int(1))
    get(body, "metadata", is_texts)
    return body


def is_line(value: object) -> bool:
    return is_text(value) and re.fullmatch(UUID, value) is not None


def above_of(folder: str, branch: str | None) -> str:
    return "" if branch is None else f"_branches/{read_branch(folder, branch)['line']}/"


def list_branches(folder: str) -> dict[str, dict]:
    """Give all branches with their objects."""
    files = [n for n in list_folder(folder, "_refs/branches") if re.fullmatch(r"[A-Za-z0-9._+-]{1,128}\.branch", n)]
    names = [file.removesuffix(".branch").replace("+", "/") for file in files]
    return {name: read_branch(folder, name) for name in names if is_branch_name(name)}


def list_tags(folder: str) -> dict[str, int]:
    """Give all tags with their versions."""
    names = [n[:-4] for n in list_folder(folder, "_refs/tags") if n.endswith(".tag")]
    return {name: read_tag(folder, name)["version"] for name in names if is_tag_name(name)}


def read_table(folder: str, version: int | None = None, tag: str | None = None, branch: str | None = None) -> Table:
    """Read one version of a table or of a branch whole: the newest one, a numbered one, or the one that a tag names."""
    if tag is not None:
        named = read_tag(folder, tag)
        version, branch = named["version"], named["branch"]
    above = above_of(folder, branch)
    if version is None:
        versions = list_versions(folder, branch)
        need(bool(versions), "branch" if above else "dataset", f"no version in {folder}/{above}", "NotFound")
        version = versions[-1]
    data = read_object(folder, manifest_key(version, above), ("version", "NotFound"))
    root = open_json(data, b"LLMF")
    need(tag is None or sum64(data) == int(named["manifest"], 16), "tag", f"tag {tag!r} names another root")
    transaction = check_root(folder, root, version)

    fields, metadata = read_schema(read_part(folder, root["schema"]), root["next_field_id"])
    parts, tail = (get(root["fragments"], name, is_list(is_object)) for name in ("parts", "tail"))
    fragments = read_fragments(folder, parts, 17, MAX_FRAGMENTS, root["next_field_id"], set())
    fragments += [parse_fragment(f, root["next_field_id"]) for f in tail]
    check_fragments(root, fragments)
    files = {f["path"]: read_data_file(folder, f) for fragment in fragments for f in fragment.body["files"]}
    rows = [row for fragment in fragments for row in rows_of(fragment, fields, files)]
    return Table(version, root, transaction, fields, metadata, fragments, files, rows)


def check_root(folder: str, root: dict, version: int) -> dict:
    """Check the members of a root, and give its transaction record."""
    check(get(root, "version") == version, f"version {root['version']} in the place of {version}")
    need(get(root, "reader_features") == 0, "feature", f"reader features {root['reader_features']:#x}", "Unsupported")
    for name in ("writer_features", "next_row_id", "rows"):
        get(root, name)
    get(root, "timestamp_us", is_int(1))
    for name in ("name", "version"):
        get(get(root, "writer", is_object), name, is_text)
    for name in ("next_field_id", "next_fragment_id"):
        get(root, name, is_int(0, 2**31))
    get(root, "schema", is_reference("schema"))
    get(root, "fragments", is_object)
    check(get(root, "live_rows") == root["rows"], "live rows that differ from the rows")
    get(root, "indices", is_list(is_object))
    need(not get(root, "bases", is_object), "feature", "bases", "Unsupported")
    get(root, "metadata", is_texts)
    get(root, "config", is_texts)

    record = get(root, "transaction", is_object)
    if "ref" in record:
        record = open_json(read_part(folder, get(record, "ref", is_reference("txn"))), b"LLTX")
    get(record, "uuid", lambda value: is_text(value) and re.fullmatch(UUID, value) is not None)
    get(record, "kind", is_text)
    get(record, "read_version", is_int(0, version - 1))
    get(record, "message", lambda value: value is None or is_text(value))
    get(record, "properties", is_texts)
    get(record, "row_ids", is_list(is_range))
    check(all(end <= 2**31 for _, end in get(record, "fields", is_list(is_range))), "ids of fields")
    get(record, "fragments_added", is_list(is_int(0, 2**31 - 1)))
    for name in ("files_added", "files_removed"):
        get(record, name, is_list(is_path))
    get(record, "source_version", lambda value: value is None or is_int(1)(value))
    return record


def check_fragments(root: dict, fragments: list[Fragment]) -> None:
    ids = [f.body["id"] for f in fragments]
    check(len(set(ids)) == len(ids), "a fragment id stands twice")
    check(max(ids, default=-1) < root["next_fragment_id"], "a fragment id that is not below the counter")
    check(sum(f.body["rows"] for f in fragments) == root["rows"], "the rows of the fragments and of the root")
    ranges = sorted(run for f in fragments for run in f.body["row_ids"])
    overlap = any(a[1] > b[0] for a, b in pairwise(ranges))
    need(not overlap, "row-ids", "a row id stands twice")
    check(not ranges or ranges[-1][1] <= root["next_row_id"], "a row id that is not below the counter")


def read_data_file(folder: str, entry: dict) -> DataFile:
    data = read_object(folder, entry["path"])
    need(len(data) == entry["nbytes"], "identity", f"{entry['path']} has {len(data)} bytes, not {entry['nbytes']}")
    file = read_file(data, int(entry["tail"], 16))
    check(file.num_rows == entry["rows"], f"{entry['path']} has {file.num_rows} rows, not {entry['rows']}")
    columns = sum(count for _, count in entry["fields"])
    check(len(file.columns) == columns, f"{entry['path']} has {len(file.columns)} columns, not {columns}")
    return file


def rows_of(fragment: Fragment, fields: list[TableField], files: dict[str, DataFile]) -> list[dict]:
    """Give the rows of a fragment as dicts, with _rowid."""
    rows = fragment.body["rows"]
    need(rows <= MAX_VALUES, "limit", f"{rows} rows in one fragment, more than this reader holds")

    def values_of(wanted: TableField) -> list:
        if wanted.id not in fragment.columns:
            return [None] * rows
        number, column_number = fragment.columns[wanted.id]
        column = files[fragment.body["files"][number]["path"]].columns[column_number]
        same = column.field.type.shape == wanted.field.type.shape
        need(same, "type", f"field {wanted.id} has another type in a file")
        if wanted.field.type.name != "struct":
            return column.values
        below = [f for f in fields if f.parent == wanted.id]
        return put_together(column.values, [f.field.name for f in below], [values_of(f) for f in below])

    top = [f for f in fields if f.parent == -1]
    columns = [fragment.row_ids, *(values_of(f) for f in top)]
    names = ["_rowid", *(f.field.name for f in top)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
