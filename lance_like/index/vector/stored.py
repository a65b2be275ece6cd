"""The files of an IVF segment as they are read: the model and the partitions (format_spec/index/ivf.md, "Bytes").

partitions   centroid, end, bias    a row for each partition; maybe without bias
codebook     values                 rows as the kind of codes says; no file where they need none
codes        ordinal, code          a row for each vector, partition after partition
links        near                   of graphs only (index/vector/graphs.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.errors import Corrupt
from lance_like.index.base import FileReads, Segment
from lance_like.index.vector.quantize import Codes, Whole, stored_codes, whole_codes
from lance_like.index.vector.space import Space, space_of
from lance_like.typing_ import Bytes, Int64s, Json

PARTITIONS, CODEBOOK, CODES = "partitions", "codebook", "codes"
CENTROID, END, BIAS, VALUES, ORDINAL, CODE = "centroid", "end", "bias", "values", "ordinal", "code"
ENDS = pa.schema([pa.field(END, pa.int64(), False)])
BIASES = pa.schema([pa.field(BIAS, pa.float32(), False)])


@dataclass(frozen=True)
class Stored:
    """A segment's files, read when they are needed. kind: of the codes: "FLAT", "PQ", "SQ" or "RQ"."""

    segment: Segment
    kind: str

    @cached
    def space(self) -> Space:
        """Where distances are taken."""
        return space_of(self.segment.type, str(self.segment.params["metric"]))

    @cached
    def partitions(self) -> FileReads:
        """The file of that name."""
        return self.segment.files.file(PARTITIONS, ENDS)

    @cached
    def vectors(self) -> FileReads:
        """The file of codes."""
        return self.segment.files.file(CODES)

    @cached
    def _model(self) -> tuple[np.ndarray, Int64s, np.ndarray | None]:
        """Centroids, ends and bias of partitions."""
        biased = self.segment.detail.get("biased") is True and not (self.space.bits or self.space.dot)
        if biased:
            self.segment.files.file(PARTITIONS, BIASES)
        centroids, ends, *more = self.partitions.columns([CENTROID, END, *([BIAS] if biased else [])])
        where = f"{self.partitions.rows} partitions"
        matrix = matrix_of(centroids, self.space.dimension, np.uint8 if self.space.bits else np.float32, where)
        last = np.asarray(ends, np.int64)
        if not len(last) or last[0] < 0 or (np.diff(last) < 0).any() or last[-1] != self.vectors.rows:
            raise Corrupt(f"the ends of {where} do not cut {self.vectors.rows} codes", kind="index")
        bias = more[0].to_numpy() if more else None
        if bias is not None and not (np.isfinite(bias) & (bias >= 0)).all():
            raise Corrupt(f"the bias of one of {where} is below 0 or not finite", kind="index")
        return matrix, last, bias

    @cached
    def centroids(self) -> np.ndarray:
        """float32[p, d], as they are placed; uint8 for hamming."""
        return self._model[0]

    @cached
    def ends(self) -> Int64s:
        """int64[p], the row after the last of each partition."""
        return self._model[1]

    @cached
    def bias(self) -> np.ndarray | None:
        """float32[p], how much farther each partition counts than its centroid is; None: none does."""
        return self._model[2]

    @cached
    def codes(self) -> Codes:
        """How vectors are kept."""
        dimension = self.space.dimension
        whole = whole_of(self.space)
        codebook = np.empty((0, 1), np.float32)
        if self.kind != "FLAT":
            [values] = self.segment.files.file(CODEBOOK).columns([VALUES])
            codebook = matrix_of(values, None, np.float32, "the codebook")
        params = self.segment.params
        return stored_codes(
            self.kind, codebook, dimension, number(params, "num_sub_vectors"), number(params, "num_bits"), whole
        )

    @property
    def row_nbytes(self) -> int:
        """What a row takes in memory: its code and its ordinal."""
        return (self.space.dimension if self.space.bits else self.codes.width) + 8

    def read(self, numbers: Sequence[int]) -> list[tuple[Int64s, Bytes]]:
        """Ordinals and codes of some partitions, in one round."""
        return self.checked(read_spans(self.vectors, [ORDINAL, CODE], self.spans(numbers)))

    def spans(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        """The rows of some partitions."""
        return [(int(self.ends[n - 1]) if n else 0, int(self.ends[n])) for n in numbers]

    def checked(self, found: Sequence[Sequence[Any]]) -> list[tuple[Int64s, Bytes]]:
        """Of partitions the ordinals, ascending, and the codes. found: both, as they were read. Raises Corrupt."""
        width = self.space.dimension if self.space.bits else self.codes.width
        for ordinals, codes in found:
            kinds = codes.type == pa.binary(width) and ordinals.type == pa.uint32()
            if not kinds or codes.null_count or ordinals.null_count:
                raise Corrupt(
                    f"the codes are {codes.type} and {ordinals.type}, expected {width} bytes and uint32", kind="index"
                )
        every = np.concatenate([np.empty(0, np.int64), *(ordinals.to_numpy() for ordinals, _ in found)])
        ends = np.cumsum([len(ordinals) for ordinals, _ in found])
        falls = np.flatnonzero(every[1:] < every[:-1]) + 1
        if len(every) and (int(every.max()) >= self.segment.rows or not np.isin(falls, ends).all()):
            raise Corrupt(f"a partition holds rows past {self.segment.rows}, or not in their order", kind="index")
        return [
            (every[end - len(codes) : end], bytes_of(codes, width))
            for end, (_, codes) in zip(ends.tolist(), found, strict=True)
        ]


def read_spans(file: FileReads, names: Sequence[str], spans: Sequence[tuple[int, int]]) -> list[list[pa.Array]]:
    """Runs of rows of columns, of each run the columns, in one round. spans: ascending; neighbours are read as one."""
    runs: list[list[int]] = []
    for start, end in spans:
        if runs and start == runs[-1][1]:
            runs[-1][1] = end
        else:
            runs.append([start, end])
    arrays = file.spans(names, [(start, end) for start, end in runs])
    found, run = [], 0
    for start, end in spans:
        while end > runs[run][1]:
            run += 1
        found.append([array.slice(start - runs[run][0], end - start) for array in arrays[run]])
    return found


def whole_of(space: Space) -> Whole:
    """The codes of a column that is kept as it is."""
    return whole_codes(space.dimension, space.held.number, space.metric)


def number(params: Any, name: str) -> int:
    """A parameter that is a number; 0 where there is none."""
    value: Json = params.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def matrix_of(array: Any, dimension: int | None, dtype: Any, where: str) -> np.ndarray:
    """A column of fixed-size lists as a matrix; no copy. Raises Corrupt when it is another."""
    kind = array.type
    expected = pa.uint8() if dtype is np.uint8 else pa.float32()
    lists = pa.types.is_fixed_size_list(kind) and kind.value_type == expected and not array.null_count
    if not lists or not kind.list_size or (dimension is not None and kind.list_size != dimension):
        raise Corrupt(f"{where} are {kind}, expected lists of {dimension or 'some'} {expected}", kind="index")
    values = array.flatten()
    if values.null_count:
        raise Corrupt(f"{where} hold nulls", kind="index")
    found = values.to_numpy().reshape(len(array), kind.list_size)
    if dtype is np.float32 and not np.isfinite(found).all():
        raise Corrupt(f"{where} hold numbers that are not finite", kind="index")
    return found


def bytes_of(array: Any, width: int) -> Bytes:
    """An array of fixed-size binaries as uint8[n, width]; no copy."""
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.empty((0, width), np.uint8)
    return np.frombuffer(buffer, np.uint8, len(array) * width, array.offset * width).reshape(len(array), width)


__all__ = [
    "BIAS",
    "BIASES",
    "CENTROID",
    "CODE",
    "CODEBOOK",
    "CODES",
    "END",
    "ENDS",
    "ORDINAL",
    "PARTITIONS",
    "VALUES",
    "Stored",
    "bytes_of",
    "matrix_of",
    "number",
    "read_spans",
    "whole_of",
]
