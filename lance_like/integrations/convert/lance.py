"""Lance tables, through `pylance`: the newest version, and those that have a tag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from lance_like._lazy import need
from lance_like.dataset.blob import OF_PYLANCE
from lance_like.errors import Unsupported
from lance_like.integrations.convert.version import BATCH_NBYTES, BATCH_ROWS, ForeignVersion, Options, each, reading
from lance_like.table.fields import BLOB_METADATA, is_blob

_WHAT = "Lance table"
# How much larger a window of rows may be than the one before: rows may be longer there.
_GROWTH = 4


def read_lance(place: str, tagged: bool, options: Options) -> list[ForeignVersion]:
    """The tagged versions of a Lance table, if they are asked for, and the newest; ascending.

    Raises InvalidInput, MissingDependency; Unsupported for a tag of a version in a branch.
    """
    library = need("lance")
    with reading(_WHAT, place):
        newest = library.dataset(place, storage_options=None if options is None else dict(options))
        tags = newest.tags.list() if tagged else {}
    for tag, about in tags.items():
        if about.get("branch"):
            raise Unsupported(
                f"the tag {tag!r} names a version in the branch {about['branch']!r}, which is not converted",
                kind="branch",
                where=place,
                hint="pass tagged=False to convert the newest version only",
            )
    names = {name: about["version"] for name, about in tags.items()}
    versions: list[ForeignVersion] = []
    before: Any = None
    for number in sorted({newest.version, *names.values()}):
        with reading(_WHAT, place):
            table = newest if number == newest.version else newest.checkout_version(number)
            fragments = table.get_fragments()
            new = _appended(before, table)
        versions.append(
            ForeignVersion(
                schema=pa.schema([_kept(field) for field in table.schema], table.schema.metadata),
                batches=partial(_batches, table, fragments if new is None else new, place),
                number=number,
                tags=tuple(sorted(name for name, version in names.items() if version == number)),
                extends=new is not None,
            )
        )
        before = table
    return versions


def _appended(before: Any, table: Any) -> list[Any] | None:
    """The fragments that a version has after all of those of another; None if it changed more than that."""
    if before is None or not table.schema.equals(before.schema, check_metadata=True):
        return None
    old, new = before.get_fragments(), table.get_fragments()
    same = [fragment.metadata for fragment in old] == [fragment.metadata for fragment in new[: len(old)]]
    return new[len(old) :] if same else None


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
