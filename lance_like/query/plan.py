"""What a scan can skip before it reads data: fragments by the manifest, zones by the files. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like.encodings.physical import is_number
from lance_like.file.carry import carried_type
from lance_like.file.stats import ZoneEntry, Zones, bounds_array, no_bounds
from lance_like.query.expr import Expr, IsNull, Not, paths
from lance_like.query.literals import comparison_type
from lance_like.query.names import Path
from lance_like.query.projection import ROW_ADDRESS, ROW_ID, VIRTUAL, virtual_bounds
from lance_like.query.prune import ZoneColumn, judge_zones, judged_paths
from lance_like.table.fields import Field
from lance_like.table.fragment import Fragment
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s

NONE, SOME, ALL = 0, 1, 2
# A span costs as much as 64k rows of numbers: 63 spans of 245 zones took 16 ms to count, all zones together 5.
_FEW_SPANS = 16
_SHORT_ZONES = 8
# Of nothing but numbers that are compared, as 256k; and a share of the rows read that may be so for nothing.
_GAP_ROWS, _GAP_SHARE = 1 << 18, 1 / 4


@dataclass(frozen=True, slots=True)
class Span:
    """A run of rows of one fragment. check: whether the condition must still be evaluated on them.

    rows: int64[n] offsets of live rows, ascending, that alone are wanted; None: all that are live.
    """

    start: int
    end: int
    check: bool
    rows: Int64s | None = None


def field_of(schema: Schema, path: Path) -> Field | None:
    """The field that holds what a path of a condition names; None for a virtual column."""
    return None if len(path) == 1 and path[0] in VIRTUAL else schema.holder(path)


def judge_fragments(fragments: Sequence[Fragment], condition: Expr, schema: Schema) -> np.ndarray:
    """int8[fragments]: NONE, SOME or ALL of the rows of each pass, by the bounds that the manifest and lineages hold.

    schema: the manifest's as the condition is bound to it.
    """
    rows = np.array([fragment.rows for fragment in fragments], np.int64)

    def stats(path: Path) -> ZoneColumn | None:
        field = field_of(schema, path)
        if field is None:
            return _virtual_stats(fragments, rows, path[0])
        if pa.types.is_struct(field.type):
            return None
        entries = [_field_stats(fragment, field.id) for fragment in fragments]
        known = [entry for entry in entries if entry is not None]
        if len(known) < len(entries):
            return None
        return ZoneColumn(
            rows,
            np.array([entry.null_count for entry in known], np.int64),
            np.array([entry.nan_count for entry in known], np.int64),
            bounds_array(field.type, [entry.min for entry in known]),
            bounds_array(field.type, [entry.max for entry in known]),
        )

    return judge_zones(condition, stats, zones=len(fragments))


def _virtual_stats(fragments: Sequence[Fragment], rows: Int64s, name: str) -> ZoneColumn:
    none = np.zeros(len(fragments), np.int64)
    bounds = np.array([virtual_bounds(name, fragment) for fragment in fragments], np.uint64).reshape(-1, 2)
    return ZoneColumn(rows, none, none, pa.array(bounds[:, 0]), pa.array(bounds[:, 1]))


def _field_stats(fragment: Fragment, field_id: int) -> ZoneEntry | None:
    place = fragment.locate(field_id)
    if place is None:
        return ZoneEntry(fragment.rows, 0, None, None, 0)
    return next((stats for known, stats in place[0].stats if known == field_id), None)


def asks_for_nulls(condition: Expr) -> bool:
    """Whether a condition is one that `count_nulls` may answer."""
    return isinstance(condition.child if isinstance(condition, Not) else condition, IsNull)


def count_nulls(fragment: Fragment, condition: Expr, schema: Schema) -> int | None:
    """How many rows pass, when a condition asks for nulls of a plain column, or for the others, and the manifest knows.

    None: it has not, or rows are deleted since.
    """
    asked = condition.child if isinstance(condition, Not) else condition
    if not isinstance(asked, IsNull) or fragment.deletions is not None:
        return None
    field = field_of(schema, asked.path)
    if field is None or len(asked.path) > 1 or comparison_type(carried_type(field.type)) is None:
        return None
    entry = _field_stats(fragment, field.id)
    if entry is None:
        return None
    return entry.null_count if asked is condition else fragment.rows - entry.null_count


def spans_of(verdicts: np.ndarray, zone_rows: int, rows: int) -> list[Span]:
    """Neighbouring zones with the same verdict as one span; zones of which no row passes are left out."""
    changes = np.flatnonzero(np.diff(verdicts)) + 1
    firsts = np.concatenate(([0], changes)) if len(verdicts) else changes
    lasts = np.concatenate((changes, [len(verdicts)])) if len(verdicts) else changes
    return [
        Span(int(first) * zone_rows, min(int(last) * zone_rows, rows), bool(verdicts[first] == SOME))
        for first, last in zip(firsts, lasts, strict=True)
        if verdicts[first] != NONE
    ]


def without_crumbs(spans: Sequence[Span], zone_rows: int) -> list[Span]:
    """Many short spans near each other as fewer to be checked: reading what lies between takes less than skipping it.

    No row between passes, as no row of a zone left out does.
    """
    if len(spans) <= _FEW_SPANS:
        return list(spans)
    short = _SHORT_ZONES * zone_rows
    found = [spans[0]]
    for span in spans[1:]:
        last = found[-1]
        joins = all(one.check or one.end - one.start <= short for one in (last, span))
        if joins and span.start - last.end <= short:
            found[-1] = Span(last.start, span.end, True)
        else:
            found.append(span)
    return found


def bridged(spans: Sequence[Span]) -> list[Span]:
    """Spans to be checked as one where what lies between, of which all rows pass or none, is little beside them."""
    found: list[Span] = []
    last: int | None = None  # the place of the one before that is to be checked
    for span in spans:
        found.append(span)
        if not span.check:
            continue
        if last is not None:
            before = found[last]
            gap = span.start - before.end
            if gap <= min(_GAP_ROWS, _GAP_SHARE * (span.end - before.start - gap)):
                found[last:] = [Span(before.start, span.end, True)]
        last = len(found) - 1
    return found


def judge_spans(
    condition: Expr,
    zones: Callable[[Path], Zones | None],
    *,
    zone_rows: int,
    rows: int,
) -> list[Span]:
    """The spans of a fragment of so many rows that a scan must read, by the statistics of its zones.

    zones: path -> statistics, None when there are none.
    """

    def stats(path: Path) -> ZoneColumn | None:
        found = zones(path)
        return None if found is None else ZoneColumn(found.rows, found.nulls, found.nans, found.mins, found.maxs)

    spans = spans_of(judge_zones(condition, stats, zones=-(-rows // zone_rows)), zone_rows, rows)
    spans = without_crumbs(spans, zone_rows)
    return bridged(spans) if len(spans) > 1 and _is_of_numbers(condition, zones) else spans


def _is_of_numbers(condition: Expr, zones: Callable[[Path], Zones | None]) -> bool:
    """Does a condition ask nothing but numbers of which there are statistics?"""
    asked = paths(condition)
    return asked <= judged_paths(condition) and all(
        (found := zones(path)) is not None and is_number(found.mins.type) for path in asked
    )


def null_zones(rows: int, zone_rows: int, kind: pa.DataType) -> Zones:
    """The statistics of a column that no file of a fragment holds: it reads as null."""
    count = -(-rows // zone_rows)
    sizes = np.full(count, zone_rows, np.int64)
    if count:
        sizes[-1] = rows - zone_rows * (count - 1)
    unknown = no_bounds(count, kind)
    return Zones(sizes, sizes, np.zeros(count, np.int64), unknown, unknown)


def virtual_zones(fragment: Fragment, name: str, zone_rows: int) -> Zones:
    """What is known of a virtual column in the zones of a fragment. Cost: its lineage, which may lie in a part."""
    starts = np.arange(0, fragment.rows, zone_rows)
    ends = np.append(starts[1:], fragment.rows)
    if name == ROW_ADDRESS or (name == ROW_ID and len(fragment.runs.row_ids) == 1):
        mins, maxs = VIRTUAL[name](fragment, starts), VIRTUAL[name](fragment, ends - 1)
    else:
        values = VIRTUAL[name](fragment, np.arange(fragment.rows)).to_numpy()
        mins, maxs = pa.array(np.minimum.reduceat(values, starts)), pa.array(np.maximum.reduceat(values, starts))
    none = np.zeros(len(starts), np.int64)
    return Zones(ends - starts, none, none, mins, maxs)
