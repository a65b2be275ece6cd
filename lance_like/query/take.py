"""Run a take: rows by position or address, in the order asked (HOUSE flow "take")."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like.encodings.joining import joined
from lance_like.encodings.stack import Cells
from lance_like.errors import Corrupt, InvalidInput, NotFound, OutOfRange
from lance_like.file.carry import as_batch, carried_type
from lance_like.query.joint import groups_of, reading_groups
from lance_like.query.projection import FileColumns, Projection, virtual_of
from lance_like.query.session import Reads, Session
from lance_like.ranges import listed
from lance_like.table.fragment import DataFile, Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.parts import Items
from lance_like.typing_ import Int64s, Offsets

_OFFSET_BITS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where rows are: int64[n] index of the fragment of each among `fragments`, and int64[n] its offset there."""

    fragments: Sequence[Fragment]
    index: Int64s
    offsets: Int64s

    def slice(self, start: int, end: int) -> Placed:
        """A run of the rows."""
        return Placed(self.fragments, self.index[start:end], self.offsets[start:end])


def place_positions(manifest: Manifest, positions: Int64s) -> Placed:
    """Where rows are, by position among the live rows.

    Raises OutOfRange for a position below 0 or at or past the number of live rows.
    Cost: the parts of the manifest and the deletions of the fragments that hold them, when new.
    """
    _check_positions(manifest, positions)
    tree = manifest.tree
    if not tree.parts:
        return _offsets_of_live(tree.tail, *_within(tree, positions))
    found: list[Fragment] = []
    index, offsets = np.empty(len(positions), np.int64), np.empty(len(positions), np.int64)
    _descend(tree, positions, np.arange(len(positions)), found, index, offsets)
    return _offsets_of_live(found, index, offsets)


def _within(items: Items, positions: Int64s) -> tuple[Int64s, Int64s]:
    """The item of each position, and its position in it."""
    starts = items.live_starts
    index = starts.searchsorted(positions, "right") - 1
    return index, positions - starts[index]


def _descend(
    items: Items, positions: Int64s, asked: Int64s, found: list[Fragment], index: Int64s, offsets: Int64s
) -> None:
    """Write the fragment and the position in it of each position below some items. asked: which of all they are."""
    places, rest = _within(items, positions)
    for place in np.unique(places).tolist():
        here = places == place
        item = items.items[place]
        if isinstance(item, Fragment):
            index[asked[here]] = len(found)
            offsets[asked[here]] = rest[here]
            found.append(item)
        else:
            _descend(item, rest[here], asked[here], found, index, offsets)


def _offsets_of_live(fragments: Sequence[Fragment], index: Int64s, positions: Int64s) -> Placed:
    """Positions among the live rows of each fragment as offsets."""
    if any(fragment.deletions for fragment in fragments):
        for place in np.unique(index).tolist():
            here = index == place
            positions[here] = fragments[place].offsets_of_live(positions[here])
    return Placed(fragments, index, positions)


def _check_positions(manifest: Manifest, positions: Int64s) -> None:
    live = manifest.live_rows
    if len(positions) == 0:
        return
    # Seen as unsigned, a position below 0 is past every other.
    if not 0 <= int(positions[0] if len(positions) == 1 else np.maximum.reduce(positions.view(np.uint64))) < live:
        bad = int(positions[(positions < 0) | (positions >= live)][0])
        raise OutOfRange(f"position {bad:,} is asked for in a table of {live:,} rows", kind="position")


def place_ids(manifest: Manifest, ids: Int64s) -> Placed:
    """Where rows are, by stable row id. Raises NotFound for an id that is not live."""
    tree = manifest.tree
    if tree.parts:
        found: Sequence[Fragment] = []
        index, offsets = np.full(len(ids), -1, np.int64), np.zeros(len(ids), np.int64)
        _look_up(tree, ids, np.arange(len(ids)), found, index, offsets)
    else:
        found = tree.tail
        index, offsets = tree.row_id_map.find(ids)
    if len(ids) and int(np.minimum.reduce(index)) < 0:
        missing = ids[index < 0]
        raise NotFound(
            f"version {manifest.version} has no row with id {int(missing[0])}"
            + (f" (nor {len(missing) - 1:,} more)" if len(missing) > 1 else ""),
            kind="row",
            hint="rows of other versions are in those versions: checkout_version(n)",
        )
    return Placed(found, index, offsets)


