"""`merge_insert`: rows of a source brought into a table by their keys."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from lance_like.dataset.change import by_fragment, fields_read, matching
from lance_like.dataset.conversion import text_of
from lance_like.dataset.inputs import Stream, check_cells, filled
from lance_like.dataset.keys import KeyIndex
from lance_like.dataset.patch import Patch, rows_of, steps, write_patches
from lance_like.dataset.results import ExecuteResult
from lance_like.dataset.scanner import Filter, bind_filter
from lance_like.dataset.write import FileLimits, write_fragments
from lance_like.encodings.joining import joined
from lance_like.errors import InvalidInput
from lance_like.file.carry import nulls, one_batch, taken_rows
from lance_like.io.local import LocalStore
from lance_like.query.evaluate import compute_columns, parse_expressions
from lance_like.query.expr import Compare, Expr, In, all_of, bind_opaque
from lance_like.query.projection import ROW_ADDRESS, project
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.query.take import take_positions
from lance_like.table.actions import ChangeRows, Create, KeyRange
from lance_like.table.commit import commit
from lance_like.table.layout import FOLDERS
from lance_like.table.manifest import Manifest
from lance_like.typing_ import Int64s, T

# A source up to so many bytes stays in memory; a larger one is kept in a file of its own until the merge is done.
_HELD_NBYTES = 256 << 20
_STEP_ROWS = 1 << 16
_KEY_BATCH_ROWS = 1 << 20
_NO_ROWS: Int64s = np.empty(0, np.int64)
# So few keys are looked for by a list of them, which skips more than their range does.
_FEW_KEYS = 1024
# The same in a large table: an index reads less than all of the keys, about a page of them for each.
_ROWS_A_KEY = 4096


@dataclass(frozen=True, slots=True)
class Rules:
    """What a merge does. on: the key columns.

    matched: rows of the table whose key the source has: "update" (where condition holds, if there is one), "delete",
    "fail", or None to leave them. insert: add the rows of the source whose key the table lacks.
    by_source: delete the rows of the table whose key the source lacks: True for all, or the filter they must pass.
    use_index: whether indexes are asked for the keys.
    """

    on: tuple[str, ...]
    matched: str | None = None
    condition: Filter = None
    insert: bool = False
    by_source: Filter | bool = None
    use_index: bool = True

    def check(self) -> None:
        """Raise InvalidInput when nothing would happen."""
        if self.matched is None and not self.insert and self.by_source is None:
            raise InvalidInput(
                "the merge would change nothing",
                hint="say when_matched_update_all(), when_not_matched_insert_all() or another rule",
            )


@dataclass(slots=True)
class MergeStats:
    """How many rows a merge added, changed and deleted."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def told(self) -> ExecuteResult:
        """The counts as callers get them."""
        return {
            "num_inserted_rows": self.inserted,
            "num_updated_rows": self.updated,
            "num_deleted_rows": self.deleted,
        }


class Source:
    """The rows of a source, by position: in memory, or in a table of its own in a temporary folder.

    schema: of the target's types. keys: the key columns, in memory in any case.
    """

    def __init__(self, stream: Stream, on: Sequence[str]) -> None:
        self.schema = stream.schema
        self._exit = ExitStack()
        missing = [name for name in on if name not in stream.schema.names]
        if missing:
            raise InvalidInput(f"the data lacks the key column {missing[0]!r}")
        keys: list[pa.RecordBatch] = []
        held: list[pa.RecordBatch] = []
        nbytes = 0

        def noted() -> Iterator[pa.RecordBatch]:
            for batch in stream.batches:
                keys.append(check_cells(batch).select(list(on)))
                yield batch

        batches = noted()
        for batch in batches:
            held.append(batch)
            nbytes += batch.nbytes
            if nbytes > _HELD_NBYTES:
                break
        self._table: pa.Table | None = None
        if nbytes > _HELD_NBYTES:
            self._spool(held, batches)
        else:
            self._table = pa.Table.from_batches(held, self.schema)
        table = pa.Table.from_batches(keys, pa.schema([self.schema.field(name) for name in on]))
        self.num_rows = table.num_rows
        self.keys = [joined(column.chunks) if column.num_chunks else nulls(0, column.type) for column in table.columns]

    def _spool(self, held: list[pa.RecordBatch], rest: Iterator[pa.RecordBatch]) -> None:
        folder = self._exit.enter_context(tempfile.TemporaryDirectory(prefix="lance_like-"))
        store = LocalStore(folder, durability="process", folders=FOLDERS)

        def batches() -> Iterator[pa.RecordBatch]:
            while held:
                yield held.pop(0)
            yield from rest

        fragments = write_fragments(store, Stream(self.schema, batches()), limits=FileLimits())
        self._stored = Session(store), commit(store, None, Create(self.schema, fragments))

    def take(self, rows: Int64s) -> pa.RecordBatch:
        """Rows by position, in one batch."""
        if self._table is None:
            session, manifest = self._stored
            table = take_positions(session, manifest, project(manifest.schema), rows)
            return one_batch(table, self.schema)
        return taken_rows(one_batch(self._table, self.schema), rows)

    def close(self) -> None:
        """Remove what was kept in files."""
        self._exit.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Matches:
    """Rows of the table whose key the source has: int64[n] rows of the source and addresses, in scan order."""

    source: Int64s
    addresses: Int64s

    def chosen(self, which: np.ndarray) -> _Matches:
        return _Matches(self.source[which], self.addresses[which])


