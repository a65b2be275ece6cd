"""ZONEMAP: the least and the greatest value of every so many rows (format_spec/index/zonemap.md).

Data files have such zones of 8,192 rows already; this index is for zones of another size, and for values that no file
has bounds of, such as those at a path in JSON. It answers with whole zones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like._lazy import cached
from lance_like.encodings.physical import valid_of
from lance_like.encodings.sift import Flags
from lance_like.errors import Corrupt, InvalidInput
from lance_like.index.base import BuildOptions, IndexSource, Kind, Segment, SegmentWrites
from lance_like.index.questions import Answer, IsNull, OneOf, Question, Range, StartsWith
from lance_like.index.scalar.keys import Keys, checked_key_type, keys_of, keys_of_values, one_text
from lance_like.index.scalar.params import check_version, known_params, whole_number
from lance_like.index.scalar.places import bytes_above, orders
from lance_like.index.scalar.zones import (
    DEFAULT_ROWS,
    MOST_ROWS,
    ROWS_PER_ZONE,
    rows_of_zones,
    zone_count,
    zones_of,
)
from lance_like.typing_ import Int64s, Json

_FILE = "zones"
# Of a text, a bound keeps so many bytes.
_TEXT_NBYTES = 64


class ZoneMap:
    """The plug-in. Parameter rows_per_zone: 8,192 by default, at most 2^20."""

    name: ClassVar[str] = "ZONEMAP"
    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        """The rows of a zone. Raises InvalidInput."""
        known_params(given, self.name, (ROWS_PER_ZONE,))
        checked_key_type(type, self.name)
        return {ROWS_PER_ZONE: whole_number(given, ROWS_PER_ZONE, DEFAULT_ROWS, 1, MOST_ROWS)}

    def answers(self, type: pa.DataType, params: Mapping[str, Json], question: Question) -> Answer:
        """With whole zones, what is about the order of values."""
        return Answer.SUPERSET if orders(type, question) else Answer.NO

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write the file `zones`."""
        kind = checked_key_type(source.type, self.name)
        schema = _columns(kind)
        zones = [_zone(zone, schema.field(0).type) for zone in zones_of(source, params[ROWS_PER_ZONE], kind)]
        if zones:
            lows, highs, nulls = zip(*zones, strict=True)
            columns = [pa.concat_arrays(lows), pa.concat_arrays(highs), pa.array(nulls, pa.uint32())]
            out.write(_FILE, schema, [pa.record_batch(columns, schema=schema)])
        return {}

    def open(self, segment: Segment) -> ZoneMapSearcher:
        """A searcher. Raises Unsupported, InvalidInput."""
        check_version(segment, self.name, self.version)
        return ZoneMapSearcher(segment, whole_number(segment.params, ROWS_PER_ZONE, DEFAULT_ROWS, 1, MOST_ROWS))


class ZoneMapSearcher:
    """An open segment."""

    def __init__(self, segment: Segment, rows_per_zone: int) -> None:
        self._segment, self._rows_per_zone = segment, rows_per_zone
        self._kind = checked_key_type(segment.type, ZoneMap.name)

    @property
    def nbytes_cached(self) -> int:
        """What it keeps in memory."""
        return self._zones.nbytes if "_zones" in self.__dict__ else 0

    def prewarm(self) -> None:
        """Read the bounds."""
        _ = self._zones

    def rows(self, question: Question) -> BitMap:
        """The ordinals of the zones that may have a match. Raises InvalidInput for one that `answers` refuses."""
        rows = self._segment.rows
        return rows_of_zones(self._zones.chosen(question, self._kind), rows, self._rows_per_zone) if rows else BitMap()

    @cached
    def _zones(self) -> _Zones:
        file = self._segment.files.file(_FILE, _columns(self._kind))
        count = zone_count(self._segment.rows, self._rows_per_zone)
        if file.rows != count:
            raise Corrupt(f"the file {_FILE!r} of an index has {file.rows:,} rows, expected {count:,}", kind="index")
        return _Zones(*file.columns(["low", "high", "nulls"]))


class _Zones:
    """Bounds of n zones: null of those without a value; a high that is null is above all."""

    def __init__(self, low: pa.Array, high: pa.Array, nulls: pa.Array) -> None:
        self._filled, bounded = valid_of(low), valid_of(high)
        if nulls.null_count or (bounded & ~self._filled).any():
            raise Corrupt("a zone of an index has an upper bound and no lower one, or no count", kind="index")
        self._nulls: Int64s = nulls.to_numpy().astype(np.int64)
        self._bounded = bounded[self._filled]
        self._low, self._high = keys_of(low.drop_null()), keys_of(high.drop_null())

    @property
    def nbytes(self) -> int:
        return self._low.nbytes + self._high.nbytes + self._nulls.nbytes + 2 * len(self._filled)

    def chosen(self, question: Question, kind: pa.DataType) -> Flags:
        """bool[n]: the zones that may have a match."""
        match question:
            case IsNull():
                return self._nulls > 0
            case OneOf(values):
                keys = keys_of_values(values, kind)
                upto = np.full(len(self._bounded), len(keys))
                upto[self._bounded] = keys.find(self._high, "right")
                return self._among_filled(keys.find(self._low, "left") < upto)
            case Range(low, high):
                # Whether a bound is included makes a difference to few zones.
                return self._between(*(None if end is None else keys_of_values(end, kind) for end in (low, high)))
            case StartsWith(prefix):
                texts = prefix.encode(), bytes_above(prefix.encode())
                return self._between(*(None if text is None else one_text(text) for text in texts))
            case _:
                raise InvalidInput(f"an index of the type ZONEMAP does not answer {type(question).__name__}")

    def _between(self, first: Keys | None, last: Keys | None) -> Flags:
        found = np.ones(len(self._bounded), bool)
        if first is not None:
            found[self._bounded] = first.find(self._high, "right") == 1
        if last is not None:
            found &= last.find(self._low, "left") == 0
        return self._among_filled(found)

    def _among_filled(self, found: Flags) -> Flags:
        chosen = np.zeros(len(self._filled), bool)
        chosen[self._filled] = found
        return chosen


def _zone(values: pa.Array, kind: pa.DataType) -> tuple[pa.Array, pa.Array, int]:
    """The bounds of the values of a zone, as arrays of one, and how many are null. kind: of the bounds."""
    nulls = values.null_count
    if nulls == len(values):
        return pa.nulls(1, kind), pa.nulls(1, kind), nulls
    low, high = (end.values(kind) for end in keys_of(values.drop_null()).extremes())
    if pa.types.is_large_binary(kind):
        low, high = (pa.array([text], kind) for text in _cut(low[0].as_py(), high[0].as_py()))
    return low, high, nulls


def _cut(low: bytes, high: bytes) -> tuple[bytes, bytes | None]:
    """Short bytes that are not above, and not below others."""
    above = high if len(high) <= _TEXT_NBYTES else bytes_above(high[:_TEXT_NBYTES])
    return low[:_TEXT_NBYTES], above


def _columns(kind: pa.DataType) -> pa.Schema:
    """Of the file. kind: the key type."""
    # Bounds of texts may end inside a character.
    stored = pa.large_binary() if kind == pa.large_string() else kind
    return pa.schema([pa.field("low", stored), pa.field("high", stored), pa.field("nulls", pa.uint32())])


__all__ = ["ZoneMap", "ZoneMapSearcher"]
