"""What processes do that change columns beside processes that change rows."""

from __future__ import annotations

import random
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

import lance_like
from lance_like.errors import Conflict


def add_columns(uri: str, prefix: str, factors: list[int], seed: int) -> int:
    """Add columns, each `n` times a factor, in all the ways there are, one a version. Returns the rows computed."""
    chosen = random.Random(seed)
    computed = 0
    ds = lance_like.dataset(uri)
    for factor in factors:
        name = f"{prefix}{factor}"

        def times(batch: pa.RecordBatch, name: str = name, factor: int = factor) -> dict[str, pa.Array]:
            nonlocal computed
            computed += len(batch)
            return {name: pc.multiply(batch["n"], factor)}

        match chosen.randrange(4):
            case 0:
                ds.add_columns({name: f"n * {factor}"})
            case 1:
                ds.add_columns(times, read_columns=["n"])
            case 2:
                ds.add_columns({f"s.{name}": f"n * {factor}"})
            case _:
                data = {"n": list(range(2000)), name: [factor * n for n in range(2000)]}
                ds.merge(data, "n")
        if chosen.random() < 0.5:
            ds = lance_like.dataset(uri)
    return computed


def alter_columns(uri: str, times: int) -> None:
    """Cast `w` there and back, and let `w` and `v` be null and not null."""
    for step in range(times):
        kind = pa.int64() if step % 2 == 0 else pa.int32()
        strict = {"path": "v", "nullable": step % 2 == 1}
        lance_like.dataset(uri).alter_columns({"path": "w", "data_type": kind, "nullable": step % 2 == 1}, strict)


def change_rows(uri: str, seed: int, times: int) -> None:
    """Delete, compact, update and upsert rows; `v` and `w` always stay what they were for their row."""
    chosen = random.Random(seed)
    for _ in range(times):
        ds = lance_like.dataset(uri)
        n = chosen.randrange(100)
        match chosen.randrange(4):
            case 0:
                ds.delete(f"n = {n}", conflict_retries=100)
            case 1:
                with suppress(Conflict):
                    ds.optimize.compact_files()
            case 2:
                ds.update({"u": "u + 1"}, where=f"n > {n}", conflict_retries=100)
            case _:
                rows = pa.table({"n": pa.array([n], pa.int64()), "u": pa.array([0], pa.int64())})
                builder = ds.merge_insert("n").when_matched_update_all().conflict_retries(100)
                builder.execute(rows)
