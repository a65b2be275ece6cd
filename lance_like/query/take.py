"""Run a take: rows by position or address, in the order asked (HOUSE flow "take")."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from lance_like.encodings.joining import joined
from lance_like.errors import NotFound, OutOfRange
from lance_like.file.carry import carried_type
from lance_like.query.projection import FileColumns, Projection, as_batch
from lance_like.query.session import Session
from lance_like.table.fragment import DataFile, Fragment
from lance_like.table.manifest import Manifest
from lance_like.typing_ import Int64s

_OFFSET_BITS = 32


def place_positions(manifest: Manifest, positions: Int64s) -> tuple[Int64s, Int64s]:
    """Where rows are, by position among the live rows: int64[n] indices of fragments and rows in them.

    Raises OutOfRange for a position below 0 or at or past the number of live rows.
    """
    _check_positions(manifest, positions)
    starts = manifest.row_starts
    index = starts.searchsorted(positions, "right") - 1
    return index, positions - starts[index]


def _check_positions(manifest: Manifest, positions: Int64s) -> None:
    live = manifest.live_rows
    if len(positions) == 0:
        return
    # Seen as unsigned, a position below 0 is past every other.
    if not 0 <= int(positions[0] if len(positions) == 1 else np.maximum.reduce(positions.view(np.uint64))) < live:
        bad = int(positions[(positions < 0) | (positions >= live)][0])
        raise OutOfRange(f"position {bad:,} is asked for in a table of {live:,} rows", kind="position")


def place_ids(manifest: Manifest, ids: Int64s) -> tuple[Int64s, Int64s]:
    """Where rows are, by stable row id; as `place_positions`. Raises NotFound for an id that is not live."""
    addresses = manifest.row_id_map.addresses(ids)
    if len(ids) and addresses.min() < 0:
        missing = ids[addresses < 0]
        raise NotFound(
            f"version {manifest.version} has no row with id {int(missing[0])}"
            + (f" (nor {len(missing) - 1:,} more)" if len(missing) > 1 else ""),
            kind="row",
            hint="rows of other versions are in those versions: checkout_version(n)",
        )
    return place_addresses(manifest, addresses)


def place_addresses(manifest: Manifest, addresses: Int64s) -> tuple[Int64s, Int64s]:
    """Where rows are, by address (fragment << 32 | row); as `place_positions`. Raises OutOfRange for one of no row."""
    if len(addresses) == 0:
        return addresses, addresses
    numbers = np.array([fragment.id for fragment in manifest.fragments], np.int64)
    rows = np.array([fragment.rows for fragment in manifest.fragments], np.int64)
    order = np.argsort(numbers)
    fragment, row = addresses >> _OFFSET_BITS, addresses & ((1 << _OFFSET_BITS) - 1)
    place = np.minimum(np.searchsorted(numbers, fragment, sorter=order), max(0, len(order) - 1))
    index = order[place] if len(order) else np.zeros(len(addresses), np.int64)
    known = (numbers[index] == fragment) & (row < rows[index]) if len(order) else np.zeros(len(addresses), bool)
    if not known.all():
        bad = int(addresses[~known][0])
        raise OutOfRange(f"version {manifest.version} has no row at the address {bad}", kind="address")
    return index, row


def take_positions(session: Session, manifest: Manifest, projection: Projection, positions: Int64s) -> pa.Table:
    """Rows by position among the live rows in scan order: int64[n], any order, repeats kept.

    Raises OutOfRange for a position below 0 or at or past the number of live rows.
    Cost: one round a level of dependence (a data file, a column, a page, its bytes), whatever n; 1 or 2 when warm.
    """
    fragments = manifest.fragments
    if len(fragments) == 1:
        _check_positions(manifest, positions)
        return _take(session, projection, [(fragments[0], positions)], None)
    return take_placed(session, manifest, projection, *place_positions(manifest, positions))


def take_ids(session: Session, manifest: Manifest, projection: Projection, ids: Int64s) -> pa.Table:
    """Rows by stable row id: int64[n], any order, repeats kept. Raises NotFound for an id that is not live."""
    return take_placed(session, manifest, projection, *place_ids(manifest, ids))


def take_placed(
    session: Session, manifest: Manifest, projection: Projection, index: Int64s, offsets: Int64s
) -> pa.Table:
    """Rows by index of the fragment and row in it, in the order asked: int64[n], int64[n]."""
    if len(index) == 0:
        return pa.Table.from_batches([], projection.schema)
    in_order = bool((index[1:] >= index[:-1]).all())
    order = np.arange(len(index)) if in_order else np.argsort(index, kind="stable")
    sorted_index = index[order]
    cuts = np.flatnonzero(np.diff(sorted_index)) + 1
    parts = [
        (manifest.fragments[int(first)], rows)
        for first, rows in zip(sorted_index[np.concatenate(([0], cuts))], np.split(offsets[order], cuts), strict=True)
    ]
    if in_order:
        return _take(session, projection, parts, None)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return _take(session, projection, parts, back)


def _take(
    session: Session,
    projection: Projection,
    parts: Sequence[tuple[Fragment, Int64s]],
    back: Int64s | None,
) -> pa.Table:
    """Rows of fragments, one part after the other. back: the place in that order of each row asked; None: the same."""
    if not projection.outputs:
        count = sum(len(rows) for _, rows in parts)
        return pa.Table.from_batches([as_batch([], projection.schema, count)])
    by_part = read_rows(session, projection, parts)
    assembled = [
        projection.assemble(leaves, fragment, rows) for leaves, (fragment, rows) in zip(by_part, parts, strict=True)
    ]
    columns = [joined(arrays) for arrays in zip(*assembled, strict=True)] if len(parts) > 1 else assembled[0]
    if back is not None:
        # One take for all columns: a call for each would cost more than the rows.
        columns = projection.settle(columns)
        batch = pa.RecordBatch.from_arrays(columns, schema=projection.carried_schema).take(pa.array(back))
        if projection.carried_schema is projection.schema:
            return pa.Table.from_batches([batch])
        columns = batch.columns
    return _table(projection, columns)


def _table(projection: Projection, columns: list[pa.Array]) -> pa.Table:
    """The answer from its columns as they are carried: one chunk, or as many as a type with a limit needs."""
    most, count = projection.most_rows, len(columns[0])
    if most is None or count <= most:
        return pa.Table.from_arrays(projection.present(columns), schema=projection.schema)
    cuts = ([column.slice(start, most) for column in columns] for start in range(0, count, most))
    batches = [pa.RecordBatch.from_arrays(projection.present(cut), schema=projection.schema) for cut in cuts]
    return pa.Table.from_batches(batches, projection.schema)


def read_rows(
    session: Session, projection: Projection, parts: Sequence[tuple[Fragment, Int64s]]
) -> list[dict[int, pa.Array]]:
    """The leaves of a projection for rows of fragments: all columns of a file in one read, all files side by side."""
    found: list[dict[int, pa.Array]] = []
    asked: list[tuple[dict[int, pa.Array], Int64s, FileColumns]] = []
    files: list[DataFile] = []
    for fragment, rows in parts:
        placement = projection.place(fragment)
        leaves = {field_id: pa.nulls(len(rows), carried_type(kind)) for field_id, kind in placement.missing.items()}
        found.append(leaves)
        for held in placement.files:
            asked.append((leaves, rows, held))
            files.append(fragment.files[held.file])
    reads = [
        (file.path, reader.read_columns(held.columns, held.kinds, rows))
        for file, reader, (_, rows, held) in zip(files, session.open(files), asked, strict=True)
    ]
    for arrays, (leaves, _, held) in zip(session.drive(reads), asked, strict=True):
        leaves.update(zip(held.field_ids, arrays, strict=True))
    return found
