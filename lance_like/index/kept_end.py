"""The end of a file of a segment, which says what is where: read at once, and asked for no more. Pure.

A file is opened by reading its last 4 KiB, what it records of its columns, then of their pages: three rounds. Of most
files of an index all that stands in the last 64 KiB, and small files are there whole.
"""

from __future__ import annotations

import numpy as np

from lance_like.typing_ import Bytes, Conversation, Ranges, Spanning, T

END_NBYTES = 64 << 10


class KeptEnd:
    """The last bytes of a file of `nbytes`, once the first read of it has brought them."""

    def __init__(self, nbytes: int) -> None:
        self._start, self._nbytes = max(0, nbytes - END_NBYTES), nbytes
        self._data: Bytes | None = None

    @property
    def nbytes(self) -> int:
        """What it keeps."""
        return 0 if self._data is None else len(self._data)

    def answering(self, conversation: Conversation[T]) -> Conversation[T]:
        """The same conversation, without the rounds that only ask for the end; its first round brings the end."""
        try:
            asks = next(conversation)
            while True:
                missing = [ask for ask in asks if not self._holds(ask)]
                if self._data is None:
                    missing.append((np.array([self._start]), np.array([self._nbytes])))
                found = iter((yield missing) if missing else ())
                brought = [None if self._holds(ask) else next(found) for ask in asks]
                if self._data is None:
                    self._data = next(found)
                answers = [self._cut(ask) if data is None else data for ask, data in zip(asks, brought, strict=True)]
                asks = conversation.send(answers)
        except StopIteration as stop:
            return stop.value

    def _holds(self, ask: Ranges) -> bool:
        return len(ask[0]) == 0 or int(ask[0].min()) >= self._start

    def _cut(self, ask: Ranges) -> Bytes:
        data, start = self._data, self._start
        assert data is not None
        bounds = [(low - start, high - start) for low, high in zip(ask[0].tolist(), ask[1].tolist(), strict=True)]
        if len(bounds) == 1 or isinstance(ask, Spanning):
            return data[bounds[0][0] : bounds[-1][1]]
        return np.concatenate([np.empty(0, np.uint8), *(data[low:high] for low, high in bounds)])


__all__ = ["END_NBYTES", "KeptEnd"]
