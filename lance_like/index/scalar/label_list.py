"""LABEL_LIST: for each item of lists, the rows whose list has it (format_spec/index/label_list.md).

Lists of any kind, whatever their items are called. A null item matches nothing; an empty list has no items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like.encodings.joining import items_of_fixed, offsets_and_items
from lance_like.encodings.physical import valid_of
from lance_like.errors import InvalidInput
from lance_like.file.carry import carried_type, carry
from lance_like.index.base import BuildOptions, IndexSource, Kind, Segment, SegmentWrites
from lance_like.index.questions import Answer, HasAll, HasAny, IsNull, Question
from lance_like.index.scalar.grouping import grouped
from lance_like.index.scalar.inverted import InvertedSearcher, write_inverted
from lance_like.index.scalar.keys import (
    Uint32s,
    as_key_values,
    checked_key_type,
    keys_of_values,
    without_nulls,
)
from lance_like.index.scalar.nulls import write_nulls
from lance_like.index.scalar.params import check_version, no_params, recorded
from lance_like.typing_ import Json

_MOST_KEYS = 1 << 48


class LabelList:
    """The plug-in."""

    name: ClassVar[str] = "LABEL_LIST"
    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        """It has none. Raises InvalidInput for what is no list, or one of items without an order."""
        no_params(given, self.name)
        _item_type(type)
        return {}

    def answers(self, type: pa.DataType, params: Mapping[str, Json], question: Question) -> Answer:
        """Exactly what is about items."""
        return Answer.EXACT if isinstance(question, (HasAny, HasAll, IsNull)) else Answer.NO

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write the files `postings` and `nulls`."""
        kind = _item_type(source.type)

        def split(batch: pa.Array, rows: Uint32s) -> tuple[pa.Array, Uint32s, Uint32s]:
            items, ordinals, missing = _items_of(batch, rows)
            values, ordinals, _ = without_nulls(as_key_values(items, kind), ordinals)
            return values, ordinals, missing

        grouping, nulls = grouped(source, kind, options.memory_nbytes, split)
        keys = write_inverted(out, kind, grouping.groups())
        return {"keys": keys, "nulls": write_nulls(out, nulls)}

    def open(self, segment: Segment) -> LabelListSearcher:
        """A searcher. Raises Unsupported, Corrupt."""
        check_version(segment, self.name, self.version)
        keys, nulls = recorded(segment, "keys", 0, _MOST_KEYS), recorded(segment, "nulls", 0, segment.rows)
        return LabelListSearcher(segment, _item_type(segment.type), keys, nulls)


class LabelListSearcher(InvertedSearcher):
    """An open segment."""

    def rows(self, question: Question) -> BitMap:
        """The ordinals that match. Raises InvalidInput for a question that `answers` refuses."""
        match question:
            case IsNull():
                return self.nulls.bitmap
            case HasAny(values):
                places = self.inverted.places(keys_of_values(values, self.kind))
                return self.inverted.union(places, places + 1)
            case HasAll(values):
                keys = keys_of_values(values, self.kind)
                places = self.inverted.places(keys)
                return self.inverted.intersection(places) if len(places) == len(keys) else BitMap()
            case _:
                raise InvalidInput(f"an index of the type LABEL_LIST does not answer {type(question).__name__}")

    def tally(self, question: Question) -> int:
        """How many there are. Raises as `rows`."""
        match question:
            case HasAny(values):
                return self.inverted.count_of_union(self.inverted.places(keys_of_values(values, self.kind)))
            case HasAll(values):
                keys = keys_of_values(values, self.kind)
                places = self.inverted.places(keys)
                return self.inverted.count_of_intersection(places) if len(places) == len(keys) else 0
            case _:
                return len(self.rows(question))


def _item_type(kind: pa.DataType) -> pa.DataType:
    carried, t = carried_type(kind), pa.types
    if not (t.is_list(carried) or t.is_large_list(carried) or t.is_fixed_size_list(carried)):
        raise InvalidInput(f"an index of the type LABEL_LIST holds lists, not {kind!s:.100}", kind="index")
    return checked_key_type(carried.value_type, LabelList.name)


def _items_of(lists: pa.Array, rows: Uint32s) -> tuple[pa.Array, Uint32s, Uint32s]:
    """The items of all lists, the ordinal of the row of each, and those of null lists. rows: the ordinals of all."""
    lists = carry(lists)
    if pa.types.is_fixed_size_list(lists.type):
        items = items_of_fixed(lists)
        lengths = np.full(len(lists), lists.type.list_size)
    else:
        offsets, items = offsets_and_items(lists)
        lengths = np.diff(offsets)
    ordinals = np.repeat(rows, lengths)
    if not lists.null_count:
        return items, ordinals, rows[:0]
    valid = valid_of(lists)
    # Below a null list there may be items that nobody sees.
    seen = np.repeat(valid, lengths)
    return items.filter(pa.array(seen)), ordinals[seen], rows[~valid]


__all__ = ["LabelList", "LabelListSearcher"]
