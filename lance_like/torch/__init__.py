"""Rows for PyTorch: the datasets of `lance_like.integrations.torch`, and `lance_like.torch.data` with pylance's."""

from __future__ import annotations

from lance_like.integrations.torch import LanceDataset, Permutation, SafeLanceDataset, Steps, to_tensors

__all__ = ["LanceDataset", "Permutation", "SafeLanceDataset", "Steps", "to_tensors"]
