from __future__ import annotations

from unittest import mock

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from table_values import (
    add_column,
    compact,
    delete,
    index_segment,
    live_lineage,
    live_offsets,
    new_file,
    overwrite,
    rename,
    small_table,
    update,
    update_column,
)

from lance_like.errors import InvalidInput
from lance_like.file.stats import ZoneEntry
from lance_like.io.memory import MemoryStore
from lance_like.table import deletions, lineage, parts
from lance_like.table.actions import (
    Action,
    Append,
    ChangeRows,
    DropColumns,
    NewFragment,
    Overwrite,
    Restore,
    UpdateMetadata,
)
from lance_like.table.commit import commit
from lance_like.table.deletions import Deletions
from lance_like.table.fields import ROOT
from lance_like.table.fragment import DataFile, Fragment, runs_of
from lance_like.table.indices import IndexEntry, JsonPath
from lance_like.table.lineage import Lineage, Runs
from lance_like.table.manifest import Manifest, Transaction, decode_root, encode_root
from lance_like.table.parts import Part, PartEntry, Tree
from lance_like.table.reference import Ref
from lance_like.table.rowids import RowIdMap, ids_at
from lance_like.table.schema import Schema
from lance_like.table.shape import MAX_INTEGER
from lance_like.table.snapshot import list_versions, read_manifest, read_transaction

NUMBERS = st.integers(0, 2**32)
TEXTS = st.text(max_size=6)
DIGESTS = st.integers(0, 2**64 - 1)
ZONES = st.builds(
    ZoneEntry,
    NUMBERS,
    NUMBERS,
    st.none() | st.binary(max_size=4),
    st.none() | st.binary(max_size=4),
    st.integers(0, 255),
)


def some_deletions(rows: int) -> st.SearchStrategy[Deletions | None]:
    if rows == 1:
        return st.none()
    gone = st.sets(st.integers(0, rows - 1), min_size=1, max_size=min(9, rows - 1))
    ref = st.builds(Ref, st.just(f"_meta/{'e' * 32}.del"), st.just(9), DIGESTS)
    apart = st.builds(Deletions, st.integers(1, rows - 1), ref)
    return st.none() | gone.map(lambda offsets: Deletions.of(np.array(sorted(offsets)))) | apart


@st.composite
def some_fragments(draw: st.DrawFn) -> Fragment:
    rows = draw(st.integers(1, 2**32))
    ids = draw(st.permutations(range(6)))
    cut = draw(st.integers(1, 5))
    files = []
    for held in (ids[:cut], ids[cut:]):
        columns = runs_of([-1 if draw(st.integers(0, 4)) == 0 else field_id for field_id in held])
        stats = tuple((field_id, draw(ZONES)) for field_id in sorted(held))
        key = f"data/{draw(st.integers(0, 9))}.lnl"
        files.append(DataFile(key, draw(st.integers(1, MAX_INTEGER)), draw(DIGESTS), rows, columns, stats))
    first = draw(st.integers(0, 2**40))
    middle = draw(st.integers(1, rows))
    hole = draw(st.integers(0, 5))
    spans = ((first, first + middle), (first + middle + hole, first + rows + hole))
    runs = tuple((draw(st.integers(1, 99)), n) for n in (middle, rows - middle) if n)
    line = Lineage.of(Runs(np.array(spans[: len(runs)]), np.array(runs), np.array(runs)))
    if draw(st.booleans()):
        line = Lineage(line.bounds, Ref(f"_meta/{'d' * 32}.rows", 9, draw(DIGESTS)))
    return Fragment(draw(st.integers(0, 2**31 - 1)), rows, tuple(files), line, draw(some_deletions(rows)))


