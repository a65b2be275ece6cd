"""MINHASHLSH: texts like another by the Jaccard similarity of their shingles (format_spec/index/minhash.md).

    file "signatures"   ordinal u32 | signature: num_hashes bytes     a row for each text that has a shingle
    file "buckets"      offset u64                                    num_bands * 2^bits + 1 of them, ascending
    file "bands"        row u32                                       num_bands times the rows of "signatures"

Bands of a signature are hashed into buckets: bucket b of band j holds the rows bands[offset[i]:offset[i + 1]] of the
file "signatures", where i = j * 2^bits + b.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like.errors import Corrupt, InvalidInput, Unsupported
from lance_like.index.base import BuildOptions, Hits, IndexSource, Kind, Segment, SegmentReads, SegmentWrites
from lance_like.index.duplicates.shingles import TOKENIZERS, Hashes
from lance_like.index.duplicates.signatures import keys, signatures, similarity
from lance_like.index.questions import Answer, Question
from lance_like.typing_ import Bytes, Int64s, Json

_DEFAULTS: dict[str, Json] = {
    "num_hashes": 128,
    "num_bands": 16,
    "shingle_size": 3,
    "tokenizer": "simple",
    "lower_case": True,
}
_MOST_HASHES, _MOST_SIZE = 1024, 64
# A bucket holds about four rows; more bits than these would make the buckets larger than the rows.
_ROWS_A_BUCKET_BITS, _MOST_BITS = 2, 28
_COMPARED_AT_ONCE = 1 << 16
_BATCH_ROWS = 1 << 16

_ORDINAL = pa.field("ordinal", pa.uint32(), nullable=False)
_OFFSETS = pa.schema([pa.field("offset", pa.uint64(), nullable=False)])
_BANDS = pa.schema([pa.field("row", pa.uint32(), nullable=False)])


class MinHashLsh:
    """The plug-in."""

    name: ClassVar[str] = "MINHASHLSH"
    kind: ClassVar[Kind] = "duplicates"
    version: ClassVar[int] = 1

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        """The parameters checked, with their defaults.

        num_hashes: bytes of a signature; the error of an estimate is sqrt(s (1 - s) / num_hashes).
        num_bands: divides num_hashes; more bands find rows that are less alike. shingle_size: tokens in a shingle.
        tokenizer: "simple" (letters, digits and what is not ASCII), "whitespace" or "character".
        """
        if not (pa.types.is_string(type) or pa.types.is_large_string(type)):
            raise InvalidInput(f"MINHASHLSH indexes texts, not {type}", kind="index")
        return checked(given)

    def answers(self, type: pa.DataType, params: Mapping[str, Json], question: Question) -> Answer:
        """No condition."""
        return Answer.NO

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write a segment. Memory: 4 bytes a row and band."""
        bits = _bits_of(source.rows)
        buckets: list[np.ndarray] = []
        out.write("signatures", _signature_columns(params), _signed_batches(source, params, bits, buckets, options))
        found = np.concatenate(buckets, axis=1) if buckets else np.empty((params["num_bands"], 0), np.uint32)
        counts = np.stack([np.bincount(band, minlength=1 << bits) for band in found])
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
        out.write("buckets", _OFFSETS, [pa.record_batch([pa.array(offsets)], schema=_OFFSETS)])
        out.write("bands", _BANDS, _band_batches(found))
        return {"signed": found.shape[1], "bits": bits}

    def open(self, segment: Segment) -> MinHashSearcher:
        """A searcher. Raises Corrupt for a detail that cannot be, Unsupported for a later version."""
        if segment.version > self.version:
            raise Unsupported(
                f"the index is of version {segment.version} of {self.name}, known is {self.version}",
                kind="plugin",
                hint="update lance_like",
            )
        signed, bits = segment.detail.get("signed"), segment.detail.get("bits")
        if not (isinstance(signed, int) and isinstance(bits, int)):
            raise Corrupt("an index of signatures says neither how many it has nor how they are found", kind="index")
        if not (0 <= signed <= segment.rows and bits == _bits_of(segment.rows)):
            raise Corrupt(f"{signed} signatures of {segment.rows} rows in 2^{bits} buckets", kind="index")
        if {*segment.params} != {*_DEFAULTS}:
            raise Unsupported(f"parameters {sorted(segment.params)} of MINHASHLSH: expected {sorted(_DEFAULTS)}")
        return MinHashSearcher(segment.files, checked(segment.params), rows=segment.rows, signed=signed, bits=bits)


