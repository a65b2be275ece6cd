"""What makes one ranking of two in `ds.search(...).rerank(...)`."""

from __future__ import annotations

from lance_like.query.fuse import Fusion, LinearCombinationReranker, MRRReranker, Reranker, RRFReranker

__all__ = ["Fusion", "LinearCombinationReranker", "MRRReranker", "RRFReranker", "Reranker"]