def _look_up(items: Items, ids: Int64s, asked: Int64s, found: list[Fragment], index: Int64s, offsets: Int64s) -> None:
    """Write the fragment and offset of each id that a live row below some items has."""
    here, rows = items.row_id_map.find(ids)
    fragments = [item for item in items.items if isinstance(item, Fragment)]
    known = here >= 0
    index[asked[known]] = here[known] + len(found)
    offsets[asked[known]] = rows[known]
    found += fragments
    for item in items.items:
        if isinstance(item, Fragment):
            continue
        low, high = item.row_ids
        within = (index[asked] < 0) & (ids >= low) & (ids < high)
        if within.any():
            _look_up(item, ids[within], asked[within], found, index, offsets)


def place_addresses(manifest: Manifest, addresses: Int64s) -> Placed:
    """Where rows are, by address (fragment << 32 | row). Raises OutOfRange for one of no live row."""
    numbers, index = np.unique(addresses >> _OFFSET_BITS, return_inverse=True)
    offsets = addresses & ((1 << _OFFSET_BITS) - 1)
    fragments: list[Fragment] = []
    for place, number in enumerate(numbers.tolist()):
        rows = offsets[index == place]
        fragment = manifest.tree.find(number)
        if fragment is None or rows.max() >= fragment.rows or fragment.is_deleted(rows).any():
            first = addresses[index == place]
            bad = first if fragment is None else first[(rows >= fragment.rows) | fragment.is_deleted(rows)]
            raise OutOfRange(f"version {manifest.version} has no row at the address {int(bad[0])}", kind="address")
        fragments.append(fragment)
    return Placed(fragments, index.reshape(-1), offsets)


def positions_of(manifest: Manifest, addresses: Int64s) -> Int64s:
    """The position among the live rows of each address; the inverse of `place_positions`. int64[n] of live rows.

    Cost: the parts of the manifest before the last of them, when new.
    """
    positions = np.empty(len(addresses), np.int64)
    for here, before, fragment, offsets in _by_fragment(manifest, addresses):
        positions[here] = before + fragment.live_before(offsets)
    return positions


def are_deleted(manifest: Manifest, addresses: Int64s) -> np.ndarray:
    """bool[n]: which rows are deleted. addresses: int64[n] of rows of this version, live or not."""
    deleted = np.empty(len(addresses), bool)
    for here, _, fragment, offsets in _by_fragment(manifest, addresses):
        deleted[here] = fragment.is_deleted(offsets)
    return deleted


def _by_fragment(manifest: Manifest, addresses: Int64s) -> Iterator[tuple[np.ndarray, int, Fragment, Int64s]]:
    """For each fragment: bool[n] which addresses are in it, the live rows before it, it, and the offsets."""
    numbers, offsets = addresses >> _OFFSET_BITS, addresses & ((1 << _OFFSET_BITS) - 1)
    for number in np.unique(numbers).tolist():
        found = manifest.tree.placed(number)
        assert found is not None, "the address of a row of this version"
        here = numbers == number
        yield here, *found, offsets[here]


def take_positions(session: Session, manifest: Manifest, projection: Projection, positions: Int64s) -> pa.Table:
    """Rows by position among the live rows in scan order: int64[n], any order, repeats kept.

    Raises OutOfRange for a position below 0 or at or past the number of live rows.
    Cost: one round a level of dependence (a data file, a column, a page, its bytes), whatever n; 1 or 2 when warm.
    """
    tree = manifest.tree
    if len(tree.tail) == 1 and not tree.parts:
        _check_positions(manifest, positions)
        offsets = tree.tail[0].offsets_of_live(positions)
        return take_placed(session, projection, Placed(tree.tail, np.zeros(len(offsets), np.int64), offsets))
    return take_placed(session, projection, place_positions(manifest, positions))


