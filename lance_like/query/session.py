"""The open data files of one dataset handle: opened side by side, checked once, kept under a limit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from lance_like.errors import Corrupt, NotFound
from lance_like.file.reader import FileReader, open_file
from lance_like.io.fetch import drive_all
from lance_like.io.store import Store
from lance_like.table.fragment import DataFile
from lance_like.typing_ import Conversation

# An open file of few columns holds some tens of KiB: its last 4 KiB, page tables, checksums of opened pages.
_OPEN_FILES = 1024


class Session:
    """Readers by path. verify: check the blocks of pages on first touch; metadata is always checked."""

    def __init__(self, store: Store, *, verify: bool = True) -> None:
        self.store = store
        self.verify = verify
        self._readers: OrderedDict[str, FileReader] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, files: Sequence[DataFile]) -> list[FileReader]:
        """The readers of files, in order. Cost: one round for those that are not open yet."""
        readers = self._readers
        missing = {file.path: file for file in files if file.path not in readers}
        found = {path: readers[path] for file in files if (path := file.path) in readers}
        if missing:
            conversations = [
                (path, open_file(path, file.nbytes, tail=file.tail, verify=self.verify))
                for path, file in missing.items()
            ]
            found.update(zip(missing, self.drive(conversations), strict=True))
            for file in files:
                if file.path in missing:
                    _check_shape(found[file.path], file)
            self._keep(found)
        return [found[file.path] for file in files]

    def drive(self, conversations: Sequence[tuple[str, Conversation[Any]]]) -> list[Any]:
        """Run conversations with data files side by side. Raises Corrupt where one is missing.

        conversations: pairs of path and conversation.
        """
        try:
            return drive_all(self.store, conversations)
        except NotFound as error:
            raise Corrupt(
                f"a data file that the manifest names is missing: {error.message}", kind="missing", where=error.where
            ) from error

    def _keep(self, opened: dict[str, FileReader]) -> None:
        with self._lock:
            for path, reader in opened.items():
                self._readers.setdefault(path, reader)
                self._readers.move_to_end(path)
            while len(self._readers) > _OPEN_FILES:
                self._readers.popitem(last=False)


def _check_shape(reader: FileReader, file: DataFile) -> None:
    columns = sum(count for _, count in file.fields)
    if (reader.num_columns, reader.num_rows) != (columns, file.rows):
        raise Corrupt(
            f"the file has {reader.num_columns:,} columns of {reader.num_rows:,} rows, its table recorded"
            f" {columns:,} of {file.rows:,}",
            kind="structure",
            where=file.path,
        )


__all__ = ["Session"]
