"""BLOOMFILTER: which zones may have a value, by a Bloom filter of each (format_spec/index/bloomfilter.md).

The filters are split-block ones, as in Parquet, all of a segment of one size, stored block by block and not zone by
zone: a search for a value reads one row of the file, with that block of all zones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like.encodings.physical import flat_bytes
from lance_like.encodings.sift import Flags
from lance_like.errors import Corrupt, InvalidInput
from lance_like.index.base import BuildOptions, IndexSource, Kind, Segment, SegmentWrites
from lance_like.index.questions import Answer, IsNull, OneOf, Question
from lance_like.index.scalar.hashes import Hashes, hashes_of
from lance_like.index.scalar.keys import checked_key_type, keys_of, keys_of_values
from lance_like.index.scalar.params import check_version, known_params, recorded, whole_number
from lance_like.index.scalar.zones import (
    DEFAULT_ROWS,
    MOST_ROWS,
    ROWS_PER_ZONE,
    rows_of_zones,
    zone_count,
    zones_of,
)
from lance_like.kept import Kept
from lance_like.typing_ import Json

_FILE = "filters"
_BITS_PER_VALUE = "bits_per_value"
_OTHER_NAMES = {"number_of_items": ROWS_PER_ZONE, "probability": _BITS_PER_VALUE}
_WORDS, _BLOCK_NBYTES = 8, 32
# Of Parquet's filters.
_SALTS = np.array(
    [0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31], np.uint32
)
# A row of the file holds a block of each: no more bytes than Arrow has for a cell of one size.
_MOST_ZONES = ((1 << 31) - 1) // _BLOCK_NBYTES
_KEPT_NBYTES = 16 << 20
_AT_ONCE = 256


class BloomFilter:
    """The plug-in.

    Parameters: rows_per_zone, 8,192 by default, at most 2^20; bits_per_value, 10 by default, 2 to 64: with 10 about 1 %
    of the zones without a value are answered too. number_of_items and probability, that share, say the same.
    """

    name: ClassVar[str] = "BLOOMFILTER"
    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        """Raises InvalidInput."""
        known_params(given, self.name, (ROWS_PER_ZONE, _BITS_PER_VALUE, *_OTHER_NAMES))
        checked_key_type(type, self.name)
        given = _by_own_names(given)
        return {
            ROWS_PER_ZONE: whole_number(given, ROWS_PER_ZONE, DEFAULT_ROWS, 1, MOST_ROWS),
            _BITS_PER_VALUE: whole_number(given, _BITS_PER_VALUE, 10, 2, 64),
        }

    def answers(self, type: pa.DataType, params: Mapping[str, Json], question: Question) -> Answer:
        """With whole zones, what asks for values."""
        return Answer.SUPERSET if isinstance(question, (OneOf, IsNull)) else Answer.NO

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write the file `filters`."""
        kind, rows_per_zone = checked_key_type(source.type, self.name), params[ROWS_PER_ZONE]
        zones = zone_count(source.rows, rows_per_zone)
        if zones > _MOST_ZONES:
            raise InvalidInput(
                f"{zones:,} zones are too many for an index of the type {self.name}",
                kind="limit",
                hint=f"choose more {ROWS_PER_ZONE}",
            )
        most = min(rows_per_zone, source.rows)
        blocks = max(1, -(-most * params[_BITS_PER_VALUE] // (8 * _BLOCK_NBYTES)))
        filters = np.zeros((blocks + 1, zones, _WORDS), np.uint32)
        for number, values in enumerate(zones_of(source, rows_per_zone, kind)):
            filters[blocks, number, 0] = values.null_count
            if values.null_count < len(values):
                _insert(filters[:blocks, number], np.unique(hashes_of(keys_of(values.drop_null()))))
        if zones:
            _write(out, filters)
        return {"blocks": blocks}

    def open(self, segment: Segment) -> BloomFilterSearcher:
        """A searcher. Raises Unsupported, Corrupt, InvalidInput."""
        check_version(segment, self.name, self.version)
        rows_per_zone = whole_number(segment.params, ROWS_PER_ZONE, DEFAULT_ROWS, 1, MOST_ROWS)
        if zone_count(segment.rows, rows_per_zone) > _MOST_ZONES:
            raise Corrupt(f"{segment.rows:,} rows of an index in zones of {rows_per_zone:,} are too many", kind="index")
        return BloomFilterSearcher(segment, rows_per_zone, recorded(segment, "blocks", 1, 1 << 32))


def _by_own_names(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that have pylance's names under those that they have here."""
    own = dict(given)
    for other, name in _OTHER_NAMES.items():
        if other in own:
            if name in own:
                raise InvalidInput(f"{other} and {name} say the same: expected one of them", kind="index")
            value = own.pop(other)
            own[name] = _bits_for(value) if name == _BITS_PER_VALUE else value
    return own


def _bits_for(share: Any) -> int:
    """How many bits of a value leave about this share of wrong answers; as Parquet reckons for such filters."""
    if not isinstance(share, float) or not 0 < share < 1:
        raise InvalidInput(f"probability={share!r:.40}: expected a share between 0 and 1", kind="index")
    return max(2, math.ceil(-8 / math.log1p(-(share ** (1 / 8)))))


class BloomFilterSearcher:
    """An open segment."""

    def __init__(self, segment: Segment, rows_per_zone: int, blocks: int) -> None:
        self._segment, self._rows_per_zone, self._blocks = segment, rows_per_zone, blocks
        self._kind = checked_key_type(segment.type, BloomFilter.name)
        self._zones = zone_count(segment.rows, rows_per_zone)
        self._kept: Kept[np.ndarray] = Kept(_KEPT_NBYTES)

    @property
    def nbytes_cached(self) -> int:
        """What it keeps in memory."""
        return self._kept.size

    def prewarm(self) -> None:
        """Read the blocks that memory is kept for."""
        if self._zones:
            most = max(1, _KEPT_NBYTES // (self._zones * _BLOCK_NBYTES))
            self._read(list(range(min(self._blocks + 1, most))))

    def rows(self, question: Question) -> BitMap:
        """The ordinals of the zones that may have a match. Raises InvalidInput for one that `answers` refuses."""
        if not isinstance(question, (OneOf, IsNull)):
            raise InvalidInput(f"an index of the type BLOOMFILTER does not answer {type(question).__name__}")
        if not self._zones:
            return BitMap()
        if isinstance(question, IsNull):
            [counts] = self._read([self._blocks])
            chosen = counts[:, 0] > 0
        else:
            chosen = self._having(np.unique(hashes_of(keys_of_values(question.values, self._kind))))
        return rows_of_zones(chosen, self._segment.rows, self._rows_per_zone)

    def _having(self, hashes: Hashes) -> Flags:
        chosen = np.zeros(self._zones, bool)
        for start in range(0, len(hashes), _AT_ONCE):
            blocks, masks = _places(hashes[start : start + _AT_ONCE], self._blocks)
            for block, mask in zip(self._read(blocks.tolist()), masks, strict=True):
                chosen |= ((block & mask) == mask).all(axis=1)
            if chosen.all():
                break
        return chosen

    def _read(self, blocks: list[int]) -> list[np.ndarray]:
        """uint32[zones, 8] of each of some blocks. Cost: one round for those not in memory."""
        found = {number: block for number in blocks if (block := self._kept.get(number)) is not None}
        missing = sorted({*blocks} - {*found})
        if missing:
            file = self._segment.files.file(_FILE, _columns(self._zones))
            if file.rows != self._blocks + 1:
                raise Corrupt(f"the file {_FILE!r} of an index has {file.rows:,} rows", kind="index")
            [cells] = file.take(["block"], np.array(missing, np.int64))
            data = flat_bytes(cells)
            assert data is not None
            words = data.view("<u4").reshape(len(missing), self._zones, _WORDS)
            for number, block in zip(missing, words, strict=True):
                found[number] = block
                self._kept.put(number, block, block.nbytes)
        return [found[number] for number in blocks]


def _places(hashes: Hashes, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """The block of each hash, and the 8 words with the bits that are set in it for a value."""
    numbers = (hashes >> np.uint64(32)) * np.uint64(blocks) >> np.uint64(32)
    low = hashes.astype(np.uint32)[:, None]
    return numbers.astype(np.int64), np.uint32(1) << ((low * _SALTS) >> np.uint32(27))


def _insert(filter: np.ndarray, hashes: Hashes) -> None:
    """Set the bits of hashes. filter: uint32[blocks, 8] of one zone."""
    blocks, masks = _places(hashes, len(filter))
    np.bitwise_or.at(filter, blocks, masks)


def _write(out: SegmentWrites, filters: np.ndarray) -> None:
    """filters: uint32[blocks + 1, zones, 8], the last one with the count of nulls as its first word."""
    schema = _columns(filters.shape[1])
    data = pa.py_buffer(np.ascontiguousarray(filters, "<u4").view(np.uint8).reshape(-1))
    cells = pa.Array.from_buffers(schema.field(0).type, len(filters), [None, data])
    out.write(_FILE, schema, [pa.record_batch([cells], schema=schema)])


def _columns(zones: int) -> pa.Schema:
    """Of the file."""
    metadata = {"lance_like:encoding": "plain"}
    return pa.schema([pa.field("block", pa.binary(zones * _BLOCK_NBYTES), nullable=False, metadata=metadata)])


__all__ = ["BloomFilter", "BloomFilterSearcher"]
