"""Models of pydantic as schemas, with pylance's names: `pydantic_to_schema`, and vectors as fields of models."""

from __future__ import annotations

from lance_like.dataset.models import (
    FixedSizeListMixin,
    MultiVector,
    Vector,
    get_extras,
    is_nullable,
    pydantic_to_schema,
)

__all__ = ["FixedSizeListMixin", "MultiVector", "Vector", "get_extras", "is_nullable", "pydantic_to_schema"]
