"""Cells of bytes of a handle: the part of `LanceDataset` that gives them as files, or reads many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from lance_like.dataset.arguments import integers
from lance_like.dataset.blob_file import BlobFile, open_blobs, read_all
from lance_like.dataset.bound import BoundVersion
from lance_like.dataset.scan_options import check_tuning
from lance_like.errors import InvalidInput
from lance_like.query.take import Placed, place_addresses, place_ids, place_positions
from lance_like.table.rowids import OFFSET_BITS

_PLACES = {"ids": place_ids, "addresses": place_addresses, "indices": place_positions}

Selector = Literal["ids", "addresses", "indices"]


class DatasetBlobs(BoundVersion):
    """The methods of `LanceDataset` about cells of bytes: of blob columns, and of any column of binary cells or texts.

    Rows are named by exactly one of ids: stable row ids; addresses: as `_rowaddr`; indices: as in `take`.
    """

    def take_blobs(
        self,
        blob_column: str,
        ids: Any = None,
        addresses: Any = None,
        indices: Any = None,
        *,
        buffer_size: int | None = None,
    ) -> list[BlobFile | None]:
        """The cells of some rows as files: what is read of them is read then, by byte ranges.

        blob_column: the name or dotted path of a blob column, or of any column of binary cells or texts.
        ids: stable row ids; addresses: as `_rowaddr`; indices: as in `take`. Exactly one of them.
        buffer_size: accepted, not needed: a file holds nothing back, and reads the blocks that it is asked for.
        Returns a file a row, in the order asked; None for a null.
        Raises NotFound, OutOfRange; InvalidInput for a column of another type.
        Cost: 1 or 2 rounds when the pages are open, whatever the sizes; compressed cells are read at once.
        """
        return self._blobs_at(blob_column, self._place_blobs(ids, addresses, indices))

    def read_blobs(
        self,
        blob_column: str,
        ids: Any = None,
        addresses: Any = None,
        indices: Any = None,
        *,
        io_buffer_size: int | None = None,
        preserve_order: bool | None = None,
    ) -> list[tuple[int, bytes | None]]:
        """The cells of some rows, whole, each with the address of its row; rows as in `take_blobs`.

        io_buffer_size, preserve_order: accepted, not needed: all come in the order asked.
        Returns pairs in the order asked, with None for a null. Cost: one round more than `take_blobs`.
        """
        check_tuning({"io_buffer_size": io_buffer_size})
        placed = self._place_blobs(ids, addresses, indices)
        files = self._blobs_at(blob_column, placed)
        cells = _read([(file, 0, None if file is None else file.size()) for file in files])
        return list(zip(_addresses(placed), cells, strict=True))

    def read_blob_ranges(
        self,
        blob_column: str,
        requests: Sequence[tuple[int, int, int]],
        *,
        selector: Selector,
        io_buffer_size: int | None = None,
        preserve_order: bool | None = None,
    ) -> list[tuple[int, int, bytes | None]]:
        """Ranges of the cells of some rows, read at once.

        requests: (row, offset, length), as many of a row as wanted. selector: what names the rows, see `take_blobs`.
        io_buffer_size, preserve_order: as in `read_blobs`.
        Returns (number of the request, address of the row, its bytes) in the order asked, with None for a null.
        Raises as `take_blobs`, and OutOfRange past the end of a cell. Cost: as `read_blobs`.
        """
        check_tuning({"io_buffer_size": io_buffer_size})
        if selector not in _PLACES:
            raise InvalidInput(f"selector={selector!r}: expected one of {', '.join(_PLACES)}")
        if not all(len(request) == 3 for request in requests):
            raise InvalidInput("requests: expected triples of a row, an offset and a length")
        placed = _PLACES[selector](self._manifest, integers([row for row, _, _ in requests]))
        files = self._blobs_at(blob_column, placed)
        asked = [(file, offset, length) for file, (_, offset, length) in zip(files, requests, strict=True)]
        return list(zip(range(len(requests)), _addresses(placed), _read(asked), strict=True))

    def _place_blobs(self, ids: Any, addresses: Any, indices: Any) -> Placed:
        given = {"ids": ids, "addresses": addresses, "indices": indices}
        chosen = [(name, rows) for name, rows in given.items() if rows is not None]
        if len(chosen) != 1:
            raise InvalidInput("Exactly one of ids, indices, or addresses must be specified")
        [(name, rows)] = chosen
        return _PLACES[name](self._manifest, integers(rows))

    def _blobs_at(self, column: str, placed: Placed) -> list[BlobFile | None]:
        return open_blobs(self._session, self._manifest, column, placed)


def _read(asked: Sequence[tuple[BlobFile | None, int, int | None]]) -> list[bytes | None]:
    """Ranges of files, (file, offset, length); None of those that are None."""
    there = [(file, offset, length) for file, offset, length in asked if file is not None and length is not None]
    found = iter(read_all(there))
    return [None if file is None else bytes(next(found)) for file, _, _ in asked]


def _addresses(placed: Placed) -> list[int]:
    numbers = np.array([fragment.id for fragment in placed.fragments], np.int64)
    return ((numbers[placed.index] << OFFSET_BITS) | placed.offsets).tolist() if len(placed.index) else []


__all__ = ["DatasetBlobs"]
