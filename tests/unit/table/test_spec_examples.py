"""The examples in the spec are what the code writes, byte for byte."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from lance_like.file.stats import ZoneEntry
from lance_like.io.memory import MemoryStore
from lance_like.table.actions import Create, NewFile, NewFragment
from lance_like.table.apply import Stamp, apply
from lance_like.table.conflicts import RULES, Verdict
from lance_like.table.deletions import Deletions
from lance_like.table.envelope import DICTIONARY, pack_envelope, unpack_json
from lance_like.table.layout import tag_key, version_key
from lance_like.table.lineage import Runs, decode_lineage, encode_lineage
from lance_like.table.manifest import MAGIC, Manifest, encode_root
from lance_like.table.reference import Ref
from lance_like.table.refs import Tags
from lance_like.table.schema_part import encode_schema
from lance_like.table.snapshot import read_manifest

SPEC = Path(__file__).parents[3] / "format_spec"
TABLE = (SPEC / "table.md").read_text(encoding="utf-8")


def example_bytes(name: str) -> bytes:
    block = re.search(rf"```hex {name}\n(.*?)```", TABLE, re.DOTALL)
    assert block
    return bytes.fromhex("".join(line[6:] for line in block[1].splitlines()))


def example_version() -> tuple[Manifest, bytes]:
    stats = (
        ZoneEntry(0, 0, b"\1".ljust(8, b"\0"), b"\x09".ljust(8, b"\0"), 3),
        ZoneEntry(1, 0, None, None, 0),
        ZoneEntry(1, 0, b"b", b"q", 3),
    )
    file = NewFile(f"data/{'1' * 32}.lnl", 1234, 0x0123456789ABCDEF, 3, 3, stats)
    schema = pa.schema([pa.field("a", pa.int64(), False), ("s", pa.struct([("x", pa.string())]))])
    stamp = Stamp("2" * 32, 1_700_000_000_000_000, 0, "first")
    version = apply(None, Create(schema, (NewFragment((file,)),)), stamp)
    part = encode_schema(version.schema)
    ref = Ref(f"_meta/{'3' * 32}.schema", len(part), xxhash.xxh3_64_intdigest(part))
    return replace(version, schema_ref=ref, writer=("lance_like", "0.1.0")), part


def example_root() -> bytes:
    return pack_envelope(MAGIC, unpack_json(MAGIC, encode_root(example_version()[0], None), "here"))


def example_store() -> MemoryStore:
    version, part = example_version()
    store = MemoryStore()
    assert version.schema_ref is not None
    store.put(version.schema_ref.path, [part])
    store.put(version_key(1), [example_root()])
    store.put(tag_key("v1"), [example_bytes("tag")])
    return store


def test_the_schema_part_of_the_spec_is_what_is_written() -> None:
    version, part = example_version()
    assert part == example_bytes("schema")
    assert version.schema_ref is not None
    assert f"{version.schema_ref.digest:016x}" in TABLE


def test_the_root_of_the_spec_is_what_is_written() -> None:
    written = encode_root(example_version()[0], None)
    body = re.search(r"```json root\n(.*?)```", TABLE, re.DOTALL)
    assert body
    assert unpack_json(MAGIC, written, "here").decode() == body[1].replace("\n", "")
    root = example_root()
    assert f", {len(root):,} bytes, begins" in TABLE
    assert root[:16].hex(" ") in TABLE
    assert root[-8:].hex(" ") in TABLE
    packed = example_bytes("root")
    assert unpack_json(MAGIC, packed, "here") == unpack_json(MAGIC, written, "here")
    assert f"as packed JSON takes {len(packed):,} bytes" in TABLE


def test_the_dictionary_of_the_spec_is_that_of_the_code() -> None:
    block = re.search(r"```text dictionary\n(.*?)```", TABLE, re.DOTALL)
    assert block
    assert block[1].replace("\n", "").encode() == DICTIONARY
    assert f"{len(DICTIONARY):,} bytes, Adler-32 `{zlib.adler32(DICTIONARY):08x}`" in TABLE


def test_the_table_of_the_spec_opens() -> None:
    store = example_store()
    assert replace(read_manifest(store, 1), digest=None) == example_version()[0]
    assert Tags(store).get_version("v1") == 1


def test_the_table_of_conflicts_in_the_spec_has_the_cells_of_the_code() -> None:
    text = (SPEC / "commit.md").read_text(encoding="utf-8")
    table, _, rest = text.partition("## Conflicts")[2].partition("| Rule | Verdict |")
    rows = re.findall(r"^\| (\w+) \| (.*) \|$", table, re.MULTILINE)
    assert [name for name, _ in rows] == list(RULES)
    named: dict[str, object] = {}
    for name, cells in rows:
        for cell, rule in zip(cells.split(" | "), RULES[name].values(), strict=True):
            if isinstance(rule, Verdict):
                assert cell == {"commit": "C", "rerun": "R", "stop": "X"}[rule.value]
            else:
                assert named.setdefault(cell.removeprefix("C; "), rule) is rule
    assert len(set(named.values())) == len(named)
    explained = re.findall(r"^\| (\w+) \|", rest.partition("## History")[0], re.MULTILINE)
    assert {rule for cell in named for rule in cell.split(", ")} == set(explained)


def test_the_deleted_row_of_the_spec_is_what_is_written() -> None:
    made = Deletions.of(np.array([1]))
    assert made.data is not None
    assert f"`{json.dumps(made.to_json(), separators=(',', ':'))}`" in TABLE
    assert f"`{made.data.hex(' ')}`" in TABLE


def test_the_lineage_of_the_spec_is_what_is_written() -> None:
    data = example_bytes("lineage")
    runs = Runs(np.array([[2, 3], [0, 2]]), np.array([[1, 3]]), np.array([[1, 1], [2, 2]]))
    assert decode_lineage(data, "here") == runs
    # Another zlib may pack the same bytes in another way.
    assert zlib.decompress(encode_lineage(runs)[20:-8]) == zlib.decompress(data[20:-8])
    cells = re.findall(r"`([0-9a-f ]+)`", TABLE.partition("which unpacks to these bytes")[2].partition("sum64")[0])
    assert bytes.fromhex("".join(cells)) == zlib.decompress(data[20:-8])
