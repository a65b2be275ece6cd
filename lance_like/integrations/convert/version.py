"""What the readers of other formats give: versions to write, and errors of our tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lance_like.errors import InvalidInput, LanceLikeError

Options = Mapping[str, Any] | None
"""The storage options of a place, or None."""

BATCH_NBYTES = 16 << 20
"""What a batch that is read should hold at most, by estimate."""

# An estimate errs where rows suddenly become longer: this many times their bytes are in memory then.
BATCH_ROWS = 8_192


@dataclass(frozen=True, slots=True)
class ForeignBranch:
    """A branch that begins at a version, its first. tags, begins: of that one on the branch, as in `ForeignVersion`."""

    name: str
    tags: tuple[str, ...] = ()
    begins: tuple[ForeignBranch, ...] = ()


@dataclass(frozen=True, slots=True)
class ForeignVersion:
    """One version of a table of another format.

    schema: of the rows here; what `batches` gives is cast to it. batches: begins to read.
    number: what the version is called there. branch: whose it is; None: of the table itself. tags: its names.
    begins: the branches that begin here. metadata, config: texts of the table.
    extends: the rows are those that follow the rows of the version before on its branch, which has the same schema.
    """

    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch]]
    number: int | None = None
    tags: tuple[str, ...] = ()
    extends: bool = False
    branch: str | None = None
    begins: tuple[ForeignBranch, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a table is converted: its newest version, those with tags, its branches. options: of its storage."""

    tagged: bool = True
    branched: bool = True
    options: Options = None


@contextmanager
def reading(what: str, place: str) -> Iterator[None]:
    """Turn the errors of another library into InvalidInput, with the place."""
    try:
        yield
    except (LanceLikeError, MemoryError):
        raise
    except Exception as error:  # Each library has a tree of its own, with Exception as the only common root.
        raise InvalidInput(f"the {what} cannot be read: {error}", kind="source", where=place) from error


def each(batches: Iterable[pa.RecordBatch], what: str, place: str) -> Iterator[pa.RecordBatch]:
    """The batches of another library, with its errors turned into ours."""
    iterator = iter(batches)
    while True:
        with reading(what, place):
            batch = next(iterator, None)
        if batch is None:
            return
        yield batch


__all__ = ["BATCH_NBYTES", "BATCH_ROWS", "ForeignBranch", "ForeignVersion", "Options", "Wanted", "each", "reading"]
