"""An index that keeps the values as they are and answers every question by looking at all of them: what indexes find
in tests, whatever the planner makes of it. `attach` builds one, of any kind, for some rows of a table.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyroaring import BitMap

from lance_like import LanceDataset
from lance_like.file.carry import carry
from lance_like.index import questions as q
from lance_like.index.base import BuildOptions, Kind, Segment, SegmentWrites
from lance_like.index.files import ArraySource, SegmentWriter
from lance_like.index.registry import INDEXES
from lance_like.query import expr
from lance_like.query.evaluate import select
from lance_like.query.literals import comparison_type
from lance_like.table.actions import NewIndex, SetIndexes
from lance_like.table.commit import commit
from lance_like.table.indices import IndexEntry, IndexSegment, JsonPath, RowRuns

VALUE = ("value",)


@dataclass
class Plain:
    """supersets: questions that it answers with more rows than match: all that have a value."""

    name: ClassVar[str] = "PLAIN"
    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1
    asked: list[q.Question]
    supersets: tuple[type, ...] = ()
    refused: tuple[type, ...] = ()

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Any]:
        return dict(given)

    def answers(self, type: pa.DataType, params: Mapping[str, Any], question: q.Question) -> q.Answer:
        if isinstance(question, self.refused):
            return q.Answer.NO
        return q.Answer.SUPERSET if isinstance(question, self.supersets) else q.Answer.EXACT

    def build(
        self, source: ArraySource, params: Mapping[str, Any], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Any]:
        schema = pa.schema([pa.field("value", source.type)])
        out.write("values", schema, (pa.record_batch([array], schema=schema) for array in source.batches()))
        return {}

    def open(self, segment: Segment) -> PlainSearcher:
        return PlainSearcher(self, segment)


@dataclass
class PlainSearcher:
    plugin: Plain
    segment: Segment

    @property
    def nbytes_cached(self) -> int:
        return 0

    def prewarm(self) -> None:
        pass

    def rows(self, question: q.Question) -> BitMap:
        self.plugin.asked.append(question)
        [values] = self.segment.files.file("values").columns(["value"])
        if isinstance(question, self.plugin.supersets):
            return BitMap(np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False)))
        return BitMap(_matching(question, carry(values)))


def _matching(question: q.Question, values: pa.Array) -> np.ndarray:
    match question:
        case q.HasAny(items) | q.HasAll(items):
            wanted = items.to_pylist()
            join = any if isinstance(question, q.HasAny) else all
            found = [cell is not None and join(_has(cell, one) for one in wanted) for cell in values.to_pylist()]
            return np.flatnonzero(found)
        case q.Contains(part):
            return _where(pc.match_substring(_text(values), part))
        case q.Matches(pattern, whole):
            return _where(pc.match_substring_regex(_text(values), f"^(?:{pattern})$" if whole else pattern))
    return select(_condition(question, values.type), pa.record_batch([values], ["value"]))


def _condition(question: q.Question, kind: pa.DataType) -> expr.Expr:
    to = comparison_type(kind)
    match question:
        case q.IsNull():
            return expr.IsNull(VALUE)
        case q.OneOf(items):
            return expr.In(VALUE, items.cast(to))
        case q.Range(low, high):
            lows = [] if low is None else [expr.Compare(">=" if question.low_included else ">", VALUE, low.cast(to))]
            highs = (
                [] if high is None else [expr.Compare("<=" if question.high_included else "<", VALUE, high.cast(to))]
            )
            return expr.all_of([*lows, *highs])
        case q.StartsWith(prefix):
            return expr.Like(VALUE, expr.like_text(prefix) + "%", "\\")
        case q.Like(pattern, escape, ignore_case):
            return expr.Like(VALUE, pattern, escape or "", ignore_case)
    raise AssertionError(question)


def _has(cell: list[Any], one: Any) -> bool:
    return any(item == one or (item is not None and item != item and one != one) for item in cell)


def _text(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _where(found: pa.BooleanArray) -> np.ndarray:
    return np.flatnonzero(found.fill_null(False).to_numpy(zero_copy_only=False))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plain]:
    """The kind of index PLAIN, known while a test runs."""
    plugin = Plain([])
    monkeypatch.setitem(INDEXES._loaded, Plain.name, plugin)
    yield plugin


def attach(
    ds: LanceDataset,
    column: str,
    kind: str = Plain.name,
    *,
    rows: slice = slice(None),
    values: pa.Array | None = None,
    json: JsonPath | None = None,
    mode: Any = "create",
) -> str:
    """Build an index of some rows of a column, by the order of their row ids, and commit it. Returns its name.

    values: those that are indexed, in scan order; None: those of the column.
    """
    ids = ds.to_table([], with_row_id=True)["_rowid"].to_numpy().astype(np.int64)
    order = np.argsort(ids)[rows]
    cells = ds._take_rows(ids[order], [column])[column].chunk(0) if values is None else values.take(pa.array(order))
    plugin = INDEXES.get(kind)
    params, out = plugin.params(cells.type, {}), SegmentWriter(ds._store)
    detail = plugin.build(ArraySource(cells), params, out, BuildOptions())
    segment = IndexSegment(
        uuid.uuid4().hex, ds.version, plugin.version, time.time_ns() // 1000, out.files, RowRuns.of(ids[order]), detail
    )
    name = f"{column}_{kind.lower()}" + ("" if json is None else f"_{json.type}")
    field = ds._manifest.schema.find(column).id
    entry = IndexEntry(name, kind, (field,), params, (segment,), json)
    change = SetIndexes((NewIndex(entry, mode),), ds._manifest.version)
    ds._move(commit(ds._store, ds._manifest, change))
    return name
