"""Tables made by hand: what the spec allows, the naive reader and the package both read; what it forbids, both refuse.

A table is written with the package, then its root, parts or schema are edited as JSON and sealed again with right
checksums. The package is used through its public names only.
"""

import base64
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from forge import Forge, bitmap, deletions, file, lineage, packed, seal, tail, text, tree
from naive_reader import NaiveError, list_tags, list_versions, manifest_key, read_table, sum32, sum64

import lance_like

ROWS = [{"id": i, "s": {"x": "ab"[i % 2]} if i % 3 else None} for i in range(6)]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Three fragments of two rows, as the package writes them."""
    folder = tmp_path_factory.mktemp("written") / "t"
    schema = pa.schema([("id", pa.int64()), ("s", pa.struct([("x", pa.string())]))])
    data = pa.Table.from_pylist(ROWS, schema=schema)
    lance_like.write_dataset(data, folder, max_rows_per_file=2, durability="process")
    return folder


@pytest.fixture
def forge(written, tmp_path) -> Forge:
    return Forge(Path(shutil.copytree(written, tmp_path / "t")))


def outcome(read: Callable[[], object]) -> object:
    """Give what a read answers, or class and kind of its refusal."""
    try:
        return read()
    except NaiveError as error:
        return error.family, error.kind
    except lance_like.errors.LanceLikeError as error:
        return type(error).__name__, error.kind


def naive_rows(folder: Path):
    return outcome(lambda: [{k: v for k, v in row.items() if k != "_rowid"} for row in read_table(folder).rows])


def test_a_clone_is_read_by_its_bases(written, tmp_path):
    first = lance_like.dataset(written).shallow_clone(tmp_path / "first")
    first.insert({"id": [7], "s": [None]})
    second = first.shallow_clone(tmp_path / "second")
    assert second._manifest.bases == {1: str(written), 2: str(tmp_path / "first")}
    for folder in ("first", "second"):
        found = [{name: row[name] for name in ("id", "s")} for row in read_table(tmp_path / folder).rows]
        assert found == [*ROWS, {"id": 7, "s": None}] == package_rows(tmp_path / folder)


def package_rows(folder: Path):
    """All rows; and each is found by its id."""

    def read() -> list[dict]:
        ds = lance_like.dataset(folder)
        columns = [*ds.schema.names, "_rowid"]
        rows = ds.to_table(columns)
        assert ds._take_rows(rows["_rowid"].to_pylist(), columns).equals(rows)
        return rows.drop_columns(["_rowid"]).to_pylist()

    return outcome(read)


# ---------------------------------------------------------------------------------------------- allowed


@pytest.mark.parametrize("levels", [(), (1,), (1, 2), (16,), (3, 7, 8)])
def test_a_tree_of_any_shape_is_read(forge, levels):
    forge.root["fragments"] = {"parts": tree(forge, levels), "tail": []}
    forge.publish()
    assert naive_rows(forge.folder) == package_rows(forge.folder) == ROWS


def split_runs(root: dict) -> None:
    for fragment in root["fragments"]["tail"]:
        start, end = fragment["row_ids"][0]
        fragment["row_ids"] = [[i, i + 1] for i in range(start, end)]
        fragment["created"] = fragment["updated"] = [[1, 1], [1, 1]]
        fragment["files"][0]["fields"] = [[0, 1], [1, 1], [2, 1]]


def shuffle_ids(root: dict) -> None:
    tail = root["fragments"]["tail"]
    tail[0]["row_ids"], tail[2]["row_ids"] = [[5, 6], [0, 1]], [[3, 4], [1, 2]]
    tail[1]["row_ids"] = [[2, 3], [4, 5]]
    tail[0]["id"], tail[2]["id"] = 2, 0


def unknown_index() -> dict:
    """An index of a kind that nobody knows, with more members than there are."""
    segment = {"uuid": "e" * 32, "version": 1, "format": 9, "created_us": 0, "files": [], "rows": 2}
    segment |= {"row_ids": [[0, 1], [2, 3]], "apart": None, "invalid": None, "detail": {"later": None}, "later": 1}
    return {"name": "n", "kind": "LATER", "fields": [0], "json": None, "params": {}, "segments": [segment], "later": 2}


ALLOWED = {
    "unknown members": lambda root: root.update(later={"x": [1.5, None]}) or root["fragments"].update(later=1),
    "unknown writer features": lambda root: root.update(writer_features=1 << 52),
    "an unknown kind of index": lambda root: root.update(indices=[unknown_index()]),
    "runs of one": split_runs,
    "no statistics": lambda root: [f["files"][0].update(stats=[]) for f in root["fragments"]["tail"]],
    "counters far ahead": lambda root: root.update(
        next_row_id=1 << 52, next_field_id=1 << 31, next_fragment_id=1 << 31
    ),
    "row ids in another order": shuffle_ids,
    "an unknown action": lambda root: root["transaction"].update(kind="later"),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_the_spec_allows_is_read(forge, name):
    ALLOWED[name](forge.root)
    forge.publish()
    assert naive_rows(forge.folder) == package_rows(forge.folder) == ROWS


def test_json_may_have_spaces_and_any_order(forge):
    forge.publish(json.dumps(dict(reversed(forge.root.items())), indent=3).encode())
    assert naive_rows(forge.folder) == package_rows(forge.folder) == ROWS


def test_a_dead_column_is_not_read(forge):
    for fragment in forge.root["fragments"]["tail"]:
        fragment["files"][0]["fields"] = [[-1, 1], [1, 2]]
        fragment["files"][0]["stats"] = []
    forge.publish()
    assert naive_rows(forge.folder) == package_rows(forge.folder) == [{**row, "id": None} for row in ROWS]


def test_a_struct_that_no_file_holds_is_null_with_all_below(forge):
    for fragment in forge.root["fragments"]["tail"]:
        fragment["files"][0]["fields"] = [[0, 1], [-1, 1], [2, 1]]
        fragment["files"][0]["stats"] = []
    forge.publish()
    assert naive_rows(forge.folder) == package_rows(forge.folder) == [{**row, "s": None} for row in ROWS]


def test_a_child_that_no_file_holds_is_null_in_its_struct(forge):
    for fragment in forge.root["fragments"]["tail"]:
        fragment["files"][0]["fields"] = [[0, 2], [-1, 1]]
        fragment["files"][0]["stats"] = []
    forge.publish()
    expected = [{**row, "s": row["s"] and {"x": None}} for row in ROWS]
    assert naive_rows(forge.folder) == package_rows(forge.folder) == expected


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("with_runs", [(), (0,)])
def test_deleted_rows_are_left_out(forge, apart, with_runs):
    data = bitmap([1], with_runs)
    member = {"ref": forge.put(f"_meta/{8:032x}.del", seal(b"LLDV", data)), "data": "not looked at", "later": 1}
    delete(forge.root, member if apart else {"data": base64.b64encode(data).decode()})
    forge.publish()
    assert naive_rows(forge.folder) == package_rows(forge.folder) == [ROWS[0], *ROWS[2:]]


def test_a_deleted_row_may_have_the_id_of_another(forge):
    delete(forge.root, deletions([1]))
    forge.root["fragments"]["tail"][2]["row_ids"] = [[1, 2], [5, 6]]
    forge.publish()
    assert naive_rows(forge.folder) == package_rows(forge.folder) == [ROWS[0], *ROWS[2:]]
    assert [row["_rowid"] for row in read_table(forge.folder).rows] == [0, 2, 3, 1, 5]


@pytest.mark.parametrize("widths", [(1, 1), (2, 4), (8, 8)])
def test_a_lineage_in_a_part_is_read(forge, widths):
    runs = packed([(1, 2)], *widths)
    body = lineage(packed([(2, 1), (3, 1)], *widths), runs, runs)
    ref = forge.put(f"_meta/{8:032x}.rows", seal(b"LLLN", body))
    tail(forge.root).update(NO_RUNS, lineage={"ref": ref, "row_ids": [0, 2]})
    forge.publish()
    assert naive_rows(forge.folder) == package_rows(forge.folder) == ROWS
    assert [row["_rowid"] for row in read_table(forge.folder).rows] == [1, 0, 2, 3, 4, 5]


# ---------------------------------------------------------------------------------------------- forbidden


ROOT = "version timestamp_us writer reader_features writer_features next_row_id next_field_id next_fragment_id schema"
ROOT += " fragments rows live_rows indices bases metadata transaction"
FRAGMENT = "id rows row_ids files deletions created updated lineage"
FILE = "path nbytes tail rows fields base stats"
RECORD = "uuid kind read_version message properties row_ids fields files_added fragments_added"
RECORD += " source_version"
NO_RUNS = {"row_ids": [], "created": [], "updated": []}


def delete(root: dict, member: dict, rows: int = 1) -> None:
    """Say that rows of the first fragment are deleted. member: where it is said which."""
    tail(root)["deletions"] = {"rows": rows, **member}
    root["live_rows"] -= rows


STRUCTURE = {
    "deletions without a bitmap": lambda r: delete(r, {}),
    "deletions that are a list": lambda r: tail(r).update(deletions=[]),
    "deletions of no row": lambda r: delete(r, deletions([]), 0),
    "deletions of a row of no bitmap": lambda r: delete(r, {"data": ""}),
    "a row too few": lambda r: delete(r, {"data": deletions([0, 1])["data"]}),
    "deletions that the root does not know": lambda r: tail(r).update(deletions=deletions([0])),
    "both rows deleted": lambda r: delete(r, deletions([0, 1]), 2),
    "a row past the last one": lambda r: delete(r, deletions([2])),
    "a lineage without a part": lambda r: tail(r).update(NO_RUNS, lineage={"row_ids": [0, 2]}),
    "no lineage at all": lambda r: tail(r).update(NO_RUNS),
    **{f"no {name}": lambda r, name=name: r.pop(name) for name in ROOT.split()},
    **{f"no {name} of a fragment": lambda r, name=name: tail(r).pop(name) for name in FRAGMENT.split()},
    **{f"no {name} of a file": lambda r, name=name: file(r).pop(name) for name in FILE.split()},
    **{f"no {name} of the record": lambda r, name=name: r["transaction"].pop(name) for name in RECORD.split()},
    "another version": lambda r: r.update(version=2),
    "version 1.0": lambda r: r.update(version=1.0),
    "version true": lambda r: r.update(version=True),
    "rows of 2^53": lambda r: r.update(rows=1 << 53),
    "negative counter": lambda r: r.update(next_row_id=-1),
    "timestamp 0": lambda r: r.update(timestamp_us=0),
    "a writer that is text": lambda r: r.update(writer="me"),
    "metadata of numbers": lambda r: r.update(metadata={"k": 1}),
    "text with a lone surrogate": lambda r: r.update(metadata={"k": "\ud800"}),
    "other rows": lambda r: r.update(rows=7, live_rows=7),
    "fewer live rows": lambda r: r.update(live_rows=5),
    "field counter too low": lambda r: r.update(next_field_id=2),
    "fragment counter too low": lambda r: r.update(next_fragment_id=2),
    "fragment counter too high": lambda r: r.update(next_fragment_id=(1 << 31) + 1),
    "a fragment twice": lambda r: r["fragments"]["tail"][1].update(id=0),
    "a fragment without rows": lambda r: tail(r).update(rows=0, row_ids=[], created=[], updated=[]),
    "row ids that do not add up": lambda r: tail(r).update(row_ids=[[0, 1]]),
    "a range backwards": lambda r: tail(r).update(row_ids=[[0, 3], [3, 2]]),
    "a run of 0": lambda r: tail(r).update(created=[[1, 2], [1, 0]]),
    "runs that do not add up": lambda r: tail(r).update(updated=[[1, 3]]),
    "no files": lambda r: tail(r).update(files=[]),
    "a file of other rows": lambda r: file(r).update(rows=3),
    "a field twice": lambda r: file(r).update(fields=[[0, 2], [0, 1]]),
    "a field past the counter": lambda r: file(r).update(fields=[[0, 2], [3, 1]]),
    "a field -2": lambda r: file(r).update(fields=[[0, 2], [-2, 1]]),
    "a run of no fields": lambda r: file(r).update(fields=[[0, 3], [-1, 0]]),
    "fewer fields than columns": lambda r: file(r).update(fields=[[0, 2]], stats=[]),
    "more fields than columns": lambda r: file(r).update(fields=[[0, 3], [-1, 1]]),
    "an upper-case digest": lambda r: file(r).update(tail="ABCDEF0123456789"),
    "a digest that is a number": lambda r: file(r).update(tail=5),
    "statistics out of order": lambda r: file(r).update(stats=[[1, None, None, 0, 0, 0], [0, None, None, 0, 0, 0]]),
    "statistics of five": lambda r: file(r).update(stats=[[1, None, None, 0, 0]]),
    "statistics in capitals": lambda r: file(r).update(stats=[[0, "AA", None, 0, 0, 1]]),
    "read_version its own": lambda r: r["transaction"].update(read_version=1),
    "a predicate of null": lambda r: r["transaction"].update(predicate=None),
    "a predicate that is no text": lambda r: r["transaction"].update(predicate=["n = 1"]),
    "a uuid of capitals": lambda r: r["transaction"].update(uuid="A" * 32),
    "an empty part": lambda r: r["fragments"].update(parts=[{}]),
    "indices of numbers": lambda r: r.update(indices=[5]),
    "bases that are a list": lambda r: r.update(bases=[]),
    "reference of two": lambda r: r.update(schema=r["schema"][:2]),
    **{
        f"path {path!r}": lambda r, path=path: file(r).update(path=path)
        for path in ("", "/etc/passwd", "data//x", "data/../x", "./x", "a\\b", "c:x", "a%2fb", "a\0b", "x" * 1025, "a/")
    },
}
OTHER = {
    "no such file": (lambda r: file(r).update(path=f"data/{0:032x}.lnl"), ("Corrupt", "missing")),
    "no such schema": (lambda r: r.update(schema=[f"_meta/{0:032x}.schema", 300, "0" * 16]), ("Corrupt", "missing")),
    "schema of another digest": (lambda r: r["schema"].__setitem__(2, "0" * 16), ("Corrupt", "checksum")),
    "schema of another size": (lambda r: r["schema"].__setitem__(1, r["schema"][1] - 1), ("Corrupt", "checksum")),
    "a row id twice": (lambda r: tail(r).update(row_ids=[[1, 3]]), ("Corrupt", "row-ids")),
    "a row id twice in a fragment": (lambda r: tail(r).update(row_ids=[[0, 1], [0, 1]]), ("Corrupt", "row-ids")),
    "no such deletions": (lambda r: delete(r, {"ref": [f"_meta/{0:032x}.del", 30, "0" * 16]}), ("Corrupt", "missing")),
    "no such lineage": (
        lambda r: tail(r).update(NO_RUNS, lineage={"ref": [f"_meta/{0:032x}.rows", 30, "0" * 16], "row_ids": [0, 2]}),
        ("Corrupt", "missing"),
    ),
    "file of another tail": (lambda r: file(r).update(tail="0" * 16), ("Corrupt", "identity")),
    "reader features": (lambda r: r.update(reader_features=4), ("Unsupported", "feature")),
    "base": (lambda r: file(r).update(base=1), ("Corrupt", "structure")),
    "bases": (lambda r: r.update(bases={"1": "x"}), ("Corrupt", "structure")),
}


@pytest.mark.parametrize("name", STRUCTURE)
def test_a_root_that_breaks_a_rule_is_refused(forge, name):
    STRUCTURE[name](forge.root)
    forge.publish(json.dumps(forge.root).encode())
    assert naive_rows(forge.folder) == ("Corrupt", "structure")


@pytest.mark.parametrize("name", STRUCTURE)
def test_a_root_that_breaks_a_rule_is_refused_by_the_package(forge, name):
    STRUCTURE[name](forge.root)
    forge.publish(json.dumps(forge.root).encode())
    assert package_rows(forge.folder)[0] == "Corrupt"


@pytest.mark.parametrize("name", OTHER)
def test_a_root_that_names_the_wrong_things_is_refused(forge, name):
    edit, error = OTHER[name]
    edit(forge.root)
    forge.publish()
    assert naive_rows(forge.folder) == error


@pytest.mark.parametrize("name", OTHER)
def test_a_root_that_names_the_wrong_things_is_refused_by_the_package(forge, name):
    edit, error = OTHER[name]
    edit(forge.root)
    forge.publish()
    assert package_rows(forge.folder)[0] == error[0]


JSON = {
    "no JSON": b"{",
    "a list": b"[]",
    "NaN": b'{"version":NaN}',
    "Infinity": b'{"version":-Infinity}',
    "a key twice": b'{"version":1,"version":1}',
    "not UTF-8": b'{"version":"\xff"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "deep": b"[" * 100_000,
    "nothing": b"",
}


@pytest.mark.parametrize("name", JSON)
def test_a_root_that_is_no_json_object_is_refused_by_both(forge, name):
    forge.publish(JSON[name])
    assert naive_rows(forge.folder) == ("Corrupt", "structure" if name == "a list" else "json")
    assert package_rows(forge.folder)[0] == "Corrupt"


def test_a_root_with_a_member_twice_is_refused_by_both(forge):
    forge.publish(text(forge.root).replace(b'"metadata":{}', b'"metadata":{},"metadata":{"a":"b"}'))
    assert naive_rows(forge.folder) == ("Corrupt", "json")
    assert package_rows(forge.folder)[0] == "Corrupt"


def reseal(data: bytes, body_length: int) -> bytes:
    head = data[:8] + struct.pack("<Q", body_length) + data[16:-8]
    return head + struct.pack("<Q", sum64(head))


ENVELOPES = {
    "an empty root": (lambda data: b"", ("Corrupt", "truncated")),
    "23 bytes": (lambda data: data[:23], ("Corrupt", "truncated")),
    "a root that is cut": (lambda data: data[:-1], ("Corrupt", "checksum")),
    "a root with a byte behind it": (lambda data: data + b"x", ("Corrupt", "checksum")),
    "the magic of a tag": (lambda data: seal(b"LLTG", data[16:-8]), ("Corrupt", "magic")),
    "format version 1": (lambda data: seal(b"LLMF", data[16:-8], 1), ("Unsupported", "format-version")),
    "a body length one more": (lambda data: reseal(data, len(data) - 23), ("Corrupt", "length")),
    "a body length of 2^64 - 1": (lambda data: reseal(data, 2**64 - 1), ("Corrupt", "limit")),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_an_envelope_that_breaks_a_rule_is_refused_by_both(forge, name):
    edit, error = ENVELOPES[name]
    forge.put(manifest_key(1), edit((forge.folder / manifest_key(1)).read_bytes()))
    assert naive_rows(forge.folder) == error
    assert package_rows(forge.folder)[0] == error[0]


PARTS = {
    "fragments": lambda entry, body: entry.update(fragments=4),
    "rows": lambda entry, body: entry.update(rows=7),
    "live rows": lambda entry, body: entry.update(live_rows=5),
    "fragment ids": lambda entry, body: entry.update(fragment_ids=[0, 4]),
    "row ids": lambda entry, body: entry.update(row_ids=[0, 7]),
    "level": lambda entry, body: entry.update(level=2),
    "level 17": lambda entry, body: (entry.update(level=17), body.update(level=17)),
    "no entries": lambda entry, body: body.update(parts=[]),
    "no array": lambda entry, body: body.pop("parts"),
    "an entry of its own level": lambda entry, body: body["parts"][0].update(level=1),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_not_as_its_entry_says_is_refused_by_both(forge, name):
    (entry,) = tree(forge, (1,))
    body = json.loads((forge.folder / entry["ref"][0]).read_bytes()[16:-8])
    PARTS[name](entry, body)
    entry["ref"] = forge.part(body, 500)
    forge.root["fragments"] = {"parts": [entry], "tail": []}
    forge.publish()
    assert naive_rows(forge.folder) == ("Corrupt", "structure")
    assert package_rows(forge.folder)[0] == "Corrupt"


# The schema part of `written`: 3 records at 32, 3 kind records at 116, the names "idsx" at 152, then the kinds.
RECORD_AT, KIND_AT, NAMES_AT, ARRAY_AT = 32, 116, 152, 156


def record(number: int, offset: int, layout: str, *values: int) -> Callable[[bytearray], None]:
    """Change a record of a schema part, and its checksum."""

    def edit(body: bytearray) -> None:
        at = RECORD_AT + 28 * number
        struct.pack_into(layout, body, at + offset, *values)
        place, nbytes = struct.unpack_from("<II", body, at + 12)
        struct.pack_into("<I", body, at + 24, sum32(bytes(body[at : at + 24] + body[place : place + nbytes])))

    return edit


def kind_sums(body: bytearray) -> None:
    """Make the checksums of the kinds, of their records and of the head right."""
    for at in range(KIND_AT, NAMES_AT, 12):
        place, nbytes = struct.unpack_from("<II", body, at)
        struct.pack_into("<I", body, at + 8, sum32(bytes(body[place : place + nbytes])))
    struct.pack_into("<I", body, 24, sum32(bytes(body[KIND_AT:NAMES_AT])))
    struct.pack_into("<I", body, 28, sum32(bytes(body[:28])))


def replace(old: bytes, new: bytes) -> Callable[[bytearray], None]:
    """Change the JSON of the kinds."""

    def edit(body: bytearray) -> None:
        assert len(old) == len(new) and old in body
        body[:] = body.replace(old, new)
        kind_sums(body)

    return edit


def kind(number: int, offset: int, value: int) -> Callable[[bytearray], None]:
    """Change a member of a kind record."""

    def edit(body: bytearray) -> None:
        struct.pack_into("<I", body, KIND_AT + 12 * number + offset, value)
        kind_sums(body)

    return edit


def head(offset: int, value: int) -> Callable[[bytearray], None]:
    def edit(body: bytearray) -> None:
        struct.pack_into("<I", body, offset, value)
        struct.pack_into("<I", body, 28, sum32(bytes(body[:28])))

    return edit


def named(number: int, name: bytes) -> Callable[[bytearray], None]:
    """Give a field of a name of one byte another one."""

    def edit(body: bytearray) -> None:
        body[NAMES_AT + 1 + number : NAMES_AT + 2 + number] = name
        record(number, 8, "<I", sum32(name))(body)

    return edit


def siblings(body: bytearray) -> None:
    """The field "x" moves to the top and is called "s" too."""
    named(2, b"s")(body)
    record(2, 4, "<i", -1)(body)


SCHEMAS = {
    "a wrong name hash": (record(0, 8, "<I", 5), ("Corrupt", "structure")),
    "an id twice": (record(1, 0, "<i", 0), ("Corrupt", "structure")),
    "an id past the counter": (record(1, 0, "<i", 9), ("Corrupt", "structure")),
    "a negative id": (record(1, 0, "<i", -5), ("Corrupt", "structure")),
    "a parent that is no struct": (record(2, 4, "<i", 0), ("Corrupt", "structure")),
    "a parent that is not there": (record(2, 4, "<i", 7), ("Corrupt", "structure")),
    "a parent that comes later": (record(0, 4, "<i", 1), ("Corrupt", "structure")),
    "itself as parent": (record(1, 4, "<i", 1), ("Corrupt", "structure")),
    "siblings of one name": (siblings, ("Corrupt", "structure")),
    "a name that is not UTF-8": (named(2, b"\xff"), ("Corrupt", "structure")),
    "a name out of its place": (record(1, 12, "<I", NAMES_AT), ("Corrupt", "structure")),
    "a name that is too long": (record(2, 16, "<I", 2), ("Corrupt", "structure")),
    "a kind that is not there": (record(2, 20, "<I", 3), ("Corrupt", "structure")),
    "a parent of another kind": (record(1, 20, "<I", 0), ("Corrupt", "structure")),
    "an unknown type": (replace(b'"int64"', b'"later"'), ("Unsupported", "type")),
    "a kind that is no object": (
        replace(b'{"type":"int64","nullable":true}', b'["type","int64","nullable",true]'),
        ("Corrupt", "structure"),
    ),
    "a kind out of its place": (kind(1, 0, ARRAY_AT), ("Corrupt", "structure")),
    "a kind that is too short": (kind(2, 4, 31), ("Corrupt", "structure")),
    "a gap in the array": (lambda body: body.__setitem__(ARRAY_AT + 33, 32), ("Corrupt", "structure")),
    "another bracket": (lambda body: body.__setitem__(ARRAY_AT, 32), ("Corrupt", "structure")),
    "no end of the array": (lambda body: body.__setitem__(len(body) - 3, 32), ("Corrupt", "structure")),
    "something at the end": (lambda body: body.extend(b" "), ("Corrupt", "structure")),
    "a byte too few": (lambda body: body.pop(), ("Corrupt", "structure")),
    "a million fields and one": (head(0, 1_000_001), ("Corrupt", "limit")),
    "a million kinds and one": (head(4, 1_000_001), ("Corrupt", "limit")),
    "another number of fields": (head(0, 2), ("Corrupt", "structure")),
    "4 GiB of names": (head(8, 2**32 - 1), ("Corrupt", "structure")),
}
SCHEMA_SUMS = {
    "of a record": lambda body: body.__setitem__(RECORD_AT + 24, body[RECORD_AT + 24] ^ 1),
    "of a kind": lambda body: body.__setitem__(ARRAY_AT + 10, body[ARRAY_AT + 10] ^ 1),
    "of the kind records": lambda body: body.__setitem__(KIND_AT + 8, body[KIND_AT + 8] ^ 1),
    "of the head": lambda body: struct.pack_into("<I", body, 28, 9),
    "of the metadata": lambda body: body.__setitem__(slice(len(body) - 2, len(body)), b"{}"),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_that_breaks_a_rule_is_refused_by_both(forge, name):
    edit, error = SCHEMAS[name]
    forge.schema(edit)
    forge.publish()
    assert naive_rows(forge.folder) == error
    assert package_rows(forge.folder)[0] == error[0]


def test_a_fault_in_one_field_does_not_keep_the_package_from_the_others(forge):
    forge.schema(record(0, 8, "<I", 5))
    forge.publish()
    ds = lance_like.dataset(forge.folder)
    assert ds.take([1, 4], columns=["s"]).to_pylist() == [{"s": {"x": "b"}}, {"s": {"x": "a"}}]
    assert ds.to_table(columns=["s.x"], filter="s.x = 'b'").num_rows == 2
    for ask in (lambda: ds.schema, lambda: ds.take([0]), lambda: ds.take([0], columns=["id"]), ds.to_table):
        assert outcome(ask) == ("Corrupt", "structure")


@pytest.mark.parametrize("name", SCHEMA_SUMS)
def test_a_wrong_sum_inside_a_schema_part_is_refused(forge, name):
    forge.schema(SCHEMA_SUMS[name])
    forge.publish()
    assert naive_rows(forge.folder) == ("Corrupt", "checksum")


def test_a_column_of_another_type_than_its_field_is_refused_by_both(forge):
    forge.schema(replace(b'"int64"', b'"uint8"'))
    forge.publish()
    assert naive_rows(forge.folder) == package_rows(forge.folder) == ("Corrupt", "type")


def test_a_bound_that_is_no_text_does_not_break_a_query(forge):
    for fragment in forge.root["fragments"]["tail"]:
        fragment["files"][0]["stats"] = [[2, "ff", "ff", 0, 0, 3]]
    forge.publish()
    answer = outcome(lambda: lance_like.dataset(forge.folder).to_table(filter="s.x = 'a'").num_rows)
    assert answer == 2 or answer[0] == "Corrupt"


# ---------------------------------------------------------------------------------------------- names, versions, tags


def test_every_byte_of_the_metadata_counts(forge):
    lance_like.dataset(forge.folder).tags.create("t", 1)
    for key in (manifest_key(1), forge.root["schema"][0], "_refs/tags/t.tag"):
        data = (forge.folder / key).read_bytes()
        for at in range(0, len(data), 7):
            flipped = bytearray(data)
            flipped[at] ^= 1 << (at % 8)
            forge.put(key, bytes(flipped))
            with pytest.raises(NaiveError, match="checksum"):
                read_table(forge.folder, tag="t")
        forge.put(key, data)
    assert naive_rows(forge.folder) == ROWS


def test_names_that_are_none_of_the_grammar_are_ignored(forge):
    two = f"{2:020d}.manifest"
    for name in ("1.manifest", f"{two}.tmp", two[1:], f".tmp-{two}", f"{0:020d}.manifest", f"{256:020d}.manifest", "x"):
        forge.put(f"_versions/{0:016x}/{name}", b"junk")
    for bucket in (f"{1:015x}", f"{1:017x}", f"{0xA:016X}", f".tmp-{1:016x}", "x"):
        forge.put(f"_versions/{bucket}/{two}", b"junk")
    forge.put("_versions/readme.txt", b"")
    (forge.folder / "_versions" / f"{5:016x}").mkdir()
    assert list_versions(forge.folder) == [1]
    assert naive_rows(forge.folder) == package_rows(forge.folder) == ROWS


def test_versions_go_on_in_the_next_bucket(forge):
    forge.root["version"] = 256
    forge.put(manifest_key(256), seal(b"LLMF", text(forge.root)))
    assert manifest_key(256) == f"_versions/{1:016x}/{256:020d}.manifest"
    assert list_versions(forge.folder) == [1, 256]
    assert read_table(forge.folder).version == lance_like.dataset(forge.folder).version == 256


@pytest.mark.parametrize("make", ["file", "link", "broken link"])
def test_a_bucket_that_is_no_folder_is_refused_by_both(forge, make):
    path = forge.folder / "_versions" / f"{1:016x}"
    target = forge.folder / "elsewhere"
    if make == "link":
        target.mkdir()
    if make == "file":
        path.write_bytes(b"")
    else:
        path.symlink_to(target)
    assert naive_rows(forge.folder) == package_rows(forge.folder) == ("Corrupt", "file-type")


def test_a_bad_newest_version_is_refused_and_older_ones_are_read(forge):
    forge.put(manifest_key(2), b"")
    assert naive_rows(forge.folder) == package_rows(forge.folder) == ("Corrupt", "truncated")
    assert len(read_table(forge.folder, 1).rows) == len(ROWS)


@pytest.mark.parametrize("key", ["data", "schema", "root"])
def test_an_object_that_is_a_link_is_refused_by_both(forge, key):
    keys = {"data": file(forge.root)["path"], "schema": forge.root["schema"][0], "root": manifest_key(1)}
    path = forge.folder / keys[key]
    moved = forge.folder / "moved"
    path.rename(moved)
    path.symlink_to(moved)
    assert naive_rows(forge.folder) == package_rows(forge.folder) == ("Corrupt", "file-type")


def test_the_folder_of_a_table_may_be_reached_by_a_link(forge):
    link = forge.folder.with_name("link")
    link.symlink_to(forge.folder)
    assert naive_rows(link) == package_rows(link) == ROWS


def test_no_table_no_version_and_no_tag_are_not_found(forge, tmp_path):
    package = lance_like.dataset(forge.folder)
    assert naive_rows(tmp_path / "none") == package_rows(tmp_path / "none") == ("NotFound", "dataset")
    for read in (lambda: read_table(forge.folder, 9), lambda: package.checkout_version(9)):
        assert outcome(read) == ("NotFound", "version")
    for read in (lambda: read_table(forge.folder, tag="x"), lambda: package.checkout_version("x")):
        assert outcome(read) == ("NotFound", "tag")


TAGS = {
    "another name": (lambda tag: tag.update(name="u"), ("Corrupt", "structure")),
    "version 0": (lambda tag: tag.update(version=0), ("Corrupt", "structure")),
    "no branch": (lambda tag: tag.pop("branch"), ("Corrupt", "structure")),
    "branch main": (lambda tag: tag.update(branch="main"), ("Corrupt", "structure")),
    "a branch that is not there": (lambda tag: tag.update(branch="a/b"), ("NotFound", "branch")),
    "a size of 0": (lambda tag: tag.update(manifest_nbytes=0), ("Corrupt", "structure")),
    "a number as metadata": (lambda tag: tag.update(metadata={"a": 1}), ("Corrupt", "structure")),
    "no created_us": (lambda tag: tag.pop("created_us"), ("Corrupt", "structure")),
    "another root": (lambda tag: tag.update(manifest="0" * 16), ("Corrupt", "tag")),
}


@pytest.mark.parametrize("name", TAGS)
def test_a_tag_that_breaks_a_rule_is_refused_by_both(forge, name):
    edit, error = TAGS[name]
    root = (forge.folder / manifest_key(1)).read_bytes()
    tag = {"name": "t", "branch": None, "version": 1, "created_us": 1, "updated_us": 1, "metadata": {}}
    tag |= {"manifest": f"{sum64(root):016x}", "manifest_nbytes": len(root)}
    forge.put("_refs/tags/t.tag", seal(b"LLTG", text(tag)))
    assert len(read_table(forge.folder, tag="t").rows) == len(ROWS)
    edit(tag)
    forge.put("_refs/tags/t.tag", seal(b"LLTG", text(tag)))
    assert outcome(lambda: read_table(forge.folder, tag="t")) == error
    assert outcome(lambda: lance_like.dataset(forge.folder).checkout_version("t").to_table()) == error


def test_names_that_no_tag_can_have_are_ignored(forge):
    for name in ("a.lock.tag", ".tmp-1.tag", "a b.tag", "é.tag", "x" * 129 + ".tag", "noend"):
        forge.put(f"_refs/tags/{name}", b"junk")
    assert list_tags(forge.folder) == {} == lance_like.dataset(forge.folder).tags.list()