@dataclass
class Merge:
    """The change of a merge; made again when another writer's change asks for it."""

    session: Session
    rules: Rules
    source: Source
    index: KeyIndex
    stats: MergeStats = field(default_factory=MergeStats)

    def __call__(self, manifest: Manifest | None) -> ChangeRows:
        assert manifest is not None
        rules, schema = self.rules, manifest.schema
        key_fields = [schema.find((name,)) for name in rules.on]
        matches = self._matches(manifest)
        self._refuse_matched(matches)
        chosen = self._meeting_condition(manifest, matches) if rules.matched == "update" else matches
        removed = _by_fragment(matches.addresses) if rules.matched == "delete" else {}
        by_source = self._not_in_source(manifest, matches)
        patches = self._patches(manifest, chosen) if rules.matched == "update" else []
        names = [name for name in self.source.schema.names if name not in rules.on]
        # A column that is all there is to a row has nothing to change but itself.
        changed = names or list(rules.on)
        inserted = self._unmatched(manifest, matches) if rules.insert else _NO_ROWS
        new = self._inserted(manifest, inserted) if len(inserted) else None
        written = write_patches(self.session, manifest, patches if names else [], changed, new)
        self.stats.inserted, self.stats.updated = len(inserted), sum(len(patch.offsets) for patch in patches)
        self.stats.deleted = sum(map(len, removed.values())) + sum(map(len, by_source.values()))
        changes = [i for name in names for i in schema.subtree(schema.find((name,)).id)] if patches else []
        condition = None if rules.by_source is None or rules.by_source is True else bind_filter(schema, rules.by_source)
        return ChangeRows(
            "merge_insert",
            removed=_united(written.removed, removed, by_source),
            columns=written.columns,
            fragments=written.fragments,
            field_ids=tuple(field.id for field in schema.fields),
            reads=(
                *(field.id for field in key_fields),
                *fields_read(schema, condition),
                *self._condition_reads(manifest),
            ),
            changes=tuple(changes),
            keys=tuple(
                KeyRange(field.id, *bounds)
                for field, bounds in zip(key_fields, self.index.ranges, strict=True)
                if bounds is not None
            ),
        )

    def _matches(self, manifest: Manifest) -> _Matches:
        projection = project(manifest.schema, [*self.rules.on, ROW_ADDRESS])
        source: list[Int64s] = [np.empty(0, np.int64)]
        addresses: list[Int64s] = [np.empty(0, np.int64)]
        if len(self.index):
            condition = self._within_ranges(manifest)
            scan = Scan(projection, condition, batch_rows=_KEY_BATCH_ROWS, indexed=self.rules.use_index)
            for batch in run_scan(self.session, manifest, scan):
                found, rows = self.index.find(batch.columns[:-1])
                source.append(rows)
                addresses.append(batch.column(len(self.rules.on)).to_numpy().view(np.int64)[found])
        return _Matches(np.concatenate(source), np.concatenate(addresses))

    def _within_ranges(self, manifest: Manifest) -> Expr | None:
        """A condition that every row with a key of the source passes, by which fragments and zones are skipped."""
        bounds: list[Expr] = []
        most = max(_FEW_KEYS, manifest.live_rows // _ROWS_A_KEY)
        for name, found, distinct in zip(self.rules.on, self.index.ranges, self.index.distinct, strict=True):
            if found is not None and len(distinct) <= most:
                bounds.append(In((name,), distinct))
            elif found is not None:
                bounds += [Compare(">=", (name,), found[0]), Compare("<=", (name,), found[1])]
        return bind_filter(manifest.schema, all_of(bounds)) if bounds else None

    def _refuse_matched(self, matches: _Matches) -> None:
        if self.rules.matched == "fail" and len(matches.source):
            row = int(matches.source[0])
            shown = ", ".join(f"{n}={text_of(k[row])}" for n, k in zip(self.rules.on, self.source.keys, strict=True))
            raise InvalidInput(
                f"{len(matches.source):,} rows of the table have a key of the data, one is {shown}",
                kind="matched",
                hint="when_matched_fail() asked for none",
            )

    def _meeting_condition(self, manifest: Manifest, matches: _Matches) -> _Matches:
        """The matches whose row of the source and row of the table meet the condition of the update."""
        if self.rules.condition is None or len(matches.source) == 0:
            return matches
        passed: list[np.ndarray] = []
        condition = parse_expressions({"condition": self.rules.condition})
        source_names, target_names = self._names_read(manifest)
        for fragment_id, rows, offsets in _each_fragment(matches):
            fragment = manifest.fragment(fragment_id)
            for start, end in steps(fragment, len(rows)):
                source = self.source.take(rows[start:end]).select(source_names)
                target = rows_of(self.session, manifest.schema, [(fragment, offsets[start:end])], target_names)
                columns = [source.to_struct_array(), target.to_struct_array()]
                pairs = pa.RecordBatch.from_arrays(columns, names=["source", "target"])
                made = compute_columns(condition, pairs)
                passes = made.column(0)
                if not pa.types.is_boolean(passes.type):
                    raise InvalidInput(f"the condition {self.rules.condition!r} is {passes.type}, not true or false")
                passed.append(passes.fill_null(False).to_numpy(zero_copy_only=False))
        return matches.chosen(np.concatenate(passed))

    def _names_read(self, manifest: Manifest) -> tuple[list[str], list[str]]:
        """The columns of the source, and those of the table, that the condition may read; one of each at least."""
        sides = {"source": self.source.schema, "target": manifest.schema.to_arrow()}
        pair = pa.schema([(side, pa.struct(list(schema))) for side, schema in sides.items()])
        [computed] = parse_expressions({"condition": self.rules.condition}).values()
        read = bind_opaque(computed, pair).columns

        def names_of(side: str) -> list[str]:
            if (side,) in read:
                return sides[side].names
            found = {path[1] for path in read if path[0] == side}
            # So that there are rows.
            return [name for name in sides[side].names if name in found] or [self.rules.on[0]]

        return names_of("source"), names_of("target")

    def _condition_reads(self, manifest: Manifest) -> list[int]:
        if self.rules.condition is None:
            return []
        schema = manifest.schema
        return [i for name in self._names_read(manifest)[1] for i in schema.subtree(schema.find((name,)).id)]

    def _not_in_source(self, manifest: Manifest, matches: _Matches) -> dict[int, Int64s]:
        if self.rules.by_source is None:
            return {}
        condition = None if self.rules.by_source is True else bind_filter(manifest.schema, self.rules.by_source)
        matched = _by_fragment(matches.addresses)
        left: dict[int, Int64s] = {}
        for fragment_id, offsets in matching(self.session, manifest, condition).items():
            rest = np.setdiff1d(offsets, matched.get(fragment_id, offsets[:0]), assume_unique=True)
            if len(rest):
                left[fragment_id] = rest
        return left

    def _patches(self, manifest: Manifest, matches: _Matches) -> list[Patch]:
        return [
            Patch(manifest.fragment(fragment_id), offsets, self._values(rows))
            for fragment_id, rows, offsets in _each_fragment(matches)
        ]

    def _values(self, rows: Int64s) -> Callable[[int, int, pa.RecordBatch], pa.RecordBatch]:
        names = [name for name in self.source.schema.names if name not in self.rules.on]
        return lambda start, end, _: self.source.take(rows[start:end]).select(names)

    def _unmatched(self, manifest: Manifest, matches: _Matches) -> Int64s:
        """The rows of the source whose key the table lacks. Raises InvalidInput for those that it cannot hold."""
        new = np.ones(self.source.num_rows, bool)
        new[matches.source] = False
        rows = np.flatnonzero(new)
        lacking = [
            field.name
            for field in manifest.schema.to_arrow()
            if not field.nullable and field.name not in self.source.schema.names
        ]
        if lacking and len(rows):
            raise InvalidInput(f"the data lacks {lacking[0]!r}, which may not be null in the table")
        return rows

    def _inserted(self, manifest: Manifest, rows: Int64s) -> Iterator[pa.RecordBatch]:
        """Rows of the source with all columns of the table."""
        schema = manifest.schema.to_arrow()
        for start in range(0, len(rows), _STEP_ROWS):
            yield filled(self.source.take(rows[start : start + _STEP_ROWS]), schema)


def _each_fragment(matches: _Matches) -> Iterator[tuple[int, Int64s, Int64s]]:
    """The matches of each fragment: its id, rows of the source, offsets."""
    start = 0
    for fragment_id, offsets in by_fragment(matches.addresses):
        yield fragment_id, matches.source[start : start + len(offsets)], offsets
        start += len(offsets)


def _by_fragment(addresses: Int64s) -> dict[int, Int64s]:
    return dict(by_fragment(addresses))


def _united(*parts: dict[int, Int64s]) -> dict[int, Int64s]:
    """Rows of fragments from several sets of them."""
    sets: dict[int, list[Int64s]] = {}
    for part in parts:
        for fragment_id, offsets in part.items():
            sets.setdefault(fragment_id, []).append(offsets)
    return {i: found[0] if len(found) == 1 else np.unique(np.concatenate(found)) for i, found in sets.items()}


def run_merge(
    session: Session, rules: Rules, stream: Stream, commit_change: Callable[[Merge], T]
) -> tuple[T, MergeStats]:
    """Merge a stream into a table. commit_change: commits what it is given, or only makes it.

    Memory: the keys of the stream, 256 MiB of its rows, and 8 bytes a row that matches.
    """
    source = Source(stream, rules.on)
    try:
        merge = Merge(session, rules, source, KeyIndex(rules.on, source.keys))
        return commit_change(merge), merge.stats
    finally:
        source.close()


__all__ = ["MergeStats", "Rules", "run_merge"]
