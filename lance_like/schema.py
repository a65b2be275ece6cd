"""Schemas with the numbers of their fields."""

from __future__ import annotations

from lance_like.dataset.lance_schema import LanceField, LanceSchema

__all__ = ["LanceField", "LanceSchema"]
