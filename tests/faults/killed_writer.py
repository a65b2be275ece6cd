"""A process that writes to a dataset until it is killed, telling each commit that returned.

    python killed_writer.py URI SEED

Prints one JSON line a write, after the call returned: {"version", "rows", "columns", "digest", "tags"}.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys

import pyarrow as pa

import lance_like


def facts(ds: lance_like.LanceDataset) -> dict[str, object]:
    """What a version must still say when it is opened again."""
    table = ds.to_table(columns=sorted(ds.schema.names), with_row_id=True)
    return {
        "version": ds.version,
        "rows": len(ds),
        "columns": sorted(ds.schema.names),
        "digest": hashlib.sha256(repr(table.to_pylist()).encode()).hexdigest(),
    }


def step(ds: lance_like.LanceDataset, choice: random.Random, number: int) -> lance_like.LanceDataset:
    """One write of some kind."""
    rows = {"id": list(range(number * 100, number * 100 + 50)), "text": [f"row {number}"] * 50}
    action = choice.choice(["append", "append", "append", "add", "drop", "overwrite", "restore", "tag"])
    added = [name for name in ds.schema.names if name.startswith("c")]
    if action == "append":
        ds.insert(rows)
    elif action == "add":
        ds.add_columns({f"c{number}": "id * 2"})
    elif action == "drop" and added:
        ds.drop_columns([choice.choice(added)])
    elif action == "overwrite":
        ds.insert(pa.table(rows), mode="overwrite")
    elif action == "restore":
        old = ds.checkout_version(choice.randint(1, ds.version))
        old.restore()
        return old
    elif action == "tag":
        ds.tags.create(f"t{number}-{choice.getrandbits(64):x}")
    return ds


def main(uri: str, seed: int) -> None:
    choice = random.Random(seed)
    ds = lance_like.dataset(uri)
    number = ds.version * 1000
    while True:
        number += 1
        ds = step(ds, choice, number)
        print(json.dumps({**facts(ds), "tags": sorted(ds.tags.list())}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