class MinHashSearcher:
    """An open segment. Keeps nothing but what the open files keep."""

    def __init__(self, files: SegmentReads, params: Mapping[str, Json], *, rows: int, signed: int, bits: int) -> None:
        self._files, self.params, self._rows, self._signed, self._bits = files, params, rows, signed, bits

    @property
    def nbytes_cached(self) -> int:
        """Nothing: pages are read, or mapped, where they are needed."""
        return 0

    def prewarm(self) -> None:
        """Open the files."""
        for name in ("signatures", "buckets", "bands"):
            self._file(name)

    def signatures(self, allow: BitMap | None) -> tuple[Int64s, Bytes]:
        """The signatures of all texts that have one, or of those allowed: ordinals int64[n], uint8[n, hashes]."""
        ordinals, signed = self._unpacked(self._file("signatures").columns(["ordinal", "signature"]))
        if allow is None:
            return ordinals, signed
        mask = np.zeros(self._rows, bool)
        mask[np.asarray(allow.to_array(), np.int64)] = True
        chosen = mask[ordinals]
        return (ordinals, signed) if chosen.all() else (ordinals[chosen], signed[chosen])

    def nearest(self, signature: Bytes, k: int, allow: BitMap | None) -> Hits:
        """The rows most like a signature, by the estimate, of all those allowed that share a band with it.

        signature: uint8[hashes]. The scores are distances, 1 - similarity; equal ones are in order of ordinals.
        """
        best = np.empty(0, np.int64), np.empty(0, np.float32)
        rows = self._candidates(signature)
        for start in range(0, len(rows), _COMPARED_AT_ONCE):
            some = rows[start : start + _COMPARED_AT_ONCE]
            ordinals, signed = self._unpacked(self._file("signatures").take(["ordinal", "signature"], some))
            if allow is not None:
                chosen = np.isin(ordinals, np.asarray((BitMap(ordinals) & allow).to_array(), np.int64))
                ordinals, signed = ordinals[chosen], signed[chosen]
            places, distances = nearest_of(signed, signature, self.params["num_bands"])
            best = best_of([best, (ordinals[places], distances)], k)
        return Hits(_filled(best[0], k, -1), _filled(best[1], k, np.float32("nan")))

    def _candidates(self, signature: Bytes) -> Int64s:
        """Rows of the file "signatures" that share a bucket with a signature."""
        bands = self.params["num_bands"]
        places = np.arange(bands) * (1 << self._bits) + _buckets_of(keys(signature[None, :], bands), self._bits)[:, 0]
        [offsets] = self._file("buckets").take(["offset"], np.stack([places, places + 1], axis=1).ravel())
        starts, ends = offsets.to_numpy().astype(np.int64).reshape(-1, 2).T
        counts = ends - starts
        if (counts < 0).any() or ends.max() > bands * self._signed:
            raise Corrupt("buckets of signatures overlap, or lie past the last one", kind="index")
        within = np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
        [found] = self._file("bands").take(["row"], within)
        rows = np.unique(found.to_numpy()).astype(np.int64)
        if len(rows) and rows[-1] >= self._signed:
            raise Corrupt(f"a bucket holds row {rows[-1]} of {self._signed} signatures", kind="index")
        return rows

    def _unpacked(self, columns: list[pa.Array]) -> tuple[Int64s, Bytes]:
        ordinals, signed = columns
        found = ordinals.to_numpy().astype(np.int64)
        if len(found) and found.max() >= self._rows:
            raise Corrupt(f"a signature of row {found.max()} of {self._rows}", kind="index")
        width = self.params["num_hashes"]
        data = np.frombuffer(signed.buffers()[1], np.uint8)[signed.offset * width :]
        return found, data[: len(signed) * width].reshape(len(signed), width)

    def _file(self, name: str) -> Any:
        bands = self.params["num_bands"]
        columns, expected = {
            "signatures": (_signature_columns(self.params), self._signed),
            "buckets": (_OFFSETS, bands * (1 << self._bits) + 1),
            "bands": (_BANDS, bands * self._signed),
        }[name]
        file = self._files.file(name, columns)
        if file.rows != expected:
            raise Corrupt(f"the file {name!r} of an index has {file.rows} rows, expected {expected}", kind="index")
        return file


