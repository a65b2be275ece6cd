"""Functions that compute new columns, for `LanceDataset.add_columns`."""

from __future__ import annotations

from lance_like.dataset.udf import BatchUDF, batch_udf

__all__ = ["BatchUDF", "batch_udf"]
