"""Tables that a reader must refuse: each is the table `sound` of table_cases.py with one fault, made by hand."""

from __future__ import annotations

import base64
import functools
import json
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from forge import Forge, bitmap, deletions, entry_of, file, lineage, packed, packed_json, seal, tail, text
from naive_reader import manifest_key, sum32

Edit = Callable[[Forge], None]


@dataclass(frozen=True)
class BadTable:
    """A table that a reader must refuse. edit: makes the fault in `sound`; tag, branch: what to open, or the newest."""

    name: str
    covers: str
    spec: str
    error: str
    kind: str
    edit: Edit
    tag: str | None = None
    branch: str | None = None


def bad_tables() -> Iterator[BadTable]:
    yield from _objects()
    yield from _roots()
    yield from _packed()
    yield from _parts()
    yield from _deletions()
    yield from _lineages()
    yield from _files()
    yield from _names()


def _object(key: Callable[[Forge], str], edit: Callable[[bytes], bytes | None]) -> Edit:
    """Change the bytes of an object, or remove it."""

    def change(forge: Forge) -> None:
        path = forge.folder / key(forge)
        data = edit(path.read_bytes())
        path.unlink() if data is None else path.write_bytes(data)

    return change


def _flip(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def _root_key(forge: Forge) -> str:
    return forge.key


def _schema_key(forge: Forge) -> str:
    return forge.root["schema"][0]


def _part_key(forge: Forge) -> str:
    return forge.root["fragments"]["parts"][0]["ref"][0]


def _file_key(forge: Forge) -> str:
    return file(forge.root)["path"]


def _tag_key(_: Forge) -> str:
    return "_refs/tags/t.tag"


def _root(edit: Callable[[dict], object]) -> Edit:
    """Change the root, and seal it again."""

    def change(forge: Forge) -> None:
        edit(forge.root)
        forge.publish()

    return change


def _part(edit: Callable[[list[dict]], object]) -> Edit:
    """Change the fragments in the part, and what its entry and the root say of them."""

    def change(forge: Forge) -> None:
        body = json.loads((forge.folder / _part_key(forge)).read_bytes()[16:-8])
        edit(body["fragments"])
        before = forge.root["fragments"]["parts"][0]
        entry = entry_of(forge, body, 10, body["fragments"])
        forge.root["fragments"]["parts"] = [entry]
        forge.root["live_rows"] += entry["live_rows"] - before["live_rows"]
        forge.publish()

    return change


def _objects() -> Iterator[BadTable]:
    kinds = {"root": _root_key, "schema": _schema_key, "part": _part_key}
    for name, key in kinds.items():
        yield BadTable(
            f"{name}_bit",
            f"a flipped bit in a {name}",
            "table.md, Envelope",
            "Corrupt",
            "checksum",
            _object(key, _flip),
        )
    yield BadTable(
        "tag_bit", "a flipped bit in a tag", "table.md, Tags", "Corrupt", "checksum", _object(_tag_key, _flip), "t"
    )
    for name in ("schema", "part"):
        gone = _object(kinds[name], lambda data: None)
        yield BadTable(
            f"{name}_missing", f"a {name} that is not there", "table.md, Reference", "Corrupt", "missing", gone
        )
    envelopes = {
        "root_empty": ("a newest root of no bytes", "truncated", lambda data: b""),
        "root_cut": ("a newest root without its last byte", "checksum", lambda data: data[:-1]),
        "root_zero": ("a newest root of zeros", "checksum", lambda data: bytes(len(data))),
        "root_magic": ("the magic of a tag", "magic", lambda data: seal(b"LLTG", data[16:-8])),
    }
    for name, (covers, kind, edit) in envelopes.items():
        yield BadTable(name, covers, "table.md, Envelope", "Corrupt", kind, _object(_root_key, edit))
    version = _object(_root_key, lambda data: seal(b"LLMF", data[16:-8], 1))
    yield BadTable(
        "root_format_version", "format version 1", "table.md, Envelope", "Unsupported", "format-version", version
    )


def _roots() -> Iterator[BadTable]:
    spec = "table.md, Root manifest"
    edits = {
        "root_version": ("version 3 under the name of 2", lambda r: r.update(version=3)),
        "root_no_rows": ("no member rows", lambda r: r.pop("rows")),
        "root_config": ("a number in the configuration", lambda r: r.update(config={"a": 1})),
        "root_rows": ("one row too many", lambda r: r.update(rows=8, live_rows=8)),
        "root_live_rows": ("fewer live rows than there are", lambda r: r.update(live_rows=6)),
        "field_past_counter": (
            "a field id of a file that is not below its counter",
            lambda r: r.update(next_field_id=1),
        ),
        "row_past_counter": ("a row id that is not below its counter", lambda r: r.update(next_row_id=6)),
        "fragment_past_counter": (
            "a fragment id that is not below its counter",
            lambda r: r.update(next_fragment_id=2),
        ),
        "path_parent": ("a path with '..'", lambda r: file(r).update(path="data/../data/x.lnl")),
        "path_root": ("a path from the root", lambda r: file(r).update(path="/data/x.lnl")),
        "reference_kind": (
            "a part in the place of the schema",
            lambda r: r.update(schema=r["fragments"]["parts"][0]["ref"]),
        ),
    }
    for name, (covers, edit) in edits.items():
        yield BadTable(name, covers, spec, "Corrupt", "structure", _root(edit))
    bases = {
        "base_relative": ("a base at a relative place", lambda r: r.update(bases={"1": "x"})),
        "base_number": ("a base with a leading zero", lambda r: r.update(bases={"01": "/x"})),
        "base_none": ("a file below a base that is not there", lambda r: file(r).update(base=1)),
        "base_path": (
            "a file of another name below a base",
            lambda r: (r.update(bases={"1": "/x"}), file(r).update(base=1, path="_versions/x")),
        ),
    }
    for name, (covers, edit) in bases.items():
        yield BadTable(name, covers, "table.md, Bases", "Corrupt", "structure", _root(edit))
    features = {
        "reader_feature": ("reader feature bit 2", lambda r: r.update(reader_features=4)),
    }
    for name, (covers, edit) in features.items():
        yield BadTable(name, covers, "table.md, Root manifest", "Unsupported", "feature", _root(edit))
    bodies = {
        "json_key_twice": ("a member twice", lambda data: data.replace(b'"indices":[]', b'"indices":[],"indices":[]')),
        "json_nan": ("NaN", lambda data: data.replace(b'"indices":[]', b'"indices":[NaN]')),
        "json_none": ("no JSON", lambda data: data[:-1]),
    }
    for name, (covers, edit) in bodies.items():

        def change(forge: Forge, edit: Callable[[bytes], bytes] = edit) -> None:
            assert edit(text(forge.root)) != text(forge.root)
            forge.publish(edit(text(forge.root)))

        yield BadTable(name, f"{covers} in a root", "README.md, Words", "Corrupt", "json", change)


def _packed() -> Iterator[BadTable]:
    """Faults in the packed form of the newest root."""
    faults: dict[str, tuple[str, str, Callable[[bytes], bytes]]] = {
        "more": ("more bytes announced than there are", "length", lambda d: packed_json(d, nbytes=len(d) + 1)),
        "fewer": ("fewer bytes announced than there are", "length", lambda d: packed_json(d, nbytes=len(d) - 1)),
        "limit": ("2^26 + 1 bytes announced", "limit", lambda d: packed_json(d, nbytes=2**26 + 1)),
        "bomb": ("a million bytes that say they are few", "length", lambda d: packed_json(d + b" " * 10**6, nbytes=9)),
        "no_length": ("three bytes", "structure", lambda d: packed_json(d)[:3]),
        "cut": ("a stream without its last byte", "length", lambda d: packed_json(d)[:-1]),
        "longer": ("a byte after the stream", "length", lambda d: packed_json(d) + b"x"),
        "sum": ("a stream with a wrong sum", "structure", lambda d: packed_json(d)[:-1] + b"\0"),
        "no_stream": ("no stream", "structure", lambda d: packed_json(d)[:4] + b"no zlib at all"),
        "dictionary": ("another dictionary", "structure", lambda d: packed_json(d, dictionary=b'{"version":1,')),
        "plain": ("plain JSON under the magic of packed JSON", "limit", lambda d: d),
        "json_none": ("no JSON", "json", lambda d: packed_json(d[:-1])),
    }
    for name, (covers, kind, edit) in faults.items():

        def change(forge: Forge, edit: Callable[[bytes], bytes] = edit) -> None:
            forge.put(forge.key, seal(b"llmf", edit(text(forge.root))))

        yield BadTable(f"packed_{name}", f"{covers} in a root", "table.md, Packed JSON", "Corrupt", kind, change)


def _parts() -> Iterator[BadTable]:
    def swapped(forge: Forge) -> None:
        body = json.loads((forge.folder / _part_key(forge)).read_bytes()[16:-8])
        body["fragments"].reverse()
        forge.part(body, 0)

    def rows(forge: Forge) -> None:
        entry = forge.root["fragments"]["parts"][0]
        entry["rows"] = entry["live_rows"] = 5
        forge.root |= {"rows": 8, "live_rows": 8}
        forge.publish()

    def magic(forge: Forge) -> None:
        body = (forge.folder / _part_key(forge)).read_bytes()[16:-8]
        forge.root["fragments"]["parts"][0]["ref"] = forge.put(_part_key(forge), seal(b"LLMF", body))
        forge.publish()

    def hashed(body: bytearray) -> None:
        body[40] ^= 1  # the name hash of the first record
        place, nbytes = struct.unpack_from("<II", body, 44)
        struct.pack_into("<I", body, 56, sum32(bytes(body[32:56] + body[place : place + nbytes])))

    def kindless(body: bytearray) -> None:
        struct.pack_into("<I", body, 52, 1 << 31)
        place, nbytes = struct.unpack_from("<II", body, 44)
        struct.pack_into("<I", body, 56, sum32(bytes(body[32:56] + body[place : place + nbytes])))

    def schema(forge: Forge, edit: Callable[[bytearray], None]) -> None:
        forge.schema(edit)
        forge.publish()

    def transaction(forge: Forge) -> None:
        forge.root["transaction"] = {"ref": [f"_meta/{9:032x}.txn", 300, "0" * 16]}
        forge.publish()

    def deleted(fragments: list[dict]) -> None:
        fragments[1]["deletions"] = deletions([0])

    def lively(forge: Forge) -> None:
        _part(deleted)(forge)
        forge.root["fragments"]["parts"][0]["live_rows"] = 4
        forge.root["live_rows"] = 7
        forge.publish()

    twice = _part(lambda fragments: fragments[1].update(row_ids=[[0, 3]]))
    yield BadTable("row_id_twice", "a row id twice", "table.md, Row ids and addresses", "Corrupt", "row-ids", twice)
    spec = "table.md, Fragment tree"
    twice = _part(lambda fragments: fragments[1].update(id=0))
    yield BadTable("fragment_twice", "a fragment id twice", spec, "Corrupt", "structure", twice)
    covers = "an entry that counts a deleted row as live"
    yield BadTable("part_live_rows", covers, spec, "Corrupt", "structure", lively)
    yield BadTable("part_swapped", "another valid part in the place of a part", spec, "Corrupt", "checksum", swapped)
    yield BadTable("part_rows", "an entry with more rows than its part", spec, "Corrupt", "structure", rows)
    yield BadTable("part_magic", "the magic of a root", spec, "Corrupt", "magic", magic)
    for name, covers, edit in (
        ("schema_hash", "a wrong name hash", hashed),
        ("schema_kind", "a field of a kind that is not there", kindless),
    ):
        wrong = functools.partial(schema, edit=edit)
        yield BadTable(name, covers, "table.md, Schema part", "Corrupt", "structure", wrong)
    spec = "table.md, Transaction record"
    yield BadTable(
        "transaction_missing", "a transaction part that is not there", spec, "Corrupt", "missing", transaction
    )


def _deletions() -> Iterator[BadTable]:
    """Faults in what says that rows of the last fragment, which has three, are deleted."""

    def stated(rows: int, data: bytes | str) -> Edit:
        encoded = data if isinstance(data, str) else base64.b64encode(data).decode()
        return _deleted({"rows": rows, "data": encoded})

    def apart(body: bytes, magic: bytes = b"LLDV", digest: str | None = None) -> Edit:
        def change(forge: Forge) -> None:
            ref = forge.put(f"_meta/{11:032x}.del", seal(magic, body))
            _deleted({"rows": 1, "ref": [*ref[:2], digest or ref[2]]})(forge)

        return change

    one, two = bitmap([1]), bitmap([0, 1])
    faults: dict[str, tuple[str, str, Edit]] = {
        "past": ("a deleted row past the last one", "structure", stated(1, bitmap([3]))),
        "fewer": ("more deleted rows than stated", "structure", stated(1, two)),
        "more": ("fewer deleted rows than stated", "structure", stated(2, one)),
        "all": ("no row left", "structure", stated(3, bitmap([0, 1, 2]))),
        "none": ("no deleted row", "structure", stated(0, struct.pack("<II", 12346, 0))),
        "live": (
            "deleted rows that count as live",
            "structure",
            _root(lambda r: tail(r).update(deletions=deletions([1]))),
        ),
        "base64": ("base64 without padding", "structure", stated(1, base64.b64encode(one).decode().rstrip("=") + "*")),
        "empty": ("no bytes", "structure", stated(1, b"")),
        "cut": ("a bitmap without its last byte", "structure", stated(1, one[:-1])),
        "longer": ("a byte after the bitmap", "structure", stated(1, one + b"\0")),
        "head": ("another head", "structure", stated(1, b"\0" + one[1:])),
        "place": ("a container that is not at its place", "structure", stated(1, one[:12] + b"\x12" + one[13:])),
        "order": ("offsets that do not ascend", "structure", stated(2, two[:-4] + two[-2:] + two[-4:-2])),
        "touching": (
            "two runs without a gap",
            "structure",
            stated(2, struct.pack("<IBHHHHHHH", 12347, 1, 0, 1, 2, 0, 0, 1, 0)),
        ),
        "no_runs": ("the head of runs, and none", "structure", stated(1, struct.pack("<IBHHH", 12347, 0, 0, 0, 1))),
        "part_bit": ("a part of another checksum", "checksum", apart(one, digest="0" * 16)),
        "part_magic": ("the magic of a lineage", "magic", apart(one, magic=b"LLLN")),
        "part_missing": (
            "a part that is not there",
            "missing",
            _deleted({"rows": 1, "ref": [f"_meta/{12:032x}.del", 42, "0" * 16]}),
        ),
        "part_kind": (
            "a part of another kind",
            "structure",
            _deleted({"rows": 1, "ref": [f"_meta/{12:032x}.rows", 42, "0" * 16]}),
        ),
    }
    for name, (covers, kind, edit) in faults.items():
        yield BadTable(f"deletions_{name}", covers, "table.md, Deleted rows", "Corrupt", kind, edit)


def _deleted(member: dict) -> Edit:
    """Say that rows of the last fragment are deleted."""

    def edit(root: dict) -> None:
        tail(root)["deletions"] = member
        root["live_rows"] -= member["rows"]

    return _root(edit)


def _lineages() -> Iterator[BadTable]:
    """Faults in the lineage of the last fragment, whose rows have the ids 4 to 6, in a part of its own."""
    ids, versions = packed([(8, 3)], 1, 1), packed([(2, 3)], 1, 1)

    def apart(body: bytes, *, magic: bytes = b"LLLN", bounds: Sequence[int] = (4, 7), **members: object) -> Edit:
        def change(forge: Forge) -> None:
            ref = forge.put(f"_meta/{13:032x}.rows", seal(magic, body))
            moved = {"row_ids": [], "created": [], "updated": [], "lineage": {"ref": ref, "row_ids": bounds}}
            tail(forge.root).update(moved | members)
            forge.publish()

        return change

    sound = lineage(ids, versions, versions)
    faults: dict[str, tuple[str, str, Edit]] = {
        "ids": (
            "fewer row ids than rows",
            "structure",
            apart(lineage(packed([(8, 2)], 1, 1), versions, versions), bounds=(4, 6)),
        ),
        "created": ("created of more rows", "structure", apart(lineage(ids, packed([(2, 4)], 1, 1), versions))),
        "updated": ("updated of fewer rows", "structure", apart(lineage(ids, versions, packed([(2, 2)], 1, 1)))),
        "version": ("version 0", "structure", apart(lineage(ids, versions, packed([(0, 3)], 1, 1)))),
        "bounds": ("other row ids than its fragment says", "structure", apart(sound, bounds=(4, 8))),
        "past_counter": (
            "row ids that are not below their counter",
            "structure",
            apart(lineage(packed([(10, 3)], 1, 1), versions, versions), bounds=(5, 8)),
        ),
        "negative": (
            "a range from -1 on",
            "structure",
            apart(lineage(packed([(1, 3)], 1, 1), versions, versions), bounds=(0, 2)),
        ),
        "overflow": (
            "lengths whose sum in 64 bits is 3",
            "structure",
            apart(lineage(ids, versions, packed([(2, 1 << 53)] * 2048 + [(2, 3)], 1, 8))),
        ),
        "empty": ("no runs", "structure", apart(lineage(ids, versions, packed([], 1, 1)))),
        "width": ("numbers of 3 bytes", "structure", apart(lineage(ids, packed([(2, 3)], 3, 1), versions))),
        "array_cut": ("a third array that is cut", "structure", apart(lineage(ids, versions, versions[:-1]))),
        "array_more": ("a byte after the arrays", "structure", apart(lineage(ids, versions, versions, b"\0"))),
        "length": ("one more byte announced", "length", apart(lineage(ids, versions, versions, nbytes=25))),
        "stream": ("no stream of zlib", "structure", apart(struct.pack("<I", 24) + b"no stream")),
        "beside": ("arrays beside the part", "structure", apart(sound, row_ids=[[4, 7]])),
        "magic": ("the magic of deleted rows", "magic", apart(sound, magic=b"LLDV")),
        "missing": (
            "a part that is not there",
            "missing",
            apart(sound, lineage={"ref": [f"_meta/{14:032x}.rows", 60, "0" * 16], "row_ids": [4, 7]}),
        ),
        "no_member": ("no member lineage", "structure", _root(lambda r: tail(r).pop("lineage"))),
    }
    for name, (covers, kind, edit) in faults.items():
        yield BadTable(f"lineage_{name}", covers, "table.md, Lineage", "Corrupt", kind, edit)


def _files() -> Iterator[BadTable]:
    def other(forge: Forge) -> None:
        first = json.loads((forge.folder / _part_key(forge)).read_bytes()[16:-8])["fragments"][0]["files"][0]
        shutil.copyfile(forge.folder / first["path"], forge.folder / _file_key(forge))
        file(forge.root)["nbytes"] = first["nbytes"]
        forge.publish()

    def typed(forge: Forge) -> None:
        def edit(body: bytearray) -> None:
            body[:] = body.replace(b'"int64"', b'"uint8"')
            fields, kinds = struct.unpack_from("<II", body)
            start = 32 + 28 * fields
            end = start + 12 * kinds
            for at in range(start, end, 12):
                place, nbytes = struct.unpack_from("<II", body, at)
                struct.pack_into("<I", body, at + 8, sum32(bytes(body[place : place + nbytes])))
            struct.pack_into("<I", body, 24, sum32(bytes(body[start:end])))
            struct.pack_into("<I", body, 28, sum32(bytes(body[:28])))

        forge.schema(edit)
        forge.publish()

    spec = "table.md, Fragment"
    gone = _object(_file_key, lambda data: None)
    yield BadTable("file_missing", "a data file that is not there", spec, "Corrupt", "missing", gone)
    yield BadTable("file_swapped", "another data file in its place", spec, "Corrupt", "identity", other)
    tailed = _object(_file_key, lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    yield BadTable("file_bit", "a flipped bit in the tail of a data file", spec, "Corrupt", "checksum", tailed)
    fields = {"columns_more": [[0, 1], [-1, 2], [1, 1]], "columns_fewer": [[0, 1]]}
    for name, runs in fields.items():
        edit = _root(lambda r, runs=runs: file(r).update(fields=runs, stats=[]))
        covers = f"{name.removeprefix('columns_')} columns recorded than the file has"
        yield BadTable(name, covers, spec, "Corrupt", "structure", edit)
    yield BadTable("column_type", "a column of another type than its field", spec, "Corrupt", "type", typed)


def _names() -> Iterator[BadTable]:
    def tagged(forge: Forge, **members: object) -> None:
        forge.tag("t", **members)

    def bucket(forge: Forge) -> None:
        forge.put(f"_versions/{1:016x}", b"")

    def unknown(forge: Forge) -> None:
        forge.tag("t", version=9)

    def no_versions(forge: Forge) -> None:
        for version in (1, 2):
            (forge.folder / manifest_key(version)).unlink()

    spec = "table.md, Tags"
    yield BadTable(
        "tag_name",
        "another name in a tag than its own",
        spec,
        "Corrupt",
        "structure",
        lambda f: tagged(f, name="u"),
        "t",
    )
    other = "0" * 16
    yield BadTable(
        "tag_root", "a tag of another root", spec, "Corrupt", "tag", lambda f: tagged(f, manifest=other), "t"
    )
    yield BadTable("tag_version", "a tag of a version that is not there", spec, "NotFound", "version", unknown, "t")
    yield BadTable("tag_none", "a tag that is not there", spec, "NotFound", "tag", lambda f: None, "u")
    yield from _branches()
    spec = "commit.md, Finding the newest version"
    yield BadTable("bucket_file", "a file with the name of a bucket", spec, "Corrupt", "file-type", bucket)
    yield BadTable("no_versions", "no version", spec, "NotFound", "dataset", no_versions)


def _branches() -> Iterator[BadTable]:
    def begun(**members: object) -> Callable[[Forge], None]:
        return lambda forge: forge.branch("dev", **members)

    def without_versions(forge: Forge) -> None:
        forge.branch("dev", line=f"{6:032x}")

    spec = "table.md, Branches"
    faults = {
        "name": ("another name in a branch than its own", {"name": "deu"}),
        "line": ("a line that is a path", {"line": "../" + "0" * 29}),
        "parent": ("a parent that no branch can have", {"parent": "main"}),
        "ancestors": ("an ancestor without a line", {"ancestors": [[1]]}),
        "metadata": ("a number in the metadata", {"metadata": {"a": 1}}),
    }
    for name, (covers, members) in faults.items():
        yield BadTable(f"branch_{name}", covers, spec, "Corrupt", "structure", begun(**members), branch="dev")
    flipped = _object(lambda _: "_refs/branches/dev.branch", _flip)

    def flip(forge: Forge) -> None:
        forge.branch("dev")
        flipped(forge)

    covers = "a branch without versions"
    yield BadTable("branch_bit", "a flipped bit in a branch", spec, "Corrupt", "checksum", flip, branch="dev")
    yield BadTable("branch_empty", covers, spec, "NotFound", "branch", without_versions, branch="dev")
    yield BadTable("branch_none", "a branch that is not there", spec, "NotFound", "branch", begun(), branch="x")
    covers = "a tag on a branch that is not there"
    yield BadTable("tag_branch", covers, spec, "NotFound", "branch", lambda f: f.tag("t", branch="dev"), "t")