def nearest_of(signed: Bytes, signature: Bytes, bands: int) -> tuple[Int64s, np.ndarray]:
    """Which signatures share a band with another, int64[n], and their distances from it, float32[n]."""
    rows, hashes = signed.shape
    shared = (signed == signature).reshape(rows, bands, hashes // bands).all(axis=2).any(axis=1)
    places = np.flatnonzero(shared)
    return places, np.float32(1) - similarity(signed[places], signature[None, :])


def best_of(found: Sequence[tuple[Int64s, np.ndarray]], k: int) -> tuple[Int64s, np.ndarray]:
    """The k nearest of several answers: rows and distances, equal distances in order of rows."""
    rows, distances = np.concatenate([some for some, _ in found]), np.concatenate([some for _, some in found])
    best = np.lexsort((rows, distances))[:k]
    return rows[best], distances[best]


def checked(given: Mapping[str, Any]) -> dict[str, Json]:
    """Parameters with their defaults. Raises InvalidInput for one that is unknown or cannot be."""
    unknown = {*given} - {*_DEFAULTS}
    if unknown:
        raise InvalidInput(f"unknown parameters {sorted(unknown)} of MINHASHLSH; known are {sorted(_DEFAULTS)}")
    found = _DEFAULTS | dict(given)
    _check_count(found, "num_hashes", _MOST_HASHES)
    _check_count(found, "num_bands", found["num_hashes"])
    _check_count(found, "shingle_size", _MOST_SIZE)
    if found["num_hashes"] % found["num_bands"]:
        raise InvalidInput(f"num_bands={found['num_bands']} does not divide num_hashes={found['num_hashes']}")
    if found["tokenizer"] not in TOKENIZERS:
        raise InvalidInput(f"tokenizer={found['tokenizer']!r}: expected one of {', '.join(TOKENIZERS)}")
    if not isinstance(found["lower_case"], bool):
        raise InvalidInput(f"lower_case={found['lower_case']!r}: expected True or False")
    return found


def _check_count(found: Mapping[str, Any], name: str, most: int) -> None:
    value = found[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidInput(f"{name}={value!r}: expected a whole number from 1 to {most}")


def _bits_of(rows: int) -> int:
    """How many bits number the buckets of a band."""
    return min(max(rows.bit_length() - _ROWS_A_BUCKET_BITS, 1), _MOST_BITS)


def _buckets_of(found: Hashes, bits: int) -> Int64s:
    """The bucket of each key: its highest bits."""
    return (found >> np.uint64(64 - bits)).astype(np.int64)


def _signature_columns(params: Mapping[str, Json]) -> pa.Schema:
    # Random bytes: nothing is saved by looking for an encoding, and plain pages are read without a copy.
    metadata = {"lance_like:encoding": "plain"}
    return pa.schema(
        [_ORDINAL, pa.field("signature", pa.binary(params["num_hashes"]), nullable=False, metadata=metadata)]
    )


def _signed_batches(
    source: IndexSource, params: Mapping[str, Json], bits: int, buckets: list[np.ndarray], options: BuildOptions
) -> Iterator[pa.RecordBatch]:
    """The rows of the file "signatures"; adds to `buckets` those of each batch: uint32[num_bands, n]."""
    schema = _signature_columns(params)
    done = 0
    for values in source.batches():
        for has, signed in signatures(values, params):
            ordinals = np.flatnonzero(has) + done
            done += len(has)
            if len(ordinals):
                buckets.append(_buckets_of(keys(signed, params["num_bands"]), bits).astype(np.uint32))
                cells = pa.FixedSizeBinaryArray.from_buffers(
                    schema.field(1).type, len(signed), [None, pa.py_buffer(signed)]
                )
                yield pa.record_batch([pa.array(ordinals, pa.uint32()), cells], schema=schema)
            if options.progress is not None:
                options.progress("signatures", done, source.rows)


def _band_batches(buckets: np.ndarray) -> Iterator[pa.RecordBatch]:
    """The rows of each bucket of each band."""
    for band in buckets:
        # Numbers are sorted by vectors of them, and several times as fast as their places.
        both = band.astype(np.uint64) << np.uint64(32) | np.arange(len(band), dtype=np.uint64)
        both.sort()
        order = both.astype(np.uint32)
        for start in range(0, len(order), _BATCH_ROWS):
            yield pa.record_batch([pa.array(order[start : start + _BATCH_ROWS])], schema=_BANDS)


def _filled(found: np.ndarray, k: int, empty: Any) -> np.ndarray:
    """One row of `Hits`."""
    return np.concatenate([found, np.full(k - len(found), empty, found.dtype)])[None, :]


__all__ = ["MinHashLsh", "MinHashSearcher", "best_of", "checked", "nearest_of"]
