"""Lance tables, through `pylance`: the newest versions of the table and its branches, and those that have a tag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from lance_like._lazy import need
from lance_like.dataset.blob import OF_PYLANCE
from lance_like.errors import Unsupported
from lance_like.integrations.convert.version import (
    BATCH_NBYTES,
    BATCH_ROWS,
    ForeignBranch,
    ForeignVersion,
    Wanted,
    each,
    reading,
)
from lance_like.table.fields import BLOB_METADATA, is_blob

_WHAT = "Lance table"
# How much larger a window of rows may be than the one before: rows may be longer there.
_GROWTH = 4


def read_lance(place: str, wanted: Wanted) -> list[ForeignVersion]:
    """The tagged versions of a Lance table and of its branches, if they are asked for, and the newest of each.

    Those of the table itself come first, then branch after branch, each after the one it begins at; ascending.
    Raises InvalidInput, MissingDependency; Unsupported for a tag of a version in a branch that is not converted.
    """
    library, options = need("lance"), wanted.options
    with reading(_WHAT, place):
        newest = library.dataset(place, storage_options=None if options is None else dict(options))
        branches = newest.branches.list() if wanted.branched else {}
        tags = newest.tags.list() if wanted.tagged else {}
    history = _History(newest, place, branches, tags)
    return [version for line in history.lines() for version in history.versions(line)]


@dataclass(frozen=True)
class _History:
    """A Lance table with some of its branches and tags, as its library lists them."""

    newest: Any
    place: str
    branches: Mapping[str, Mapping[str, Any]]
    tags: Mapping[str, Mapping[str, Any]]

    def lines(self) -> list[str | None]:
        """None for the table itself, then the branches, each after its parent. Raises Unsupported."""
        lines: list[str | None] = [None]
        for line in lines:
            lines += sorted(name for name, about in self.branches.items() if about["parent_branch"] == line)
        for name, about in self.branches.items():
            if name not in lines:
                raise self._left_out(f"the branch {name!r} begins", about["parent_branch"])
        for tag, about in self.tags.items():
            if about["branch"] not in lines:
                raise self._left_out(f"the tag {tag!r} names a version", about["branch"])
        return lines

    def versions(self, line: str | None) -> Iterator[ForeignVersion]:
        """The versions of a line that are converted, but for the first of a branch, which its parent has."""
        first = self.branches[line]["parent_version"] if line is not None else 0
        with reading(_WHAT, self.place):
            before = None if line is None else self._table(line, first)
            last = self.newest if line is None else self._table(line, None)
        tagged = {about["version"] for about in self.tags.values() if about["branch"] == line}
        begun = {about["parent_version"] for about in self.branches.values() if about["parent_branch"] == line}
        for number in sorted({last.version, *tagged, *begun} - {first}):
            with reading(_WHAT, self.place):
                table = last if number == last.version else self._table(line, number)
                new = _appended(before, table)
                fragments = table.get_fragments() if new is None else new
                metadata, config = dict(table.metadata), dict(table.config())
            yield ForeignVersion(
                schema=pa.schema([_kept(field) for field in table.schema], table.schema.metadata),
                batches=partial(_batches, table, fragments, self.place),
                number=number,
                tags=self._tags_of(line, number),
                extends=new is not None,
                branch=line,
                begins=self._begins_at(line, number),
                metadata=metadata,
                config=config,
            )
            before = table

    def _table(self, line: str | None, number: int | None) -> Any:
        return self.newest.checkout_version((line, number))

    def _tags_of(self, line: str | None, number: int) -> tuple[str, ...]:
        found = (name for name, about in self.tags.items() if (about["branch"], about["version"]) == (line, number))
        return tuple(sorted(found))

    def _begins_at(self, line: str | None, number: int) -> tuple[ForeignBranch, ...]:
        here = (line, number)
        names = sorted(n for n, a in self.branches.items() if (a["parent_branch"], a["parent_version"]) == here)
        return tuple(ForeignBranch(n, self._tags_of(n, number), self._begins_at(n, number)) for n in names)

    def _left_out(self, what: str, branch: str) -> Unsupported:
        return Unsupported(
            f"{what} in the branch {branch!r}, which is not converted",
            kind="branch",
            where=self.place,
            hint="pass tagged=False, or branched=False for the table alone",
        )


def _appended(before: Any, table: Any) -> list[Any] | None:
    """The fragments that a version has after all of those of another; None if it changed more than that."""
    if before is None or not table.schema.equals(before.schema, check_metadata=True):
        return None
    old, new = before.get_fragments(), table.get_fragments()
    same = [_identity(fragment) for fragment in old] == [_identity(fragment) for fragment in new[: len(old)]]
    return new[len(old) :] if same else None


def _identity(fragment: Any) -> tuple[Any, ...]:
    """What tells a fragment from others, in a branch as in the table: not where the base of its files is."""
    metadata = fragment.metadata
    return metadata.id, [(file.path, file.fields) for file in metadata.files], metadata.deletion_file


def _kept(field: pa.Field) -> pa.Field:
    """The field of a column here."""
    kind = field.type
    if (isinstance(kind, pa.BaseExtensionType) and kind.extension_name == OF_PYLANCE) or is_blob(field):
        return pa.field(field.name, pa.large_binary(), field.nullable, (field.metadata or {}) | BLOB_METADATA)
    if pa.types.is_struct(kind):
        return field.with_type(pa.struct([_kept(child) for child in kind]))
    return field


def _batches(table: Any, fragments: Sequence[Any], place: str) -> Iterator[pa.RecordBatch]:
    """The rows of some fragments, a window at a time: what a scan as a whole holds ahead has no bound in bytes."""
    rows = 1
    for fragment in fragments:
        with reading(_WHAT, place):
            count = fragment.count_rows()
        start = 0
        while start < count:
            nbytes, read = 0, min(rows, count - start)
            for batch in each(_scan(table, fragment, start, read), _WHAT, place):
                nbytes += batch.nbytes
                yield batch
            start += read
            rows = max(1, min(read * _GROWTH, BATCH_ROWS, read * BATCH_NBYTES // max(1, nbytes)))


def _scan(table: Any, fragment: Any, start: int, rows: int) -> Iterator[pa.RecordBatch]:
    scanner = table.scanner(
        fragments=[fragment],
        offset=start,
        limit=rows,
        batch_size=rows,
        scan_in_order=True,
        blob_handling="all_binary",
        io_buffer_size=4 * BATCH_NBYTES,
    )
    yield from scanner.to_reader()


__all__ = ["read_lance"]
