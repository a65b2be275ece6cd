"""Names to kinds of indexes; another package adds its own by the entry point group `lance_like.indexes`."""

from __future__ import annotations

from lance_like.registry import Registry

INDEXES = Registry(
    "lance_like.indexes",
    {
        "INVERTED": "lance_like.index.text.fulltext:FullText",
        "MINHASHLSH": "lance_like.index.duplicates.minhash:MinHashLsh",
    },
)

__all__ = ["INDEXES"]