def take_ids(session: Session, manifest: Manifest, projection: Projection, ids: Int64s) -> pa.Table:
    """Rows by stable row id: int64[n], any order, repeats kept. Raises NotFound for an id that is not live."""
    return take_placed(session, projection, place_ids(manifest, ids))


def take_placed(session: Session, projection: Projection, placed: Placed) -> pa.Table:
    """Rows in the order asked; in several chunks where one array of a type cannot hold them.

    Raises InvalidInput for a single cell that no array of its type holds.
    """
    count = len(placed.index)
    if count == 0:
        return pa.Table.from_batches([], projection.schema)
    if not projection.outputs:
        return pa.Table.from_batches([as_batch([], projection.schema, count)])
    try:
        return _table(projection, take_columns(session, projection, placed))
    except InvalidInput as error:
        if error.kind != "too-large" or count == 1:
            raise
    middle = count // 2
    halves = (placed.slice(0, middle), placed.slice(middle, count))
    return pa.concat_tables([take_placed(session, projection, half) for half in halves])


def take_columns(session: Session, projection: Projection, placed: Placed) -> list[pa.Array]:
    """The columns of rows in the order asked, as they are carried; one row at least."""
    fragments, index, offsets = placed.fragments, placed.index, placed.offsets
    if len(fragments) == 1:
        return columns_at(session, projection, [(fragments[0], offsets)])
    in_order = bool((index[1:] >= index[:-1]).all())
    if in_order and index[0] == index[-1]:
        return columns_at(session, projection, [(fragments[int(index[0])], offsets)])
    order = np.arange(len(index)) if in_order else np.argsort(index, kind="stable")
    sorted_index = index[order]
    cuts = np.flatnonzero(np.diff(sorted_index)) + 1
    parts = [
        (fragments[int(first)], rows)
        for first, rows in zip(sorted_index[np.concatenate(([0], cuts))], np.split(offsets[order], cuts), strict=True)
    ]
    columns = columns_at(session, projection, parts)
    if in_order:
        return columns
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    # One take for all columns: a call for each would cost more than the rows.
    batch = pa.RecordBatch.from_arrays(projection.settle(columns), schema=projection.carried_schema)
    return batch.take(pa.array(back)).columns


def take_cells(session: Session, projection: Projection, placed: Placed) -> list[Cells | pa.Array]:
    """As `take_columns`, but of the first column the cells where they lie, where they can be given so.

    placed: one row at least, each once, in the order in which files hold them; of others come arrays.
    """
    fragments, index, offsets = placed.fragments, placed.index, placed.offsets
    if len(fragments) == 1 or bool((index == index[0]).all()):
        fragment = fragments[int(index[0])]
        placement = projection.place(fragment)
        if projection.is_plain and len(placement.files) == 1 and not placement.missing:
            [held] = placement.files
            # Not of one that is asked for twice: one of them may be shown.
            if len(held.columns) == len(projection.outputs):
                return _cells_of_one_file(session, projection, fragment.files[held.file], held, offsets)
    return list(take_columns(session, projection, placed))


def columns_at(session: Session, projection: Projection, parts: Sequence[tuple[Fragment, Offsets]]) -> list[pa.Array]:
    """The columns of rows of fragments as they are carried, one part after the other; one part at least."""
    if len(parts) == 1:
        [leaves] = read_rows(session, projection, parts)
        return projection.assemble(leaves, virtual_of(*parts[0]))
    groups, found = _read_groups(session, projection, [(fragment, listed(rows)) for fragment, rows in parts])
    assembled = [projection.assemble(some, _virtual_of(group)) for some, group in zip(found, groups, strict=True)]
    return [joined(arrays) for arrays in zip(*assembled, strict=True)] if len(groups) > 1 else assembled[0]


