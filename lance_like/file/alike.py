"""Pages one after the other, those of many columns that are small and alike in one go: the bytes are the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby

import pyarrow as pa

from lance_like.encodings.alike import encode_alike, is_alike
from lance_like.file.encode import CutPage, EncodedPage, block_sums, encode_page, laid_out
from lance_like.file.stats import in_one_zone
from lance_like.typing_ import Json


def encode_pages(pages: Sequence[CutPage]) -> Iterator[EncodedPage]:
    """Encode pages, in order. A page holds its rows no longer once it is encoded."""
    for alike, group in groupby(pages, _likeness):
        together = list(group)
        if alike is None or len(together) == 1:
            yield from map(encode_page, together)
        else:
            yield from _encode_alike(together, alike[1])


def _likeness(page: CutPage) -> tuple[pa.DataType, int] | None:
    """What pages of small numbers must share to be encoded in one go: type and rows; None for other pages."""
    first = page.pieces[0]
    if not is_alike(first, page.hints):
        return None
    whole = first if len(page.pieces) == 1 else pa.chunked_array(page.pieces)
    fits = is_alike(whole, page.hints) and in_one_zone(page.first_row, len(whole))
    return (first.type, len(whole)) if fits else None


def _encode_alike(pages: list[CutPage], rows: int) -> Iterator[EncodedPage]:
    array = pa.concat_arrays(list(chain.from_iterable(page.pieces for page in pages)))
    extents = pages[0].zones.extents_alike(array, rows)
    # By what they say besides rows and type; each has one buffer, or none, of a length that follows from that.
    known: dict[tuple[Json, ...], EncodedPage] = {}
    for page, tree, extent in zip(pages, encode_alike(array, rows), extents, strict=True):
        page.pieces = []
        key = (tree.encoding, *tree.params.values())
        like = known.get(key)
        if like is None:
            like = known[key] = laid_out(tree, [extent])
            yield like
        else:
            chunks = list(tree.buffers)
            yield like._replace(chunks=chunks, sums=block_sums(chunks, like.block_log2), extents=[extent])
