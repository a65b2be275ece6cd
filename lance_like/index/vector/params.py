"""The parameters of vector indexes, by the names that Lance gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.index.vector.values import check_vectors, vector_type
from lance_like.typing_ import Json

_MOST_PARTITIONS = 1 << 20

# Name -> least and greatest.
LIMITS = {
    "num_partitions": (1, _MOST_PARTITIONS),
    "target_partition_size": (1, 1 << 32),
    "num_sub_vectors": (1, 1 << 16),
    "num_bits": (1, 8),
    "m": (2, 256),
    "ef_construction": (8, 4096),
    "max_iters": (1, 1000),
    "sample_rate": (1, 1 << 16),
    "nprobes": (1, _MOST_PARTITIONS),
    "refine_factor": (0, 1000),
    "ef": (1, 1 << 20),
}
_EVERYWHERE = ("num_partitions", "target_partition_size", "max_iters", "sample_rate", "nprobes", "refine_factor")
_OF_KIND = {
    "FLAT": (),
    "SQ": ("num_bits",),
    "PQ": ("num_sub_vectors", "num_bits"),
    "RQ": ("num_bits",),
}
_OF_GRAPHS = ("m", "ef_construction", "ef")
_BITS = {"SQ": (8,), "PQ": (4, 8), "RQ": (1,)}
# What Lance takes and what means nothing here: builds are bounded by memory, nulls are always left out.
_WITHOUT_MEANING = frozenset(
    {
        "filter_nan",
        "index_cache_size",
        "index_file_version",
        "max_level",
        "one_pass_ivfpq",
        "shuffle_partition_batches",
        "shuffle_partition_concurrency",
        "skip_transpose",
    }
)
_ARRAYS = ("ivf_centroids", "pq_codebook")


def checked(kind: str, type: pa.DataType, given: Mapping[str, Any], *, graphs: bool = False) -> dict[str, Json]:
    """The parameters of an index, with their defaults. kind: of its codes, "FLAT", "PQ", "SQ" or "RQ".

    Arrays (`ivf_centroids`, `pq_codebook`) are checked here and given to the build by themselves.
    Raises InvalidInput.
    """
    held = vector_type(type)
    params: dict[str, Json] = {"metric": check_vectors(type, given.get("metric") or "l2")}
    if params["metric"] == "hamming" and (kind != "FLAT" or graphs):
        raise InvalidInput("the metric 'hamming' has one kind of index, IVF_FLAT: bits are as short as a code")
    # Of torch, a device too.
    if str(given.get("accelerator") or "cpu") != "cpu":
        raise InvalidInput(
            f"the accelerator {given['accelerator']!r} cannot be used: indexes are built with faiss-cpu",
            kind="accelerator",
            hint="leave accelerator out",
        )
    allowed = (*_EVERYWHERE, *_OF_KIND[kind], *(_OF_GRAPHS if graphs else ()))
    # Lance takes the number of sub-vectors for every kind, and uses it for those that have some.
    ignored = {*_WITHOUT_MEANING, *_ARRAYS, "metric", "accelerator", "num_sub_vectors"}
    for name, value in given.items():
        if name in allowed and value is not None:
            params[name] = _number(name, value)
        elif value is not None and name not in ignored:
            raise InvalidInput(f"the parameter {name!r} is unknown here; known are {', '.join(('metric', *allowed))}")
    if given.get("ivf_centroids") is not None:
        params["num_partitions"] = len(centroids_of(given["ivf_centroids"], held.dimension))
    if kind == "PQ" and given.get("pq_codebook") is not None:
        params = _of_codebook(floats_of(given["pq_codebook"]), held.dimension) | params
    _codes(kind, held.dimension, params, graphs)
    if graphs:
        params.setdefault("m", 16)
        params.setdefault("ef_construction", 80)
    return params


def centroids_of(array: Any, dimension: int) -> np.ndarray:
    """Centroids that the caller gives: float32[p, d]. Raises InvalidInput."""
    found = floats_of(array)
    if found.ndim != 2 or found.shape[1] != dimension or not len(found) or not np.isfinite(found).all():
        raise InvalidInput(f"the ivf_centroids have the shape {found.shape}, expected [partitions, {dimension}]")
    return np.ascontiguousarray(found)


def floats_of(array: Any) -> np.ndarray:
    """Numbers that the caller gives, as lists or tensors of arrow, or as numpy takes them: float32."""
    if isinstance(array, pa.FixedShapeTensorArray):
        array = array.to_numpy_ndarray()
    elif isinstance(array, pa.FixedSizeListArray):
        array = array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), -1)
    return np.asarray(array, np.float32)


def _of_codebook(codebook: np.ndarray, dimension: int) -> dict[str, Json]:
    """What a codebook tells of codes: [parts, 2^bits, part], or [parts * 2^bits, part]. Raises InvalidInput."""
    if codebook.ndim < 2 or not codebook.size:
        raise InvalidInput(f"the pq_codebook has the shape {codebook.shape}, expected [parts, 2^bits, part]")
    part = codebook.shape[-1]
    parts = -(-dimension // part)
    return {"num_sub_vectors": parts, "num_bits": (codebook.size // (parts * part)).bit_length() - 1}


def _codes(kind: str, dimension: int, params: dict[str, Json], graphs: bool) -> None:
    """The defaults of what a code is made of."""
    if kind not in _BITS:
        return
    # A caller who says how many sub-vectors a code has means bytes, as in Lance. A graph looks up one code at a time:
    # half as many parts of twice the bits are half the work.
    default = 8 if "num_sub_vectors" in params or graphs else _BITS[kind][0]
    bits = params.setdefault("num_bits", default)
    if bits not in _BITS[kind]:
        raise InvalidInput(f"num_bits is {bits} for {kind}, expected one of {_BITS[kind]}")
    if kind == "PQ":
        # Two bits a number, whichever way: real vectors then need few rows looked at again.
        parts = params.setdefault("num_sub_vectors", -(-dimension * 2 // int(bits)))
        if not 0 < parts <= dimension:
            raise InvalidInput(f"num_sub_vectors is {parts} for vectors of {dimension} numbers")


def _number(name: str, value: Any) -> int:
    low, high = LIMITS[name]
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise InvalidInput(f"{name} is {value!r}, expected a whole number from {low} to {high}")
    return int(value)


def partitions_for(params: Mapping[str, Json], rows: int, *, graphs: bool) -> int:
    """How many partitions rows are put in."""
    given = params.get("num_partitions")
    if given is None and (target := params.get("target_partition_size")) is not None:
        given = round(rows / int(target))
    if given is None and graphs:
        # A graph is quicker than partitions while it fits in memory.
        given = -(-rows // (1 << 20))
    if given is None:
        given = round(rows**0.5) if rows >= _MANY_ROWS else rows // _SMALL_PARTITION
    return max(1, min(int(given), rows or 1, _MOST_PARTITIONS))


# Below this many rows partitions are of a fixed size; above, as many as they are long.
_MANY_ROWS = 1 << 16
_SMALL_PARTITION = 256

__all__ = ["LIMITS", "centroids_of", "checked", "floats_of", "partitions_for"]
