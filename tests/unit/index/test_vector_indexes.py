"""Vector indexes find what a naive search finds, whatever their codes."""

import pyarrow as pa
import pytest

from lance_like.index.vector.hnsw import Hnsw, IvfHnswFlat, IvfHnswPq, IvfHnswSq
from lance_like.index.vector.ivf import IvfFlat, IvfPq, IvfRq, IvfSq
from lance_like.testing.vectors import VectorTests

FLOATS = pa.list_(pa.float32(), 8)
NO_VECTORS = (pa.list_(pa.float32()), pa.list_(pa.int32(), 4), pa.string(), pa.list_(pa.float32(), 0))


class TestIvfFlat(VectorTests):
    plugin = IvfFlat()
    types = (FLOATS,)
    refused = NO_VECTORS


class TestIvfPq(VectorTests):
    plugin = IvfPq()
    types = (FLOATS,)
    refused = NO_VECTORS


class TestIvfRq(VectorTests):
    plugin = IvfRq()
    types = (pa.list_(pa.float32(), 20),)
    # A few signs say little: the estimates of so short vectors are rough.
    recall = 0.85


class TestHnsw(VectorTests):
    plugin = Hnsw()
    types = (FLOATS,)


class TestBits(VectorTests):
    plugin = IvfFlat()
    types = (pa.list_(pa.uint8(), 8),)
    given = {"metric": "hamming"}  # noqa: RUF012
    metrics = ("hamming",)


@pytest.mark.slow
class TestIvfSq(VectorTests):
    plugin = IvfSq()
    types = (FLOATS,)


@pytest.mark.slow
class TestIvfPqOfBytes(VectorTests):
    plugin = IvfPq()
    types = (pa.list_(pa.float64(), 6), pa.list_(pa.float16(), 7))
    given = {"num_bits": 8, "num_sub_vectors": 4}  # noqa: RUF012


@pytest.mark.slow
class TestIvfHnswSq(VectorTests):
    plugin = IvfHnswSq()
    types = (FLOATS,)
    given = {"num_partitions": 4, "m": 8, "ef_construction": 40}  # noqa: RUF012


@pytest.mark.slow
class TestIvfHnswPq(VectorTests):
    plugin = IvfHnswPq()
    types = (pa.list_(pa.float32(), 9), FLOATS)
    given = {"num_partitions": 3, "m": 8, "num_sub_vectors": 4}  # noqa: RUF012


@pytest.mark.slow
class TestIvfHnswFlat(VectorTests):
    plugin = IvfHnswFlat()
    types = (FLOATS, *(pa.list_(number, 6) for number in (pa.float16(), pa.float64(), pa.uint8(), pa.int8())))
    given = {"num_partitions": 3}  # noqa: RUF012


@pytest.mark.slow
class TestIvfFlatOfOtherNumbers(VectorTests):
    plugin = IvfFlat()
    types = tuple(pa.list_(number, 6) for number in (pa.float16(), pa.float64(), pa.uint8(), pa.int8()))
