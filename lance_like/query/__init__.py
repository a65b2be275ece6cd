"""Filters: words (`sql`, `arrow_expr`) to a tree (`expr`), rows that pass it (`evaluate`), zones to skip (`prune`)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lance_like.index.text.queries import (
        BooleanQuery,
        BoostQuery,
        CombinedFieldsQuery,
        FullTextOperator,
        FullTextQuery,
        MatchQuery,
        MultiMatchQuery,
        Occur,
        PhrasePrefixQuery,
        PhraseQuery,
        PrefixQuery,
    )
    from lance_like.query.near_query import VectorSearchQuery

# What callers name in searches, as pylance's module of this name has it; loaded on first use.
__all__ = [
    "BooleanQuery",
    "BoostQuery",
    "CombinedFieldsQuery",
    "FullTextOperator",
    "FullTextQuery",
    "MatchQuery",
    "MultiMatchQuery",
    "Occur",
    "PhrasePrefixQuery",
    "PhraseQuery",
    "PrefixQuery",
    "VectorSearchQuery",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'lance_like.query' has no attribute {name!r}")
    home = "lance_like.query.near_query" if name == "VectorSearchQuery" else "lance_like.index.text.queries"
    return getattr(importlib.import_module(home), name)
