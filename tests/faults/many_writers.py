"""Verbs that processes apply to one table at once, and what each makes of its rows.

Rows come in pairs that sum to zero, and every verb keeps that: so does every version that a reader may meet. The
outcome of a race is what the acknowledged verbs make one after the other, in the order of their versions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

import lance_like
from lance_like import LanceDataset
from lance_like.errors import Conflict, NotFound

Row = Mapping[str, Any]
BASE_PAIRS = 8


@dataclass(frozen=True)
class State:
    """What a version holds. rows: by key; a column that a row does not name is null in it."""

    columns: tuple[str, ...]
    rows: Mapping[int, Row]

    def to_pylist(self) -> list[dict[str, Any]]:
        return [{name: row.get(name) for name in self.columns} for _, row in sorted(self.rows.items())]


@dataclass(frozen=True)
class Done:
    """A verb that was acknowledged: it made that version. detail: what it chose on the way."""

    version: int
    verb: str
    number: int
    detail: Any


def pair(number: int, n: int) -> list[Row]:
    return [{"key": 2 * number + (n < 0), "pair": number, "n": n} for n in (n, -n)]


def start() -> State:
    rows = [row for number in range(BASE_PAIRS) for row in pair(number, 10 + number)]
    return State(("key", "pair", "n"), {row["key"]: row for row in rows})


# What is done, and what it makes of the states so far, that of version 1 first.

Do = Callable[[LanceDataset, int], tuple[LanceDataset, Any]]
"""From a handle on the newest version and a number of its own to a handle on what was made, and the detail."""

Expect = Callable[[Sequence[State], int, Any], State]


def _append(ds: LanceDataset, number: int) -> tuple[LanceDataset, None]:
    ds.insert(pa.Table.from_pylist([dict(row) for row in pair(number, number)]))
    return ds, None


def _appended(states: Sequence[State], number: int, detail: None) -> State:
    return replace(states[-1], rows={**states[-1].rows, **{row["key"]: row for row in pair(number, number)}})


def _base_pair(number: int) -> int:
    return number % BASE_PAIRS


def _delete(ds: LanceDataset, number: int) -> tuple[LanceDataset, None]:
    ds.delete(f"pair = {_base_pair(number)}", isolation="serializable")
    return ds, None


def _deleted(states: Sequence[State], number: int, detail: None) -> State:
    rows = {key: row for key, row in states[-1].rows.items() if row["pair"] != _base_pair(number)}
    return replace(states[-1], rows=rows)


def _update(ds: LanceDataset, number: int) -> tuple[LanceDataset, None]:
    where = f"pair < {BASE_PAIRS} and pair % 2 = {number % 2}"
    ds.update({"n": "n + 1 - 2 * (key % 2)"}, where, isolation="serializable")
    return ds, None


def _updated(states: Sequence[State], number: int, detail: None) -> State:
    def updated(row: Row) -> Row:
        chosen = row["pair"] < BASE_PAIRS and row["pair"] % 2 == number % 2
        return {**row, "n": row["n"] + 1 - 2 * (row["key"] % 2)} if chosen else row

    return replace(states[-1], rows={key: updated(row) for key, row in states[-1].rows.items()})


def _upsert(ds: LanceDataset, number: int) -> tuple[LanceDataset, None]:
    source = pa.Table.from_pylist([dict(row) for row in pair(_base_pair(number), 1 + number)])
    ds.merge_insert("key").when_matched_update_all().when_not_matched_insert_all().execute(source)
    return ds, None


def _upserted(states: Sequence[State], number: int, detail: None) -> State:
    """What is there keeps the columns that the source does not have."""
    rows = dict(states[-1].rows)
    for row in pair(_base_pair(number), 1 + number):
        rows[row["key"]] = {**rows.get(row["key"], {}), **row}
    return replace(states[-1], rows=rows)


def _compact(ds: LanceDataset, number: int) -> tuple[LanceDataset, None]:
    if not ds.optimize.compact_files(materialize_deletions_threshold=0.0).fragments_removed:
        raise NotFound("there was nothing to compact, or others did it first")
    return ds, None


def _clean(ds: LanceDataset, number: int) -> NoReturn:
    ds.cleanup_old_versions(timedelta(0), delete_unverified=number % 2 == 0)
    raise NotFound("a cleanup makes no version")


def _unchanged(states: Sequence[State], number: int, detail: None) -> State:
    return states[-1]


def _add_column(ds: LanceDataset, number: int) -> tuple[LanceDataset, None]:
    ds.add_columns({f"c{number}": "n * 2"})
    return ds, None


def _column_added(states: Sequence[State], number: int, detail: None) -> State:
    name = f"c{number}"
    rows = {key: {**row, name: 2 * row["n"]} for key, row in states[-1].rows.items()}
    return State((*states[-1].columns, name), rows)


def _drop_column(ds: LanceDataset, number: int) -> tuple[LanceDataset, str]:
    added = [name for name in ds.schema.names if name.startswith("c")]
    if not added:
        raise NotFound("no column was added")
    ds.drop_columns([added[0]])
    return ds, added[0]


def _column_dropped(states: Sequence[State], number: int, detail: str) -> State:
    return replace(states[-1], columns=tuple(name for name in states[-1].columns if name != detail))


def _restore(ds: LanceDataset, number: int) -> tuple[LanceDataset, int]:
    version = max(1, ds.version - number % 4)
    ds = ds.checkout_version(version)
    ds.restore()
    return ds, version


def _restored(states: Sequence[State], number: int, detail: int) -> State:
    return states[detail - 1]


VERBS: dict[str, tuple[Do, Expect]] = {
    "append": (_append, _appended),
    "delete": (_delete, _deleted),
    "update": (_update, _updated),
    "upsert": (_upsert, _upserted),
    "compact": (_compact, _unchanged),
    "clean": (_clean, _unchanged),
    "add column": (_add_column, _column_added),
    "drop column": (_drop_column, _column_dropped),
    "restore": (_restore, _restored),
}


def replayed(done: Sequence[Done]) -> list[State]:
    """What each version must hold, from the first on. Every version was made by a verb."""
    states = [start()]
    for number, one in enumerate(sorted(done, key=lambda one: one.version), 2):
        assert one.version == number, f"version {number} is not told by anybody, or by two"
        states.append(VERBS[one.verb][1](states, one.number, one.detail))
    return states


# What the processes do


def create(uri: str) -> None:
    lance_like.write_dataset(pa.Table.from_pylist(start().to_pylist()), uri, max_rows_per_file=6)


def write(uri: str, seed: int, verbs: Sequence[str], times: int) -> list[Done]:
    """Apply verbs at random, each to the newest version; one that is refused is left."""
    choice = random.Random(seed)
    done: list[Done] = []
    for number in range(1000 * seed, 1000 * seed + times):
        verb = choice.choice(verbs)
        ds = lance_like.dataset(uri)
        try:
            made, detail = VERBS[verb][0](ds, number)
        except (Conflict, NotFound):
            continue
        done.append(Done(made.version, verb, number, detail))
    Path(f"{uri}.{seed}.done").touch()
    return done


def read(uri: str, writers: int) -> int:
    """Read the newest version until all writers are done; each is whole and sums to zero. Returns how many."""
    folder, name = Path(uri).parent, Path(uri).name
    newest = rounds = 0
    while len(list(folder.glob(f"{name}.*.done"))) < writers:
        ds = lance_like.dataset(uri)
        assert ds.version >= newest, "the newest version went back in time"
        newest = ds.version
        try:
            with ds.lease():
                check_version(ds)
        except Conflict:  # removed before it could be kept
            continue
        rounds += 1
    return rounds


def check_version(ds: LanceDataset) -> list[dict[str, Any]]:
    """The rows of a version by key, all of them in pairs."""
    table = ds.to_table(with_row_id=True)
    rows = table.drop(["_rowid"]).to_pylist()
    assert len(rows) == len(ds) == ds.count_rows()
    assert sum(row["n"] for row in rows) == 0, "half of a write is there"
    for name in ("key", "_rowid"):
        assert len(set(table[name].to_pylist())) == len(rows), f"two rows have one {name}"
    if rows:
        last = len(rows) - 1
        assert ds.take([last, 0], ["key"])["key"].to_pylist() == [rows[last]["key"], rows[0]["key"]]
    return sorted(rows, key=lambda row: row["key"])
