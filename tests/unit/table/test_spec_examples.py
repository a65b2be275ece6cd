"""The examples in the spec are what the code writes, byte for byte."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import xxhash

from lance_like.file.stats import ZoneEntry
from lance_like.io.memory import MemoryStore
from lance_like.table.actions import Create, NewFile, NewFragment
from lance_like.table.apply import Stamp, apply
from lance_like.table.conflicts import RULES
from lance_like.table.layout import tag_key, version_key
from lance_like.table.manifest import Manifest, encode_root
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


def example_store() -> MemoryStore:
    version, part = example_version()
    store = MemoryStore()
    assert version.schema_ref is not None
    store.put(version.schema_ref.path, [part])
    store.put(version_key(1), [encode_root(version, None)])
    store.put(tag_key("v1"), [example_bytes("tag")])
    return store


def test_the_schema_part_of_the_spec_is_what_is_written() -> None:
    version, part = example_version()
    assert part == example_bytes("schema")
    assert version.schema_ref is not None
    assert f"{version.schema_ref.digest:016x}" in TABLE


def test_the_root_of_the_spec_is_what_is_written() -> None:
    root = encode_root(example_version()[0], None)
    body = re.search(r"```json root\n(.*?)```", TABLE, re.DOTALL)
    assert body
    assert root[16:-8].decode() == body[1].replace("\n", "")
    assert len(root) == 1001
    assert root[:16].hex(" ") in TABLE
    assert root[-8:].hex(" ") in TABLE


def test_the_table_of_the_spec_opens() -> None:
    store = example_store()
    assert read_manifest(store, 1) == example_version()[0]
    assert Tags(store).get_version("v1") == 1


def test_the_table_of_conflicts_in_the_spec_has_the_cells_of_the_code() -> None:
    text = (SPEC / "commit.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (\w+) \| (.*) \|$", text.partition("## Conflicts")[2].partition("## History")[0], re.MULTILINE
    )
    assert [name for name, _ in rows] == list(RULES)
    for name, cells in rows:
        for cell, rule in zip(cells.split(" | "), RULES[name].values(), strict=True):
            assert (";" in cell) == callable(rule)
            if not callable(rule):
                assert cell == {"commit": "C", "rerun": "R", "stop": "X"}[rule.value]
