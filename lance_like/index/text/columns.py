"""The columns of the files of a segment (format_spec/index/inverted.md)."""

from __future__ import annotations

import pyarrow as pa

BYTES = pa.schema([pa.field("bytes", pa.uint8(), nullable=False, metadata={"lance_like:encoding": "plain"})])
TERMS = pa.schema(
    [
        pa.field("term", pa.string(), nullable=False),
        pa.field("rows", pa.uint32(), nullable=False),
        pa.field("postings", pa.uint64(), nullable=False),
        pa.field("places", pa.uint64(), nullable=False),
    ]
)
FENCES = pa.schema([pa.field("term", pa.string())])
LENGTHS = pa.schema([pa.field("length", pa.uint32())])

__all__ = ["BYTES", "FENCES", "LENGTHS", "TERMS"]
