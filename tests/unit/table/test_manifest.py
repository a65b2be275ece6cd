from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from table_values import add_column, new_file, overwrite, small_table

from lance_like.errors import InvalidInput
from lance_like.file.stats import ZoneEntry
from lance_like.table.actions import Append, DropColumns, NewFragment, RenameColumns, Restore, UpdateMetadata
from lance_like.table.commit import commit
from lance_like.table.fields import ROOT
from lance_like.table.fragment import DataFile, Fragment, Ref, runs_of
from lance_like.table.manifest import Manifest, Transaction, decode_root, encode_root
from lance_like.table.parts import Part, PartEntry, Tree
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


@st.composite
def fragments(draw: st.DrawFn) -> Fragment:
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
    return Fragment(draw(st.integers(0, 2**31 - 1)), rows, spans[: len(runs)], tuple(files), runs, runs)


PARTS = st.builds(
    lambda level, below, digest: Part(level, tuple(below), (), Ref(f"_meta/{'a' * 32}.part", 9, digest)),
    st.integers(0, 16),
    st.lists(fragments(), min_size=1, max_size=2),
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
    st.just(()),
    st.lists(st.integers(0, 99), max_size=3).map(tuple),
    st.none() | st.integers(1, 99),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(PARTS, max_size=2).map(tuple),
    st.lists(fragments(), max_size=2).map(tuple),
    st.dictionaries(TEXTS, TEXTS, max_size=2),
    st.dictionaries(TEXTS, TEXTS, max_size=2),
    TRANSACTIONS,
    st.integers(1, MAX_INTEGER),
)
def test_a_root_comes_back_from_its_bytes(
    parts: tuple[Part, ...],
    tail: tuple[Fragment, ...],
    metadata: dict[str, str],
    config: dict[str, str],
    transaction: Transaction,
    timestamp_us: int,
) -> None:
    schema_ref = Ref(f"_meta/{'b' * 32}.schema", 5, 7)
    indices = ({"name": "later"},)
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
        Tree(parts, tail),
        metadata,
        config,
        indices,
        transaction,
    )
    root = decode_root(encode_root(version, None), "here", version=3)
    entries: tuple[PartEntry, ...] = tuple(part.entry for part in parts)
    assert (root.parts, root.tail, root.rows) == (entries, tail, version.rows)
    assert (root.metadata, root.config) == (metadata, config)
    assert (root.indices, root.transaction) == (indices, transaction)
    assert (root.timestamp_us, root.schema_ref, root.writer) == (timestamp_us, schema_ref, ("w", "1"))
    assert (root.next_row_id, root.next_field_id, root.next_fragment_id) == (9, 8, 7)
    ref = Ref(f"_meta/{'c' * 32}.txn", 5, 7)
    assert decode_root(encode_root(version, ref), "here", version=3).transaction == ref


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "overwrite", "add", "drop", "rename", "restore", "metadata"]), st.integers(0, 99)
    ),
    max_size=12,
)


def _action(name: str, number: int, version: Manifest, history: list[Manifest]):
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
            return RenameColumns({field.id: f"r{number}"})
        case "restore":
            return Restore(history[number % len(history)])
        case _:
            return UpdateMetadata({str(number % 3): None if number % 2 else "x"})


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_chain_of_changes_reads_back_and_uses_no_id_twice(steps: list[tuple[str, int]]) -> None:
    store, version = small_table()
    history = [version]
    for name, number in steps:
        try:
            version = commit(store, version, _action(name, number, version, history))
        except InvalidInput as error:
            assert error.kind in ("empty-schema", "duplicate-name")
            continue
        history.append(version)
    assert list_versions(store) == list(range(1, len(history) + 1))
    row_ids: set[int] = set()
    field_names: dict[int, pa.DataType] = {}
    owners: dict[int, tuple] = {}
    for before, after in zip([None, *history], history, strict=False):
        assert read_manifest(store, after.version, known=before) == read_manifest(store, after.version) == after
        if before is not None:
            assert after.timestamp_us > before.timestamp_us
            assert after.next_row_id >= before.next_row_id
        new = {row_id for start, end in read_transaction(store, after.version).row_ids for row_id in range(start, end)}
        assert not new & row_ids
        row_ids |= new
        for field in after.schema.fields:
            assert field_names.setdefault(field.id, field.type) == field.type
        for fragment in after.fragments:
            assert owners.setdefault(fragment.id, fragment.row_ids) == fragment.row_ids
        assert after.row_id_map.addresses(after.row_id_map.starts).min(initial=0) >= 0
