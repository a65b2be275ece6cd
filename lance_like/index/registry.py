"""Names to kinds of indexes; another package adds its own by the entry point group `lance_like.indexes`."""

from __future__ import annotations

from lance_like.registry import Registry

INDEXES = Registry(
    "lance_like.indexes",
    {
        "BITMAP": "lance_like.index.scalar.bitmap:Bitmap",
        "BLOOMFILTER": "lance_like.index.scalar.bloomfilter:BloomFilter",
        "BTREE": "lance_like.index.scalar.btree:BTree",
        "INVERTED": "lance_like.index.text.fulltext:FullText",
        "LABEL_LIST": "lance_like.index.scalar.label_list:LabelList",
        "MINHASHLSH": "lance_like.index.duplicates.minhash:MinHashLsh",
        "NGRAM": "lance_like.index.scalar.ngram:Ngram",
        "ZONEMAP": "lance_like.index.scalar.zonemap:ZoneMap",
        "HNSW": "lance_like.index.vector.hnsw:Hnsw",
        "IVF_FLAT": "lance_like.index.vector.ivf:IvfFlat",
        "IVF_HNSW_FLAT": "lance_like.index.vector.hnsw:IvfHnswFlat",
        "IVF_HNSW_PQ": "lance_like.index.vector.hnsw:IvfHnswPq",
        "IVF_HNSW_SQ": "lance_like.index.vector.hnsw:IvfHnswSq",
        "IVF_PQ": "lance_like.index.vector.ivf:IvfPq",
        "IVF_RQ": "lance_like.index.vector.ivf:IvfRq",
        "IVF_SQ": "lance_like.index.vector.ivf:IvfSq",
    },
)

__all__ = ["INDEXES"]
