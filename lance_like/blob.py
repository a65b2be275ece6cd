"""Cells of bytes: what blob columns are written from, and cells as files."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa
from pyarrow.types import is_binary, is_binary_view, is_large_binary

from lance_like.dataset.blob import Blob, BlobArray, BlobType, blob_array, blob_field
from lance_like.dataset.blob_file import BlobFile
from lance_like.errors import InvalidInput


class BlobColumn:
    """The cells of an array in memory as files, one at a time; None for a null.

    For cells that are not in memory there is `LanceDataset.take_blobs`. Raises InvalidInput unless they are binary.
    """

    def __init__(self, blob_column: pa.Array | pa.ChunkedArray) -> None:
        if not isinstance(blob_column, pa.Array | pa.ChunkedArray):
            raise InvalidInput(f"a {type(blob_column).__name__} was given: expected a pyarrow Array or ChunkedArray")
        kind = blob_column.type
        if not (is_binary(kind) or is_large_binary(kind) or is_binary_view(kind)):
            raise InvalidInput(f"Expected a binary array, {kind} was given", kind="type")
        self.blob_column = blob_column

    def __iter__(self) -> Iterator[io.BytesIO | None]:
        for cell in self.blob_column:
            yield io.BytesIO(cell.as_py()) if cell.is_valid else None


__all__ = ["Blob", "BlobArray", "BlobColumn", "BlobFile", "BlobType", "blob_array", "blob_field"]