SOME_PARTS = st.builds(
    lambda level, below, digest: Part(level).written(Ref(f"_meta/{'a' * 32}.part", 9, digest), tuple(below)),
    st.integers(0, 16),
    st.lists(some_fragments(), min_size=1, max_size=2),
    DIGESTS,
)
TRANSACTIONS = st.builds(
    Transaction,
    st.just("0f" * 16),
    TEXTS,
    st.just(0),
    st.none() | TEXTS,
    st.dictionaries(TEXTS, TEXTS, max_size=2),
    st.lists(st.tuples(st.integers(0, 9), st.integers(10, 99)), max_size=2).map(tuple),
    st.lists(st.tuples(st.integers(0, 9), st.integers(10, 99)), max_size=2).map(tuple),
    st.just(("data/x.lnl",)),
    st.lists(st.integers(0, 99), max_size=3).map(tuple),
    st.none() | st.integers(1, 99),
    st.none() | TEXTS,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(SOME_PARTS, max_size=2).map(tuple),
    st.lists(some_fragments(), max_size=2).map(tuple),
    st.dictionaries(TEXTS, TEXTS, max_size=2),
    st.dictionaries(TEXTS, TEXTS, max_size=2),
    TRANSACTIONS,
    st.integers(1, MAX_INTEGER),
)
def test_a_root_comes_back_from_its_bytes(
    written: tuple[Part, ...],
    tail: tuple[Fragment, ...],
    metadata: dict[str, str],
    config: dict[str, str],
    transaction: Transaction,
    timestamp_us: int,
) -> None:
    schema_ref = Ref(f"_meta/{'b' * 32}.schema", 5, 7)
    segments = (index_segment(np.array([0, 1, 7]), 2, files=2), index_segment(np.array([5]), 3))
    indices = (IndexEntry("i", "LATER", (3,), {"p": [1.5]}, segments, JsonPath("$.a", "double")),)
    version = Manifest(
        3,
        timestamp_us,
        ("w", "1"),
        0,
        0,
        9,
        8,
        7,
        Schema.of((), {}),
        schema_ref,
        Tree(written, tail),
        metadata,
        config,
        indices,
        transaction,
    )
    root = decode_root(encode_root(version, None), "here", version=3)
    entries: tuple[PartEntry, ...] = tuple(part.entry for part in written)
    assert (root.parts, root.tail) == (entries, tail)
    assert sum(entry.live_rows for entry in entries) + sum(one.live_rows for one in tail) == version.live_rows
    assert (root.metadata, root.config) == (metadata, config)
    assert (root.indices, root.transaction) == (indices, transaction)
    assert (root.timestamp_us, root.schema_ref, root.writer) == (timestamp_us, schema_ref, ("w", "1"))
    assert (root.next_row_id, root.next_field_id, root.next_fragment_id) == (9, 8, 7)
    ref = Ref(f"_meta/{'c' * 32}.txn", 5, 7)
    assert decode_root(encode_root(version, ref), "here", version=3).transaction == ref


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "append",
                "overwrite",
                "add",
                "drop",
                "rename",
                "restore",
                "metadata",
                "delete",
                "move",
                "column",
                "compact",
            ]
        ),
        st.integers(0, 99),
    ),
    max_size=12,
)


def _action(name: str, number: int, version: Manifest, history: list[Manifest]) -> Action:
    top = version.schema.children(ROOT)
    field = version.schema.fields[number % len(version.schema.fields)]
    match name:
        case "append":
            file = new_file(number + 1, len(version.schema.fields))
            return Append(version.schema.to_arrow(), (NewFragment((file,)),))
        case "overwrite":
            return overwrite(number + 1)
        case "add":
            return add_column(version, f"n{number}")
        case "drop":
            return DropColumns((top[number % len(top)].id,))
        case "rename":
            return rename({field.id: f"r{number}"})
        case "restore":
            return Restore(history[number % len(history)])
        case "delete":
            return delete(_some_rows(version, number))
        case "move":
            return update(version, _some_rows(version, number))
        case "column" if version.fragments:
            one = version.fragments[number % len(version.fragments)]
            return update_column(version, one.id, _some_rows(version, number).get(one.id, ()), field.id)
        case "compact" if version.fragments:
            start = number % len(version.fragments)
            return compact(version, [one.id for one in version.fragments[start : start + 3]])
        case _:
            return UpdateMetadata({str(number % 3): None if number % 2 else "x"})


