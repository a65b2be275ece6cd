"""Vectors as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like.errors import InvalidInput


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


__all__ = ["vec_to_table"]
