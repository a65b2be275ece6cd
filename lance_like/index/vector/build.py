"""Building a segment of partitions (format_spec/index/ivf.md).

1. Centroids and codebooks are learnt from a sample, or taken over.
2. Each batch is read once: its vectors find their partition and become codes; queries that were held out are compared
   with all of them.
3. Codes are written in the order of partitions, ordinals ascending in each.
4. What was held out says how many partitions to look into and how many rows to look at again (`measure`).

Memory: the sample and a batch, the codes up to a quarter of what the build may take (beyond it they lie in a temporary
file), and 12 bytes for each vector.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from lance_like.index.base import BuildOptions, Hits, IndexSource, Nearest, SegmentWrites
from lance_like.index.vector.exact import merge, nearest_of
from lance_like.index.vector.lists import FaissScan, Scan
from lance_like.index.vector.measure import Truth, measured, probing_of
from lance_like.index.vector.space import Space, space_of
from lance_like.index.vector.stored import (
    BIAS,
    BIASES,
    CENTROID,
    CODE,
    CODEBOOK,
    CODES,
    END,
    ENDS,
    ORDINAL,
    PARTITIONS,
    VALUES,
)
from lance_like.index.vector.train import Model, learn, nearest_centroids
from lance_like.typing_ import Bytes, Int64s, Json

# Rows of codes that are handed to the writer at a time.
_BATCH_ROWS = 1 << 16
# How many candidates a graph may be searched with.
_EFS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
# The neighbours of a query that was held out.
_TRUE_NEIGHBOURS = 10
_PLAIN = {"lance_like:encoding": "plain"}


class Pile:
    """Rows of bytes that are put down one after another: in memory, beyond a limit in a temporary file."""

    def __init__(self, width: int, limit_nbytes: int) -> None:
        self._width, self._limit = width, limit_nbytes
        self._parts: list[Bytes] = []
        self._nbytes = 0
        self._file: Any = None

    def add(self, rows: Bytes) -> None:
        """Put down some more: uint8[n, width]."""
        self._parts.append(rows)
        self._nbytes += rows.nbytes
        if self._file is None and self._nbytes > self._limit:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115, lives as long as the pile
        if self._file is not None:
            for part in self._parts:
                self._file.write(np.ascontiguousarray(part).data)
            self._parts.clear()

    def rows(self) -> Bytes:
        """All of them: uint8[n, width]."""
        if self._file is not None:
            self._file.flush()
            return np.memmap(self._file, np.uint8, "r").reshape(-1, self._width)
        return np.concatenate([*self._parts, np.empty((0, self._width), np.uint8)])


@dataclass(frozen=True)
class Placed:
    """The vectors of a segment in the order in which they came. parts: int32[n]. ordinals: uint32[n].
    codes: uint8[n, width]. order: int64[n], of partitions. ends: int64[p], in it. spread: float64[p], how far the
    vectors of each are from its centroid on the average, squared.
    """

    parts: np.ndarray
    ordinals: np.ndarray
    codes: Bytes
    order: Int64s
    ends: Int64s
    spread: np.ndarray

    def partition(self, number: int) -> tuple[Int64s, Bytes]:
        """Ordinals and codes of a partition."""
        some = self.order[(self.ends[number - 1] if number else 0) : self.ends[number]]
        return self.ordinals[some].astype(np.int64), self.codes[some]


class Links(Protocol):
    """What graphs add to a segment."""

    def write(self, placed: Placed, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions) -> pa.Table:
        """Write the links of each partition. Returns columns of partitions."""
        ...

    def scan(self) -> Scan:
        """Lists that hold the graphs as they were made."""
        ...


def build_partitions(
    kind: str,
    source: IndexSource,
    params: Mapping[str, Json],
    out: SegmentWrites,
    options: BuildOptions,
    graphs: Callable[[Model, Space], Links] | None = None,
) -> dict[str, Json]:
    """Write a segment; what a reader needs beside the files."""
    space = space_of(source.type, str(params["metric"]))
    report = options.progress or (lambda stage, done, total: None)
    report("train", 0, source.rows)
    model = learn(source, kind, space, params, options, graphs=graphs is not None)
    placed, truth = _place(source, space, model, options, report)
    links = None if graphs is None else graphs(model, space)
    more = None if links is None else links.write(placed, params, out, options)
    report("measure", source.rows, source.rows)
    probing = probing_of(truth, model, space, placed.parts, placed.spread)
    _write(out, space, model, placed, probing.bias, more)
    detail: dict[str, Json] = {"vectors": len(placed.parts), "partitions": len(model.centroids)}

    def scan_of(numbers: Int64s) -> Scan:
        scan = FaissScan(model.codes, model.centroids, space.dot, len(placed.parts)) if links is None else links.scan()
        for number in numbers.tolist():
            scan.add(number, placed.partition(number))
        return scan

    efs = (0,) if links is None else _EFS
    return detail | measured(truth, model, space, probing, scan_of, efs)


def _place(
    source: IndexSource, space: Space, model: Model, options: BuildOptions, report: Callable[..., None]
) -> tuple[Placed, Truth]:
    """Put every vector in its partition."""
    width = space.dimension if space.bits else model.codes.width
    pile = Pile(width, options.memory_nbytes // 4)
    parts, ordinals = [np.empty(0, np.int32)], [np.empty(0, np.uint32)]
    metric = "hamming" if space.bits else "dot" if space.dot else "l2"
    how = Nearest(_TRUE_NEIGHBOURS + 1, metric)
    best: Hits | None = None
    first = seen = 0
    sums = np.zeros(len(model.centroids))
    for array in source.batches():
        vectors, rows = space.place(array)
        numbers, far = nearest_centroids(vectors, model.centroids, space)
        sums += np.bincount(numbers, far, len(sums))
        parts.append(numbers.astype(np.int32))
        ordinals.append((first + rows).astype(np.uint32))
        pile.add(vectors if space.bits else model.codes.encode(vectors, numbers, model.centroids, space.dot))
        if len(model.held_out):
            number = "uint8" if space.bits else "float32"
            ids = np.arange(seen, seen + len(vectors))
            found = nearest_of(model.held_out, vectors, number, how, ids)
            best = found if best is None else merge([best, found], how)
        first, seen = first + len(array), seen + len(vectors)
        report("place", first, source.rows)
    every = np.concatenate(parts)
    order = np.argsort(every, kind="stable")
    ends = np.searchsorted(every[order], np.arange(len(model.centroids)), side="right").astype(np.int64)
    spread = sums / np.maximum(np.diff(ends, prepend=0), 1)
    placed = Placed(every, np.concatenate(ordinals), pile.rows(), order, ends, spread)
    return placed, Truth(model.held_out, best, placed.ordinals)


def _write(
    out: SegmentWrites,
    space: Space,
    model: Model,
    placed: Placed,
    bias: np.ndarray | None,
    more: pa.Table | None,
) -> None:
    centroids = _lists(model.centroids)
    columns = {CENTROID: centroids, END: pa.array(placed.ends)}
    fields = [pa.field(CENTROID, centroids.type, False, _PLAIN), *ENDS]
    if bias is not None:
        columns[BIAS] = pa.array(bias)
        fields += BIASES
    if more is not None:
        columns |= {name: more[name].combine_chunks() for name in more.column_names}
        fields += list(more.schema)
    schema = pa.schema(fields)
    out.write(PARTITIONS, schema, [pa.record_batch(list(columns.values()), schema=schema)])
    if not space.bits and len(model.codes.codebook):
        values = _lists(model.codes.codebook)
        schema = pa.schema([pa.field(VALUES, values.type, False, _PLAIN)])
        out.write(CODEBOOK, schema, [pa.record_batch([values], schema=schema)])
    code = pa.binary(placed.codes.shape[1])
    schema = pa.schema([pa.field(ORDINAL, pa.uint32(), False), pa.field(CODE, code, False, _PLAIN)])
    out.write(CODES, schema, _batches(placed, code, schema))


def _batches(placed: Placed, code: pa.DataType, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(placed.order), _BATCH_ROWS):
        some = placed.order[start : start + _BATCH_ROWS]
        codes = np.ascontiguousarray(placed.codes[some])
        array = pa.FixedSizeBinaryArray.from_buffers(code, len(some), [None, pa.py_buffer(codes)])
        yield pa.record_batch([pa.array(placed.ordinals[some]), array], schema=schema)


def _lists(matrix: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).ravel()), matrix.shape[1])


__all__ = ["Pile", "Placed", "build_partitions"]
