"""What keeps a table in shape: the part of `LanceDataset` that makes fewer files of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from lance_like.dataset.optimize import DatasetOptimizer

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset


class DatasetMaintenance:
    """The methods of `LanceDataset` about its files."""

    @property
    def optimize(self) -> DatasetOptimizer:
        """Fewer, fuller files: `compact_files`."""
        return DatasetOptimizer(cast("LanceDataset", self))


__all__ = ["DatasetMaintenance"]