def _some_rows(version: Manifest, number: int) -> dict[int, list[int]]:
    """Live rows by fragment, chosen by a number: of some fragments all, of others none."""
    every = number % 4 + 1
    rows = {one.id: live_offsets(one)[number // 4 % every :: every] for one in version.fragments[number % 2 :]}
    return {fragment_id: offsets for fragment_id, offsets in rows.items() if offsets}


def _expected(before: Manifest, action: Action) -> list[tuple[int, int, int]]:
    """What `live_lineage` says after an action."""
    rows, version, first = live_lineage(before), before.version + 1, before.next_row_id
    match action:
        case Append() | Overwrite():
            counts = [fragment.files[0].rows for fragment in action.fragments]
            fresh = [(first + i, version, version) for i in range(sum(counts))]
            return fresh if isinstance(action, Overwrite) else rows + fresh
        case Restore():
            return live_lineage(action.source)
        case ChangeRows():
            gone = {int(i) for key, at in action.removed.items() for i in ids_at(before.fragment(key), at)}
            changed = {int(i) for key, new in action.columns.items() for i in ids_at(before.fragment(key), new.offsets)}
            kept = [(i, made, version if i in changed else old) for i, made, old in rows if i not in gone]
            moved = [(i, made, version) for i, made, _ in rows if i in gone] if action.fragments else []
            return kept + moved
        case _:
            return rows


def _history(steps: list[tuple[str, int]]) -> tuple[MemoryStore, list[Manifest]]:
    """Commit actions one after the other, each as expected."""
    store, version = small_table()
    history = [version]
    for name, number in steps:
        action = _action(name, number, version, history)
        try:
            after = commit(store, version, action)
        except InvalidInput as error:
            assert error.kind in ("empty-schema", "duplicate-name")
            continue
        assert live_lineage(after) == _expected(version, action)
        # What the next action stands on is as it was read, not as it was made.
        version = read_manifest(store, after.version)
        assert version == after
        history.append(version)
    return store, history


@settings(max_examples=100, deadline=None)
@given(STEPS, st.sampled_from([2, 64]), st.sampled_from([0, 48]))
def test_any_chain_of_changes_reads_back_and_uses_no_id_twice(
    steps: list[tuple[str, int]], fanout: int, inline: int
) -> None:
    with (
        mock.patch.object(parts, "FANOUT", fanout),
        mock.patch.object(lineage, "INLINE_RUNS", inline),
        mock.patch.object(deletions, "INLINE_NBYTES", inline),
    ):
        store, history = _history(steps)
    assert list_versions(store) == list(range(1, len(history) + 1))
    row_ids: set[int] = set()
    field_names: dict[int, pa.DataType] = {}
    owners: dict[int, tuple] = {}
    for before, after in zip([None, *history], history, strict=False):
        assert read_manifest(store, after.version, known=before) == read_manifest(store, after.version) == after
        assert live_lineage(read_manifest(store, after.version)) == live_lineage(after)
        if before is not None:
            assert after.timestamp_us > before.timestamp_us
            assert after.next_row_id >= before.next_row_id
        new = {row_id for start, end in read_transaction(store, after.version).row_ids for row_id in range(start, end)}
        assert not new & row_ids
        row_ids |= new
        for field in after.schema.fields:
            assert field_names.setdefault(field.id, field.type) == field.type
        for fragment in after.fragments:
            assert owners.setdefault(fragment.id, fragment.runs.row_ids.tolist()) == fragment.runs.row_ids.tolist()
            assert fragment.live_rows
        ids = np.array([row_id for row_id, _, _ in live_lineage(after)], np.int64)
        assert (RowIdMap.of(after.fragments).find(ids)[0] >= 0).all()
        assert after.live_rows == len(ids)
