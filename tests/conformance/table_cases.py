"""Tables that a reader must read: how each is written, and what is in every version.

The answers are made here from Arrow data, never from reading a table back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from forge import Forge, entry_of, packed_json, seal, text, tree
from row_cases import row_cases
from vector_cases import TableCase, Version, write

import lance_like
from lance_like.index.files import SegmentWriter
from lance_like.table.actions import NewIndex, SetIndexes
from lance_like.table.indices import IndexEntry, IndexSegment, JsonPath, RowRuns


def table_cases() -> Iterator[TableCase]:
    yield _sound()
    yield _history()
    yield _tags()
    yield _branches()
    yield _many_fragments()
    yield _parts_by_hand()
    yield _transaction_part()
    yield _packed_by_hand()
    yield _indexes()
    yield from row_cases()


WHO = pa.struct([("name", pa.string()), ("at", pa.struct([("x", pa.int8())]))])
PEOPLE = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int32()),
        "who": pa.array([{"name": "ann", "at": {"x": 1}}, None, {"name": None, "at": None}], WHO),
    }
)
MORE = {
    "id": [4, 5],
    "who": [None, {"name": "bob", "at": {"x": None}}],
    "note": ["n", None],
    "pos": [None, {"lat": True}],
}


def _sound() -> TableCase:
    schema = pa.schema([("n", pa.int64()), ("s", pa.string())])
    data = pa.table({"n": [1, 2, 300, 4, 5, 6, 7], "s": ["a", "b", "c", None, "", "d", "e"]}, schema=schema)

    def build(folder: Path) -> None:
        write(data[:1], folder)
        write(data[1:], folder, mode="append", max_rows_per_file=3)
        forge = Forge(folder)
        first, second, third = forge.root["fragments"]["tail"]
        parts = [entry_of(forge, {"level": 0, "fragments": [first, second]}, 0, [first, second])]
        forge.root["fragments"] = {"parts": parts, "tail": [third]}
        forge.publish()
        forge.tag("t")

    covers = "one row, then six more: fragments 0 and 1 below a part, 2 in the root; errors/tables are made from it"
    versions = [Version(data[:1], [0]), Version(data, [*range(7)])]
    return TableCase("sound", covers, "table.md", build, versions, {"t": 2})


def _history() -> TableCase:
    def build(folder: Path) -> None:
        ds = write(PEOPLE, folder, max_rows_per_file=2, commit_message="first", transaction_properties={"job": "a"})
        ds.add_columns([pa.field("note", pa.string()), pa.field("pos", pa.struct([("lat", pa.bool_())]))])
        ds.insert(pa.table(MORE, schema=ds.schema))
        ds.add_columns({"twice": "id * 2"})
        ds.alter_columns({"path": "who.name", "name": "called"}, {"path": "id", "name": "key"})
        ds.drop_columns(["who.at"])
        ds.drop_columns(["note"])
        ds.add_columns([pa.field("note", pa.int64())])
        ds.checkout_version(3).restore()
        lance_like.write_dataset(pa.table({"other": [b"x"]}), folder, mode="overwrite", durability="process")
        ds = lance_like.dataset(folder, durability="process")
        ds.update_config({"a": "1"})
        ds.update_schema_metadata({"k": "v"})
        ds.update_field_metadata({"other": {"f": "é"}})

    wider = PEOPLE.schema.append(pa.field("note", pa.string())).append(
        pa.field("pos", pa.struct([("lat", pa.bool_())]))
    )
    first = [{**row, "note": None, "pos": None} for row in PEOPLE.to_pylist()]
    appended = pa.concat_tables([pa.Table.from_pylist(first, schema=wider), pa.table(MORE, schema=wider)])
    twice = appended.append_column("twice", pa.array([2, 4, 6, 8, 10], pa.int32()))
    called = pa.struct([("called", pa.string()), ("at", pa.struct([("x", pa.int8())]))])
    rows = [row["who"] and {"called": row["who"]["name"], "at": row["who"]["at"]} for row in twice.to_pylist()]
    renamed = twice.set_column(1, "who", pa.array(rows, called)).rename_columns(["key", *twice.column_names[1:]])
    only = [row and {"called": row["called"]} for row in rows]
    without_at = renamed.set_column(1, "who", pa.array(only, pa.struct([("called", pa.string())])))
    without_note = without_at.drop_columns(["note"])
    new_note = without_note.append_column("note", pa.nulls(5, pa.int64()))
    old, five = [0, 1, 2], [0, 1, 2, 3, 4]
    other = pa.table({"other": [b"x"]})
    described = pa.schema([pa.field("other", pa.binary(), metadata={"f": "é"})], metadata={"k": "v"})
    described = other.cast(described)
    versions = [
        Version(PEOPLE, old),
        Version(pa.Table.from_pylist(first, schema=wider), old),
        *(Version(table, five) for table in (appended, twice, renamed, without_at, without_note, new_note, appended)),
        *(Version(table, [5]) for table in (other, other, other.replace_schema_metadata({"k": "v"}), described)),
    ]
    covers = "create, add and compute columns, append, rename, drop, an old name anew, restore, overwrite, metadata"
    return TableCase("history", covers, "commit.md, Actions", build, versions)


def _tags() -> TableCase:
    schema = pa.schema([pa.field("a.b", pa.float64(), metadata={b"\x80": b"\0"})], metadata={"k": "v"})
    empty = pa.table([pa.array([], pa.float64())], schema=schema)
    one = pa.table([pa.array([-0.0], pa.float64())], schema=schema)

    def build(folder: Path) -> None:
        ds = write(empty, folder)
        ds.insert(one)
        ds.tags.create("empty", 1)
        ds.tags.create("v1.0_-x", 1)
        ds.tags.update("v1.0_-x", 2)
        forge = Forge(folder)
        for name in ("a.lock.tag", ".tmp-1.tag", "a b.tag", "noend"):
            forge.put(f"_refs/tags/{name}", b"junk")
        for name in ("3.manifest", f"{3:020d}.manifest.tmp", f"{256:020d}.manifest", f".tmp-{3:020d}.manifest"):
            forge.put(f"_versions/{0:016x}/{name}", b"junk")
        # The newest bucket holds no version: a writer stopped after it made the folder.
        forge.put(f"_versions/{1:016x}/.tmp-{256:020d}", b"junk")
        forge.put(f"_versions/{0xA:016X}/{2560:020d}.manifest", b"junk")

    covers = "no rows, then one; schema metadata; tags, one of them moved; names that a reader ignores; an empty bucket"
    tags = {"empty": 1, "v1.0_-x": 2}
    return TableCase("tags", covers, "table.md, Names", build, [Version(empty, []), Version(one, [0])], tags)


def _branches() -> TableCase:
    data = pa.table({"n": pa.array(range(6), pa.uint8())})

    def build(folder: Path) -> None:
        ds = write(data[:1], folder)
        write(data[1:2], folder, mode="append")
        dev = ds.create_branch("dev", 1)
        dev.insert(data[2:3])
        dev.insert(data[3:4])
        ds.create_branch("team.a/x_1", ("dev", 2)).insert(data[4:5])
        ds.create_branch("gone", ("dev", 3))
        ds.branches.delete("gone")
        ds.tags.create("there", ("dev", 3))
        ds.tags.replace_metadata("there", {"k": "v"})
        ds.branches.replace_metadata("dev", {"k": "v"})
        forge = Forge(folder)
        for name in ("main.branch", "a++b.branch", "a..b.branch", ".tmp-1.branch", "a b.branch", "noend"):
            forge.put(f"_refs/branches/{name}", b"junk")

    covers = "branches of the table and of a branch, with rows of their own; a tag on one; names that a reader ignores"
    one, two, three = Version(data[:1], [0]), Version(data[:2], [0, 1]), Version(data.take([0, 2]), [0, 1])
    branches = {
        "dev": {1: one, 2: three, 3: Version(data.take([0, 2, 3]), [0, 1, 2])},
        "team.a/x_1": {2: three, 3: Version(data.take([0, 2, 4]), [0, 1, 2])},
    }
    return TableCase("branches", covers, "table.md, Branches", build, [one, two], {"there": 3}, branches)


def _many_fragments() -> TableCase:
    def build(folder: Path) -> None:
        ds = write(pa.table({"n": range(66)}), folder, max_rows_per_file=1)
        ds.insert(pa.table({"n": [66]}))
        ds.add_columns([pa.field("later", pa.bool_())])

    third = pa.table({"n": range(67), "later": pa.nulls(67, pa.bool_())})
    versions = [Version(pa.table({"n": range(n)}), list(range(n))) for n in (66, 67)]
    covers = "more than 64 fragments: a leaf that three versions share, and a tail"
    return TableCase(
        "many_fragments", covers, "table.md, Fragment tree", build, [*versions, Version(third, list(range(67)))]
    )


_UNKNOWN_INDEX = {
    "name": "n",
    "kind": "LATER",
    "fields": [0],
    "json": None,
    "params": {},
    "segments": [
        {
            "uuid": "e" * 32,
            "version": 1,
            "format": 9,
            "created_us": 0,
            "files": [],
            "rows": 2,
            "row_ids": [[0, 1], [2, 3]],
            "apart": None,
            "invalid": None,
            "detail": {"later": None},
        }
    ],
    "later": 2,
}


def _parts_by_hand() -> TableCase:
    data = pa.table({"n": pa.array(range(6), pa.int16()), "dead": ["a", "b", "c", "d", "e", "f"]})

    def build(folder: Path) -> None:
        write(data, folder, max_rows_per_file=2)
        forge = Forge(folder)
        fragments = forge.root["fragments"]["tail"]
        for fragment in fragments:
            fragment["files"][0] |= {"fields": [[0, 1], [-1, 1]], "stats": [], "later": {"x": [1.5, None]}}
            fragment["created"] = fragment["updated"] = [[1, 1], [1, 1]]
        for number, (fragment_id, ids) in enumerate(
            ((2, [[5, 6], [0, 1]]), (1, [[2, 3], [4, 5]]), (0, [[3, 4], [1, 2]]))
        ):
            fragments[number] |= {"id": fragment_id, "row_ids": ids}
        forge.root |= {"next_row_id": 1 << 52, "next_field_id": 1 << 31, "next_fragment_id": 1 << 31}
        forge.root |= {"writer_features": 1 << 40, "indices": [_UNKNOWN_INDEX]}
        forge.root["transaction"]["kind"] = "later"
        forge.root["fragments"] = {"parts": tree(forge, (3, 7, 16)), "tail": []}
        forge.publish(json.dumps(dict(reversed(forge.root.items())), indent=2).encode())
        forge.tag("by-hand")
        assert text(forge.root) != (folder / forge.key).read_bytes()[16:-8]

    found = pa.table({"n": data["n"], "dead": pa.nulls(6, pa.string())})
    covers = "nodes of levels 3, 7 and 16; row ids and fragment ids in any order, runs of one, a dead column, "
    covers += "no statistics, unknown members, writer features, actions and indexes, JSON with spaces"
    versions = [Version(found, [5, 0, 2, 4, 3, 1])]
    return TableCase("parts_by_hand", covers, "table.md, Fragment tree", build, versions, {"by-hand": 1})


def _indexes() -> TableCase:
    """Row ids and invalidated rows of a segment in parts of their own, of a kind that nobody knows."""
    data = pa.table({"n": pa.array(range(1_100), pa.int32())})
    left = np.flatnonzero(np.arange(1_100) % 20 != 3)

    def build(folder: Path) -> None:
        write(data, folder)
        ds = lance_like.dataset(folder)
        ds.delete("n % 20 = 3")
        writer = SegmentWriter(ds._store)
        ordinals = pa.record_batch([pa.array(range(len(left)), pa.uint32())], names=["ordinal"])
        writer.write("all", ordinals.schema, [ordinals], {"of": "nobody"})
        apart = IndexSegment("d" * 32, 2, 1, 1_700_000_000_000_000, writer.files, RowRuns.of(left), {"k": [1]})
        apart = apart.without(left[::3])
        inline = IndexSegment("e" * 32, 2, 1, 1_700_000_000_000_000, (), RowRuns.of(left[:9:3]), {})
        assert apart is not None
        entries = (
            IndexEntry("long", "LATER", (0,), {"p": "q"}, (apart,)),
            IndexEntry("short", "LATER", (0,), {}, (inline,), JsonPath("$.a", "int64")),
        )
        ds._commit(SetIndexes(tuple(map(NewIndex, entries)), 2))
        ds.drop_index("short")

    kept = data.take(pa.array(left))
    versions = [Version(data, list(range(1_100))), *[Version(kept, left.tolist())] * 3]
    covers = "indexes: row ids and invalidated rows in parts, and inline; create_index and drop_index"
    return TableCase("indexes", covers, "table.md, Indexes", build, versions)


def _transaction_part() -> TableCase:
    data = pa.table({"n": pa.array([7], pa.uint8())})

    def build(folder: Path) -> None:
        write(data, folder, commit_message="é" * 9_000)

    covers = "a transaction record in a part of its own"
    return TableCase("transaction_part", covers, "table.md, Transaction record", build, [Version(data, [0])])


def _packed_by_hand() -> TableCase:
    data = pa.table({"n": pa.array(range(4), pa.int64())})

    def build(folder: Path) -> None:
        write(data, folder, max_rows_per_file=1)
        forge = Forge(folder)
        forge.root["fragments"] = {"parts": tree(forge, (1, 2)), "tail": []}
        (entry,) = forge.root["fragments"]["parts"]
        body = (folder / entry["ref"][0]).read_bytes()[16:-8]
        entry["ref"] = forge.put(entry["ref"][0], seal(b"llpt", packed_json(body, dictionary=b"")))
        forge.put(forge.key, seal(b"llmf", packed_json(text(forge.root))))

    covers = "a root packed with the dictionary, a node packed without, leaves that are not packed"
    return TableCase("packed_by_hand", covers, "table.md, Packed JSON", build, [Version(data, [*range(4)])])
