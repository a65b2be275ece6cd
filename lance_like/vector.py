"""Vectors as tables, and whether an index finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lance_like.errors import InvalidInput

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

# A distance below this is none.
_SAME = 1e-6


def vec_to_table(
    data: Mapping[Any, Any] | Sequence[Any] | np.ndarray,
    names: str | Sequence[str] | None = None,
    ndim: int | None = None,
    check_ndim: bool = True,
) -> pa.Table:
    """A table of vectors, as fixed-size lists of float32.

    data: vectors of one length; or {id: vector}, which has a column of ids before that of vectors.
    names: of the columns, "id" and "vector" by default. ndim: how long the vectors are expected to be.
    check_ndim: accepted, vectors of several lengths are no table.
    Raises InvalidInput.
    """
    mapped = isinstance(data, Mapping)
    wanted = names or (["id", "vector"] if mapped else ["vector"])
    columns = [wanted] if isinstance(wanted, str) else list(wanted)
    if len(columns) != 1 + mapped:
        raise InvalidInput(f"names={names!r:.80}: expected a name for each of {1 + mapped} columns")
    try:
        matrix = np.asarray(list(data.values()) if isinstance(data, Mapping) else data, np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the vectors are not numbers, or not of one length: {error}", kind="vectors") from error
    if matrix.ndim != 2 or not matrix.size or ndim not in (None, matrix.shape[1]):
        expected = "[vectors, numbers]" if ndim is None else f"[vectors, {ndim}]"
        raise InvalidInput(f"the vectors have the shape {matrix.shape}, expected {expected}", kind="vectors")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    return pa.table([pa.array(list(data)), vectors] if mapped else [vectors], columns)


def validate_vector_index(
    dataset: LanceDataset,
    column: str,
    refine_factor: int = 5,
    sample_size: int | None = None,
    pass_threshold: float = 1.0,
) -> None:
    """Look for vectors of the table itself in one partition of its index each, as a check of the index.

    sample_size: how many, by chance; None: all. pass_threshold: the least share of them that must be found, at a
    distance below a millionth. Vectors with a NaN, and nulls, do not count.
    Raises InvalidInput below it, or without a vector. How good a search is, `LanceDataset.tune_index` measures.
    """
    table = dataset.to_table([column]) if sample_size is None else dataset.sample(sample_size, [column])
    vectors = [np.array(values) for values in table.column(0).to_pylist() if values is not None and None not in values]
    looked_for = [vector for vector in vectors if not np.isnan(vector).any()]
    if not looked_for:
        raise InvalidInput(f"{column!r} has no vector to look for", kind="vectors")
    nearest = {"column": column, "k": 1, "nprobes": 1, "refine_factor": refine_factor}
    passed = 0
    for vector in looked_for:
        found = dataset.to_table([], nearest={**nearest, "q": vector})["_distance"].to_pylist()
        passed += bool(found) and abs(found[0]) < _SAME
    if passed < pass_threshold * len(looked_for):
        raise InvalidInput(f"the index finds {passed:,} of {len(looked_for):,} vectors of the table", kind="vectors")


__all__ = ["validate_vector_index", "vec_to_table"]
