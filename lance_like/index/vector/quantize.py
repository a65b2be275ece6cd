"""Codes: how the vectors of a partition are kept, and how faiss compares a query with them.

Each kind turns vectors (float32, after `Space.place`) into codes of a fixed width, and makes an empty faiss index that
scans such codes. What it learnt is its *codebook*, a matrix of float32 that is stored beside the codes
(format_spec/index/ivf.md, "Codes").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lance_like.errors import Corrupt, InvalidInput
from lance_like.index.vector.door import alone, faiss, pointer
from lance_like.index.vector.params import floats_of
from lance_like.typing_ import Bytes, Int64s

# Rows that a number of a codebook learns from, at most.
CODEBOOK_RATE = 256
_PACKED_ROWS = 32
# What faiss calls that way to search lists of packed codes.
_QUERY_BY_QUERY = 11
# How far from the others a number is put that no vector is near to.
_FAR = 1000
# Where faiss keeps the byte of each of 16 rows, in a block of 32 (format_spec/index/ivf.md does not depend on it).
_PACKED_ORDER = np.array([0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15])


class Codes(Protocol):
    """How vectors are kept."""

    @property
    def true(self) -> bool:
        """Are distances to codes those to the vectors?"""
        ...

    @property
    def width(self) -> int:
        """Bytes of a code."""
        ...

    @property
    def codebook(self) -> np.ndarray:
        """What was learnt: float32[r, c]; r is 0 where nothing was."""
        ...

    def encode(self, vectors: np.ndarray, partitions: Int64s, centroids: np.ndarray, dot: bool) -> Bytes:
        """uint8[n, width]. vectors: float32[n, d]. partitions: int64[n], of each. dot: as for `lists`."""
        ...

    def lists(self, centroids: np.ndarray, dot: bool) -> tuple[Any, Any]:
        """An empty faiss index of so many partitions, and what else must live as long. dot: more is nearer."""
        ...

    def packed(self, codes: Bytes) -> Bytes:
        """Codes as the lists of that index hold them."""
        ...

    def queries(self, queries: np.ndarray) -> np.ndarray:
        """Queries as that index takes them: float32[q, ·]."""
        ...


class GraphCodes(Codes, Protocol):
    """Codes that graphs can be made of."""

    def graph(self, m: int, dot: bool) -> Any:
        """A graph of faiss without vectors, over such codes. m: links of a vector. dot: as for `lists`."""
        ...

    def decode(self, codes: Bytes) -> np.ndarray:
        """What codes stand for, as `queries` gives queries: float32[n, ·]."""
        ...


@dataclass(frozen=True)
class Product:
    """Each of m parts of a vector is kept as the number of the nearest of 2^bits, of 4 or 8 bits.

    codebook: float32[m * 2^bits, ceil(d / m)]. A vector is lengthened by zeros to m equal parts.
    """

    dimension: int
    parts: int
    bits: int
    codebook: np.ndarray

    @property
    def true(self) -> bool:
        return False

    @property
    def width(self) -> int:
        return (self.parts * self.bits + 7) // 8

    @staticmethod
    def part_size(dimension: int, parts: int) -> int:
        """How many numbers a part has."""
        return -(-dimension // parts)

    @classmethod
    def trained(cls, sample: np.ndarray, parts: int, bits: int, rate: int = CODEBOOK_RATE) -> Product:
        """Learn from a sample: float32[n, d], of 1 row at least. rate: the most rows of it for each number."""
        dimension = sample.shape[1]
        size = cls.part_size(dimension, parts)
        wanted = 1 << bits
        if len(sample) < wanted:
            # Fewer rows than numbers: every row is one, repeated.
            sample = np.resize(sample, (wanted, dimension))
        quantizer = faiss().ProductQuantizer(size * parts, parts, bits)
        quantizer.cp.min_points_per_centroid = 1
        quantizer.cp.max_points_per_centroid = rate
        quantizer.train(_lengthened(sample, size * parts))
        learnt = faiss().vector_to_array(quantizer.centroids).reshape(parts * wanted, size)
        return cls(dimension, parts, bits, learnt)

    def encode(self, vectors: np.ndarray, partitions: Int64s, centroids: np.ndarray, dot: bool) -> Bytes:
        return self._quantizer().compute_codes(self.queries(vectors))

    def lists(self, centroids: np.ndarray, dot: bool) -> tuple[Any, Any]:
        library, metric = faiss(), _metric(dot)
        coarse = library.IndexFlat(self.codebook.shape[1] * self.parts, metric)
        shape = (coarse, coarse.d, len(centroids), self.parts, self.bits)
        if self.bits == 4:
            # Parts of 4 bits are compared 32 rows at a time, with tables that stay in registers.
            index = library.IndexIVFPQFastScan(*shape, metric)
            # One query after the other, each with a reservoir: a tenth less than faiss chooses, for any k and batch.
            index.implem = _QUERY_BY_QUERY
        else:
            index = library.IndexIVFPQ(*shape, metric)
        # Codes that do not depend on the partition need one table a query, not one a partition.
        index.by_residual = False
        library.copy_array_to_vector(_unlike(self.codebook, self.parts).ravel(), index.pq.centroids)
        index.is_trained = True
        return index, coarse

    def packed(self, codes: Bytes) -> Bytes:
        return codes if self.bits == 8 else _packed_nibbles(codes)

    def queries(self, queries: np.ndarray) -> np.ndarray:
        return _lengthened(queries, self.codebook.shape[1] * self.parts)

    def graph(self, m: int, dot: bool) -> Any:
        library = faiss()
        graph = library.IndexHNSWPQ(self.codebook.shape[1] * self.parts, self.parts, m, self.bits, _metric(dot))
        library.copy_array_to_vector(self.codebook.ravel(), library.downcast_index(graph.storage).pq.centroids)
        return _learnt(graph)

    def decode(self, codes: Bytes) -> np.ndarray:
        return self._quantizer().decode(np.ascontiguousarray(codes))

    def _quantizer(self) -> Any:
        quantizer = faiss().ProductQuantizer(self.codebook.shape[1] * self.parts, self.parts, self.bits)
        faiss().copy_array_to_vector(self.codebook.ravel(), quantizer.centroids)
        return quantizer


@dataclass(frozen=True)
class Scalar:
    """Each number is kept as one of 256 steps between the least and the greatest of its place.

    codebook: float32[2, d], the least of each place and how far the greatest is from it.
    """

    codebook: np.ndarray

    @property
    def true(self) -> bool:
        return False

    @property
    def width(self) -> int:
        return self.codebook.shape[1]

    @classmethod
    def trained(cls, sample: np.ndarray) -> Scalar:
        """Learn from a sample: float32[n, d], of 1 row at least."""
        low = sample.min(axis=0)
        return cls(np.stack([low, sample.max(axis=0) - low]).astype(np.float32))

    def encode(self, vectors: np.ndarray, partitions: Int64s, centroids: np.ndarray, dot: bool) -> Bytes:
        quantizer = faiss().ScalarQuantizer(self.width, faiss().ScalarQuantizer.QT_8bit)
        self.teach(quantizer)
        return quantizer.compute_codes(vectors)

    def graph(self, m: int, dot: bool) -> Any:
        graph = _scalar_graph(self.width, "QT_8bit", m, dot)
        self.teach(faiss().downcast_index(graph.storage).sq)
        return graph

    def decode(self, codes: Bytes) -> np.ndarray:
        quantizer = faiss().ScalarQuantizer(self.width, faiss().ScalarQuantizer.QT_8bit)
        self.teach(quantizer)
        return quantizer.decode(np.ascontiguousarray(codes))

    def teach(self, quantizer: Any) -> None:
        """Give what was learnt to a quantizer of faiss."""
        faiss().copy_array_to_vector(self.codebook.ravel(), quantizer.trained)

    def lists(self, centroids: np.ndarray, dot: bool) -> tuple[Any, Any]:
        index, coarse = _scalar_lists(centroids, dot, "QT_8bit")
        self.teach(index.sq)
        index.is_trained = True
        return index, coarse

    def packed(self, codes: Bytes) -> Bytes:
        return codes

    def queries(self, queries: np.ndarray) -> np.ndarray:
        return queries


@dataclass(frozen=True)
class Bits:
    """RaBitQ: the signs of the turned difference to the centroid, and two factors that make an estimate of them.

    codebook: float32[d, d], the rotation: row i has the i-th number of a turned vector as its product with a vector.
    """

    codebook: np.ndarray

    @property
    def true(self) -> bool:
        return False

    @property
    def width(self) -> int:
        return (self.codebook.shape[1] + 7) // 8 + 8

    @classmethod
    def trained(cls, dimension: int) -> Bits:
        """A rotation; the data has no say in it."""
        random = np.random.default_rng(dimension)
        turned, _ = np.linalg.qr(random.standard_normal((dimension, dimension)))
        return cls(np.ascontiguousarray(turned, np.float32))

    def encode(self, vectors: np.ndarray, partitions: Int64s, centroids: np.ndarray, dot: bool) -> Bytes:
        if not len(vectors):
            return np.empty((0, self.width), np.uint8)
        index, _coarse = self.lists(centroids, dot)
        turned, numbers = self.queries(vectors), np.ascontiguousarray(partitions)
        codes = np.empty((len(vectors), self.width), np.uint8)
        index.encode_vectors(len(vectors), pointer(turned), pointer(numbers), pointer(codes))
        return codes

    def lists(self, centroids: np.ndarray, dot: bool) -> tuple[Any, Any]:
        # Codes are differences to centroids: of these kinds only this one has faiss look at them.
        coarse = faiss().IndexFlat(len(self.codebook), _metric(dot))
        coarse.add(self.queries(centroids))
        index = faiss().IndexIVFRaBitQFastScan(coarse, coarse.d, len(centroids), _metric(dot))
        # Bits that a query's number is kept with while it is compared.
        index.qb = 8
        index.is_trained = True
        return index, (coarse, index.get_CodePacker())

    def packed(self, codes: Bytes) -> Bytes:
        # One block of 32 codes after another: faiss alone knows where it keeps the factors.
        return codes

    def queries(self, queries: np.ndarray) -> np.ndarray:
        if len(queries) > 1:
            return np.ascontiguousarray(queries @ self.codebook.T)
        # A product of matrices wakes the threads of BLAS, which takes longer than one query.
        turned = np.empty((1, len(self.codebook)), np.float32)
        query = np.ascontiguousarray(queries, np.float32)
        faiss().fvec_inner_products_ny(pointer(turned), pointer(query), pointer(self.codebook), *self.codebook.shape)
        return turned


_DIRECT = {"float16": "QT_fp16", "bfloat16": "QT_bf16", "uint8": "QT_8bit_direct", "int8": "QT_8bit_direct_signed"}


@dataclass(frozen=True)
class Whole:
    """The numbers of the vectors themselves. number: their type."""

    dimension: int
    number: str
    exact: bool = True

    @property
    def true(self) -> bool:
        return self.exact

    @property
    def width(self) -> int:
        return self.dimension * {"float32": 4, "float16": 2, "bfloat16": 2, "uint8": 1, "int8": 1}[self.number]

    @property
    def codebook(self) -> np.ndarray:
        return np.empty((0, 1), np.float32)

    def encode(self, vectors: np.ndarray, partitions: Int64s, centroids: np.ndarray, dot: bool) -> Bytes:
        if self.number == "float32":
            return np.ascontiguousarray(vectors).view(np.uint8)
        return self._quantizer().compute_codes(vectors)

    def graph(self, m: int, dot: bool) -> Any:
        if self.number != "float32":
            return _scalar_graph(self.dimension, _DIRECT[self.number], m, dot)
        return _learnt(faiss().IndexHNSWFlat(self.dimension, m, _metric(dot)))

    def decode(self, codes: Bytes) -> np.ndarray:
        codes = np.ascontiguousarray(codes)
        return codes.view(np.float32) if self.number == "float32" else self._quantizer().decode(codes)

    def _quantizer(self) -> Any:
        library = faiss()
        return library.ScalarQuantizer(self.dimension, getattr(library.ScalarQuantizer, _DIRECT[self.number]))

    def lists(self, centroids: np.ndarray, dot: bool) -> tuple[Any, Any]:
        if self.number != "float32":
            index, coarse = _scalar_lists(centroids, dot, _DIRECT[self.number])
        else:
            coarse = faiss().IndexFlat(self.dimension, _metric(dot))
            index = faiss().IndexIVFFlat(coarse, coarse.d, len(centroids), _metric(dot))
        index.is_trained = True
        return index, coarse

    def packed(self, codes: Bytes) -> Bytes:
        return codes

    def queries(self, queries: np.ndarray) -> np.ndarray:
        return queries


def stored_codes(kind: str, codebook: np.ndarray, dimension: int, parts: int, bits: int, whole: Whole) -> Codes:
    """The codes of a segment from what was stored. kind: "PQ", "SQ", "RQ" or "FLAT", then
    whole. Raises Corrupt.
    """
    if kind == "PQ" and (bits not in (4, 8) or not 0 < parts <= dimension):
        raise Corrupt(f"codes of {parts} parts of {bits} bits, for vectors of {dimension} numbers", kind="index")
    expected = {
        "PQ": (parts << bits, Product.part_size(dimension, parts or 1)),
        "SQ": (2, dimension),
        "RQ": (dimension, dimension),
        "FLAT": (0, codebook.shape[1]),
    }[kind]
    if codebook.shape != expected or not np.isfinite(codebook).all():
        raise Corrupt(
            f"the codebook of {kind} codes has the shape {codebook.shape}, expected {expected} of finite numbers",
            kind="index",
        )
    if kind == "PQ":
        return Product(dimension, parts, bits, codebook)
    if kind == "SQ":
        return Scalar(codebook)
    return Bits(codebook) if kind == "RQ" else whole


def whole_codes(dimension: int, number: str, metric: str) -> Whole:
    """Codes that are the vectors of a column of some numbers."""
    if metric == "cosine":
        # Vectors of length 1, rounded where the column is as coarse.
        own = number in ("float32", "float64")
        return Whole(dimension, "float32" if own else "float16", own)
    if number == "float64":
        return Whole(dimension, "float32", False)
    # faiss rounds the query to compare it with bytes.
    return Whole(dimension, number, number not in ("uint8", "int8"))


def given_codebook(array: Any, dimension: int, parts: int, bits: int) -> Product:
    """The codes of a codebook that the caller gives: [parts, 2^bits, part]. Raises InvalidInput."""
    found = floats_of(array)
    shape = (parts, 1 << bits, Product.part_size(dimension, parts))
    if found.size != np.prod(shape) or not np.isfinite(found).all():
        raise InvalidInput(f"the pq_codebook has the shape {found.shape}, expected {shape} of finite numbers")
    return Product(dimension, parts, bits, np.ascontiguousarray(found.reshape(shape[0] * shape[1], shape[2])))


def fill(index: Any, held: Any, codes: Codes, number: int, ordinals: Int64s, rows: Bytes) -> None:
    """Put a partition in its empty list of an index that `Codes.lists` made. rows: uint8[n, width]."""
    library = alone()
    lists = library.downcast_InvertedLists(index.invlists)
    ids = np.ascontiguousarray(ordinals, np.int64)
    packed = _packed_bits(rows, lists, held[1]) if isinstance(codes, Bits) else codes.packed(rows)
    packed = np.ascontiguousarray(packed)
    lists.add_entries(number, len(ids), pointer(ids), pointer(packed))


def _packed_bits(rows: Bytes, lists: Any, packer: Any) -> Bytes:
    blocks = -(-len(rows) // _PACKED_ROWS)
    whole = np.zeros((blocks, _PACKED_ROWS, rows.shape[1]), np.uint8)
    whole.reshape(-1, rows.shape[1])[: len(rows)] = rows
    out = np.zeros((blocks, lists.block_size), np.uint8)
    for block, into in zip(whole, out, strict=True):
        packer.pack_all(pointer(block), pointer(into))
    return out


def _packed_nibbles(codes: Bytes) -> Bytes:
    rows, width = codes.shape
    blocks = -(-rows // _PACKED_ROWS)
    whole = np.zeros((blocks * _PACKED_ROWS, width), np.uint8)
    whole[:rows] = codes
    # Put in order as whole rows, and turned last: kernels run over bytes that are neighbours.
    both = whole.reshape(blocks, 2, 16, width).take(_PACKED_ORDER, axis=2)
    first, second = both[:, 0], both[:, 1]
    out = np.empty((blocks, width, 2, 16), np.uint8)
    out[:, :, 0] = ((first & 15) | (second << 4)).transpose(0, 2, 1)
    out[:, :, 1] = ((first >> 4) | (second & 0xF0)).transpose(0, 2, 1)
    return out


def _lengthened(vectors: np.ndarray, dimension: int) -> np.ndarray:
    if vectors.shape[1] == dimension:
        return np.ascontiguousarray(vectors, np.float32)
    out = np.zeros((len(vectors), dimension), np.float32)
    out[:, : vectors.shape[1]] = vectors
    return out


def _unlike(codebook: np.ndarray, parts: int) -> np.ndarray:
    """A codebook with numbers that are unlike the others of their part, where there are none.

    It is learnt so of vectors that are all alike; faiss divides by how far distances lie apart, and then finds nothing.
    Nor does it find what is at the end of the distances, so there is one on each side.
    """
    numbers = codebook.reshape(parts, -1, codebook.shape[1])
    if (numbers != numbers[:, :1]).any():
        return codebook
    changed = codebook.copy()
    # The last ones: codes name the first of those that are alike.
    far = _FAR * (1 + np.abs(codebook[-1]))
    changed[-1] += far
    changed[-2] -= far
    return changed


def _metric(dot: bool) -> int:
    return faiss().METRIC_INNER_PRODUCT if dot else faiss().METRIC_L2


def _scalar_lists(centroids: np.ndarray, dot: bool, kind: str) -> tuple[Any, Any]:
    library = faiss()
    coarse = library.IndexFlat(centroids.shape[1], _metric(dot))
    quantizer = getattr(library.ScalarQuantizer, kind)
    return library.IndexIVFScalarQuantizer(coarse, coarse.d, len(centroids), quantizer, _metric(dot), False), coarse


def _scalar_graph(dimension: int, kind: str, m: int, dot: bool) -> Any:
    library = faiss()
    return _learnt(library.IndexHNSWSQ(dimension, getattr(library.ScalarQuantizer, kind), m, _metric(dot)))


def _learnt(graph: Any) -> Any:
    """A graph of faiss that need not be trained."""
    faiss().downcast_index(graph.storage).is_trained = True
    graph.is_trained = True
    return graph


__all__ = [
    "CODEBOOK_RATE",
    "Bits",
    "Codes",
    "GraphCodes",
    "Product",
    "Scalar",
    "Whole",
    "fill",
    "given_codebook",
    "stored_codes",
    "whole_codes",
]
