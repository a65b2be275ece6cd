"""Second reader, part 6 of 6, and its door: a version of a table (format_spec/table.md, commit.md).

`read_file` and `read_table` read everything, check everything, and raise `NaiveError` or answer right.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass

from naive_file import MAX_COLUMNS, DataFile, put_together, read_file
from naive_fragments import MAX_FRAGMENTS, Fragment, parse_fragment, read_fragments, versions_of
from naive_objects import (
    MAX_BODY,
    UUID,
    check,
    get,
    is_digest,
    is_object,
    is_path,
    is_reference,
    is_texts,
    open_envelope,
    open_json,
    read_object,
    read_part,
)
from naive_types import (
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


@dataclass
class TableField:
    """A field of a table's schema. json: its field JSON."""

    id: int
    parent: int
    field: Field
    json: dict


@dataclass
class Table:
    """One version of a table.

    rows: its live rows in scan order, each a dict with _rowid; created, updated: the versions of each; metadata: of
    the schema.
    """

    version: int
    root: dict
    transaction: dict
    fields: list[TableField]
    metadata: list[tuple[bytes, bytes]]
    fragments: list[Fragment]
    files: dict[str, DataFile]
    rows: list[dict]
    created: list[int]
    updated: list[int]


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
    fragments += [parse_fragment(folder, f, root["next_field_id"]) for f in tail]
    check_fragments(root, fragments)
    named = [f for fragment in fragments for f in fragment.body["files"]]
    places = {None: folder, **{int(number): uri for number, uri in root["bases"].items()}}
    check(all(f["base"] in places for f in named), "a base that the root does not have")
    files = {(f["base"], f["path"]): read_data_file(places[f["base"]], f) for f in named}
    rows = [row for fragment in fragments for row in rows_of(fragment, fields, files)]
    created, updated = (
        [v for f in fragments for v in f.live_values(versions_of(runs(f)))]
        for runs in (lambda f: f.created, lambda f: f.updated)
    )
    return Table(version, root, transaction, fields, metadata, fragments, files, rows, created, updated)


def check_root(folder: str, root: dict, version: int) -> dict:
    """Check the members of a root, and give its transaction record."""
    check(get(root, "version") == version, f"version {root['version']} in the place of {version}")
    need(get(root, "reader_features") == 0, "feature", f"reader features {root['reader_features']:#x}", "Unsupported")
    for name in ("writer_features", "next_row_id", "rows", "live_rows"):
        get(root, name)
    get(root, "timestamp_us", is_int(1))
    for name in ("name", "version"):
        get(get(root, "writer", is_object), name, is_text)
    for name in ("next_field_id", "next_fragment_id"):
        get(root, name, is_int(0, 2**31))
    get(root, "schema", is_reference("schema"))
    get(root, "fragments", is_object)
    get(root, "indices", is_list(is_object))
    for number, uri in get(root, "bases", is_texts).items():
        check(re.fullmatch("[1-9][0-9]{0,9}", number) is not None and int(number) < 2**31, f"base {number!r}")
        whole = re.match("/|[A-Za-z][A-Za-z0-9+.-]*://", uri) is not None
        check(whole and len(uri) <= 8192 and uri.isprintable(), f"the URI {uri!r} of a base")
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
    get(record, "files_added", is_list(is_path))
    get(record, "source_version", lambda value: value is None or is_int(1)(value))
    if "predicate" in record:
        get(record, "predicate", is_text)
    return record


def check_fragments(root: dict, fragments: list[Fragment]) -> None:
    ids = [f.body["id"] for f in fragments]
    check(len(set(ids)) == len(ids), "a fragment id stands twice")
    check(max(ids, default=-1) < root["next_fragment_id"], "a fragment id that is not below the counter")
    check(sum(f.body["rows"] for f in fragments) == root["rows"], "the rows of the fragments and of the root")
    check(sum(f.live for f in fragments) == root["live_rows"], "the live rows of the fragments and of the root")
    highest = max((f.bounds[1] for f in fragments), default=0)
    check(highest <= root["next_row_id"], "a row id that is not below the counter")
    rows = sum(f.body["rows"] for f in fragments)
    need(rows <= MAX_VALUES, "limit", f"{rows} rows, more than this reader holds")
    live = [row_id for f in fragments for row_id in f.live_values(f.all_ids())]
    need(len(set(live)) == len(live), "row-ids", "two live rows have one id")


def read_data_file(folder: str, entry: dict) -> DataFile:
    data = read_object(folder, entry["path"])
    need(len(data) == entry["nbytes"], "identity", f"{entry['path']} has {len(data)} bytes, not {entry['nbytes']}")
    file = read_file(data, int(entry["tail"], 16))
    check(file.num_rows == entry["rows"], f"{entry['path']} has {file.num_rows} rows, not {entry['rows']}")
    columns = sum(count for _, count in entry["fields"])
    check(len(file.columns) == columns, f"{entry['path']} has {len(file.columns)} columns, not {columns}")
    return file


def rows_of(fragment: Fragment, fields: list[TableField], files: dict[tuple, DataFile]) -> list[dict]:
    """Give the live rows of a fragment as dicts, with _rowid."""
    rows = fragment.body["rows"]

    def values_of(wanted: TableField) -> list:
        if wanted.id not in fragment.columns:
            return [None] * rows
        number, column_number = fragment.columns[wanted.id]
        file = fragment.body["files"][number]
        column = files[file["base"], file["path"]].columns[column_number]
        same = column.field.type.shape == wanted.field.type.shape
        need(same, "type", f"field {wanted.id} has another type in a file")
        if wanted.field.type.name != "struct":
            return column.values
        below = [f for f in fields if f.parent == wanted.id]
        return put_together(column.values, [f.field.name for f in below], [values_of(f) for f in below])

    top = [f for f in fields if f.parent == -1]
    columns = [fragment.all_ids(), *(values_of(f) for f in top)]
    names = ["_rowid", *(f.field.name for f in top)]
    return fragment.live_values([dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)])