def _read_groups(
    session: Session, projection: Projection, parts: Sequence[tuple[Fragment, Int64s]]
) -> tuple[list[list[tuple[Fragment, Int64s]]], list[dict[int, pa.Array]]]:
    """Rows of fragments in groups, and the leaves of each."""
    groups = groups_of(session, projection, parts)
    if groups is not None:
        # One of them may be damaged, or all not fit one array: file by file, each says what is wrong with it.
        with suppress(Corrupt, InvalidInput):
            return groups, session.run([reading_groups(session, projection, groups)])[0]
    return [[part] for part in parts], read_rows(session, projection, parts)


def _virtual_of(group: Sequence[tuple[Fragment, Int64s]]) -> Callable[[str], pa.Array]:
    """What makes a column of `VIRTUAL` for rows of fragments, one after the other."""
    made = [virtual_of(fragment, rows) for fragment, rows in group]
    return made[0] if len(made) == 1 else lambda name: pa.concat_arrays([make(name) for make in made])


def _table(projection: Projection, columns: list[pa.Array]) -> pa.Table:
    """The answer from its columns as they are carried: one chunk, or as many as a type with a limit needs."""
    most, count = projection.most_rows, len(columns[0])
    if most is None or count <= most:
        return pa.Table.from_arrays(projection.present(columns), schema=projection.schema)
    cuts = ([column.slice(start, most) for column in columns] for start in range(0, count, most))
    batches = [pa.RecordBatch.from_arrays(projection.present(cut), schema=projection.schema) for cut in cuts]
    return pa.Table.from_batches(batches, projection.schema)


def read_rows(
    session: Session, projection: Projection, parts: Sequence[tuple[Fragment, Offsets]]
) -> list[dict[int, pa.Array]]:
    """The leaves of a projection for rows of fragments: all columns of a file in one read, all files side by side."""
    if len(parts) == 1:
        [(fragment, rows)] = parts
        placement = projection.place(fragment)
        if len(placement.files) == 1 and not placement.missing:
            return [_of_one_file(session, fragment.files[placement.files[0].file], placement.files[0], rows)]
    return session.run([reading_rows(session, projection, [(fragment, listed(rows)) for fragment, rows in parts])])[0]


def _of_one_file(session: Session, file: DataFile, held: FileColumns, rows: Offsets) -> dict[int, pa.Array]:
    """As `read_rows` of what is nearly always asked for, without the work of running reads side by side."""
    [reader] = session.open([file])
    [arrays] = session.drive([(file.key, reader.read_columns(held.columns, held.kinds, rows))])
    return dict(zip(held.field_ids, arrays, strict=True))


def _cells_of_one_file(
    session: Session, projection: Projection, file: DataFile, held: FileColumns, rows: Int64s
) -> list[Cells | pa.Array]:
    """As `take_cells`, where one file has all columns."""
    [reader] = session.open([file])
    field = projection.outputs[0].field
    assert field is not None
    bare = held.field_ids.index(field.id)
    [found] = session.drive([(file.key, reader.read_cells(held.columns, held.kinds, rows, bare))])
    leaves = dict(zip(held.field_ids, found, strict=True))
    return [leaves[output.field.id] for output in projection.outputs if output.field is not None]


def reading_rows(
    session: Session, projection: Projection, parts: Sequence[tuple[Fragment, Int64s]]
) -> Reads[list[dict[int, pa.Array]]]:
    """As `read_rows`, to be run beside other reads."""
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
        (file.key, reader.read_columns(held.columns, held.kinds, rows))
        for file, reader, (_, rows, held) in zip(files, session.open(files), asked, strict=True)
    ]
    for arrays, (leaves, _, held) in zip((yield reads), asked, strict=True):
        leaves.update(zip(held.field_ids, arrays, strict=True))
    return found
