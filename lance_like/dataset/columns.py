"""Adding columns: new files that hold only them, beside the files that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from lance_like.dataset.blob import resolve
from lance_like.dataset.inputs import Stream, as_columns, as_stream
from lance_like.dataset.placing import Placing, place_columns
from lance_like.dataset.scan_options import count
from lance_like.dataset.udf import BatchUDF, Checkpoint
from lance_like.dataset.write import WriteFile, files_ahead, write_file
from lance_like.encodings.physical import flat_width
from lance_like.errors import Conflict, InvalidInput, NotFound
from lance_like.file.carry import nulls, one_batch, taken_rows
from lance_like.file.writer import FileWriter
from lance_like.query.constants import is_null
from lance_like.query.evaluate import bind_columns, columns_read, compute_bound, is_expression, parse_expressions
from lance_like.query.projection import Projection, project
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.query.sql import tree_of
from lance_like.table.actions import AddColumns, NewFile
from lance_like.table.commit import Change
from lance_like.table.fields import ROOT
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest

# Bytes of numbers that SQL is asked about in one go.
_ASKED_NBYTES = 16 << 20

Transform = Callable[[pa.RecordBatch], Any]


def add_columns(
    session: Session,
    manifest: Manifest,
    transforms: Any,
    commit: Callable[[Change], None],
    *,
    read_columns: Sequence[str] | None = None,
    reader_schema: pa.Schema | None = None,
    batch_size: int | None = None,
) -> None:
    """Add columns; see `LanceDataset.add_columns`. commit: makes a change the next version."""
    batch_size = None if batch_size is None else count("batch_size", batch_size, low=1)
    fields = _null_fields(transforms)
    if fields is not None:
        commit(_nulls(manifest, fields))
    elif isinstance(transforms, Mapping) and all(map(is_expression, transforms.values())):
        transform, known, read_columns = _from_sql(transforms, manifest)
        rows = batch_size or _rows_at_once(manifest, read_columns)
        no_value = transforms and all(map(_is_null, transforms.values()))
        computed = Computed(session, transform, read_columns, rows, known=known, row_wise=True)
        commit(_nulls(manifest, known) if no_value else computed)
    elif isinstance(transforms, BatchUDF):
        asked, path = transforms.output_schema or reader_schema, transforms.checkpoint_file
        kept = None if path is None else Checkpoint(path)
        commit(Computed(session, transforms, read_columns, batch_size, asked=asked, kept=kept))
        if kept is not None:
            kept.remove()
    elif callable(transforms):
        commit(Computed(session, transforms, read_columns, batch_size, asked=reader_schema))
    else:
        commit(_FromStream(session, as_columns(transforms, reader_schema)))


def _nulls(manifest: Manifest, fields: pa.Schema) -> AddColumns:
    """Columns that are all null: no file is written for them."""
    placing = place_columns(manifest.schema, fields)
    return AddColumns(placing.schema, None, parents=placing.parents)


def _null_fields(transforms: Any) -> pa.Schema | None:
    if isinstance(transforms, pa.Field):
        return pa.schema([transforms])
    if isinstance(transforms, pa.Schema):
        return transforms
    if isinstance(transforms, (list, tuple)) and transforms and all(isinstance(f, pa.Field) for f in transforms):
        return pa.schema(list(transforms))
    return None


def _is_null(expression: Any) -> bool:
    """Whether it is the text of NULL, of whatever type."""
    return isinstance(expression, str) and "null" in expression.lower() and is_null(tree_of(expression))


def _from_sql(expressions: Mapping[str, Any], manifest: Manifest) -> tuple[Transform, pa.Schema, list[str]]:
    """The function that expressions stand for, what it gives and what it reads."""
    table = manifest.schema.to_arrow()
    bound = bind_columns(parse_expressions(dict(expressions)), table)
    needed = columns_read(bound.values(), table)
    empty = _empty_batch(project(manifest.schema, needed).schema)
    return partial(compute_bound, bound), compute_bound(bound, empty).schema, needed


def _rows_at_once(manifest: Manifest, names: Sequence[str]) -> int | None:
    """Rows of a batch that SQL is asked about, as a question costs a millisecond however few. None: as in a scan."""
    widths = [flat_width(manifest.schema.find((name,)).type) for name in names]
    known = [width for width in widths if width is not None]
    return _ASKED_NBYTES // max(1, sum(known)) if known and len(known) == len(widths) else None


class _Written:
    """Files of new columns that were written, by what they were made from, and where the columns go."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._placing: Placing | None = None
        self._files: dict[str, NewFile] = {}

    def placing(self, manifest: Manifest, schema: pa.Schema) -> Placing:
        """Where the columns go; kept for a rerun: structs are found by their ids, whatever they are called by now."""
        if self._placing is None:
            self._placing = place_columns(manifest.schema, schema)
        return self._placing

    def part(self, fragment: Fragment, reads: Iterable[int] | None) -> str:
        """Where the fields that the columns of a fragment were made from lie: those read, and the structs above."""
        above = () if self._placing is None else {*self._placing.parents} - {ROOT}
        return _lie(fragment, None if reads is None else (*reads, *above))

    def find(self, part: str) -> NewFile | None:
        """The file that was written for a part."""
        return self._files.get(part)

    def keep(self, part: str, file: NewFile) -> None:
        """Note the file of a part."""
        self._files[part] = file

    def write(
        self,
        manifest: Manifest,
        fragment: Fragment,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        write: WriteFile,
    ) -> NewFile:
        """Write the columns of a fragment. batches: of its live rows, as they were given."""
        placing = self.placing(manifest, schema)
        placed = placing.batches(self.session, manifest, fragment, batches)
        return write_columns(write, placing.file_schema, fragment, placed)

    def action(self, files: Mapping[int, NewFile], reads: Iterable[int] = ()) -> AddColumns:
        """The change. files: by fragment."""
        placing = self._placing
        assert placing is not None
        written = {fragment_id: (file,) for fragment_id, file in files.items()}
        return AddColumns(placing.schema, written, tuple(reads), placing.parents)


def _lie(fragment: Fragment, field_ids: Iterable[int] | None) -> str:
    """Where fields of a fragment lie, as a text: another one when their values may have changed. None: all of them."""
    if field_ids is None:
        lie = [(file.path, -1) for file in fragment.files]
    else:
        places = (fragment.locate(field_id) for field_id in field_ids)
        lie = sorted({(file.path, column) for file, column in filter(None, places)})
    return f"{fragment.id} {fragment.rows} {lie}"


def _pieces_of(fragment: Fragment, reads: Iterable[int] | None) -> str:
    """What the batches of a fragment are made from: its fields that are read, and its live rows."""
    return f"{_lie(fragment, reads)} {xxhash.xxh3_128_hexdigest(fragment.deleted.tobytes())}"


class Computed:
    """The change that adds columns computed from others, a batch at a time.

    Called again on a newer version, it computes only what that version changed.
    asked: what the answers of the transform are cast to. known: what they are; None: as the first.
    kept: where results outlive a crash. row_wise: each row is made from itself alone, so that rows of several fragments
    are given to the transform in one batch, by several threads; not with `kept`.
    """

    def __init__(
        self,
        session: Session,
        transform: Transform,
        read_columns: Sequence[str] | None,
        batch_rows: int | None = None,
        *,
        asked: pa.Schema | None = None,
        known: pa.Schema | None = None,
        kept: Checkpoint | None = None,
        row_wise: bool = False,
    ) -> None:
        self._session, self._transform, self._row_wise = session, transform, row_wise
        self._read_columns, self._batch_rows = read_columns, batch_rows
        self._asked, self._kept = asked, kept
        self._schema = _settled(asked, known, kept)
        self._written = _Written(session)
        self._projection: Projection | None = None

    def __call__(self, manifest: Manifest | None) -> AddColumns:
        assert manifest is not None
        if self._projection is None:
            # Kept for a rerun: it finds fields by their ids, whatever another writer calls them by now.
            self._projection = project(manifest.schema, self._read_columns)
        if self._schema is None and not manifest.live_rows:
            self._schema = self._answer(_empty_batch(self._projection.schema)).schema
        if self._schema is not None:
            # A name that is taken shows before anything is computed.
            self._written.placing(manifest, self._schema)
        files = {fragment.id: self._known_file(fragment) for fragment in manifest.fragments}
        missing = [fragment for fragment in manifest.fragments if files[fragment.id] is None]
        make = self._checked if self._row_wise else None
        scan = Scan(
            self._projection, batch_rows=self._batch_rows, fragments=missing, apart=not self._row_wise, make=make
        )
        store = self._session.store
        # What a checkpoint names is there.
        writing = files_ahead(store) if self._kept is None else nullcontext(partial(write_file, store))
        with closing(run_scan(self._session, manifest, scan)) as batches, writing as write:
            rows = CutRows(batches)
            for fragment in missing:
                files[fragment.id] = self._file(manifest, fragment, rows.take(fragment.live_rows), write)
        return self._written.action({i: file for i, file in files.items() if file}, self._projection.leaves)

    def _known_file(self, fragment: Fragment) -> NewFile | None:
        """The file that was written before, for another version or in an earlier run."""
        # What another writer deleted meanwhile changes nothing here: only files count.
        part = self._written.part(fragment, self._reads)
        found = self._written.find(part) or self._kept_file(fragment, part)
        if found is not None:
            self._written.keep(part, found)
        return found

    def _file(
        self, manifest: Manifest, fragment: Fragment, rows: Iterator[pa.RecordBatch], write: WriteFile
    ) -> NewFile:
        """Compute and write the columns of a fragment. rows: its live ones."""
        reads = self._reads
        pieces = "" if self._kept is None else _pieces_of(fragment, reads)
        batches = rows if self._row_wise else self._batches(rows, pieces)
        first = next(batches)
        found = self._written.write(manifest, fragment, first.schema, chain([first], batches), write)
        # Only now: the first batch may have told which structs the columns go into.
        part = self._written.part(fragment, reads)
        if self._kept is not None:
            self._kept.keep_file(part, found, pieces)
        self._written.keep(part, found)
        return found

    @property
    def _reads(self) -> Iterable[int] | None:
        """The fields that the columns are made from; None for any, where row numbers are read or nothing is."""
        assert self._projection is not None
        leaves = self._projection.leaves
        return None if self._projection.is_virtual or not leaves else leaves

    def _kept_file(self, fragment: Fragment, part: str) -> NewFile | None:
        """The file that an earlier run finished, if it is still there and not in use."""
        found = None if self._kept is None else self._kept.file(part)
        if found is None or any(file.path == found.path for file in fragment.files):
            return None
        try:
            return found if self._session.store.size(found.path) == found.nbytes else None
        except NotFound:
            return None

    def _batches(self, rows: Iterator[pa.RecordBatch], pieces: str) -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in rows:
            made = None if self._kept is None else self._kept.batch(pieces, start, len(batch))
            if made is None:
                made = self._checked(batch)
                if self._kept is not None:
                    self._kept.keep_batch(pieces, start, made)
            start += len(batch)
            yield made

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        made = self._answer(batch)
        if len(made) != len(batch):
            raise InvalidInput(f"the function gave {len(made):,} rows for a batch of {len(batch):,}")
        if self._schema is None:
            self._schema = made.schema
            if self._kept is not None:
                self._kept.keep_schema(made.schema)
        if made.schema.equals(self._schema):
            return made
        try:
            return _one_batch(as_stream(made, self._schema))
        except InvalidInput as error:
            raise InvalidInput(
                f"the function gave columns {made.schema}, before it gave {self._schema}: {error.message}",
                hint="give the same columns and types for every batch, or pass reader_schema=",
            ) from error

    def _answer(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return _one_batch(as_columns(self._transform(batch), self._asked))


def _settled(asked: pa.Schema | None, known: pa.Schema | None, kept: Checkpoint | None) -> pa.Schema | None:
    """What a transform gives, as far as it is known before it is called; noted in a checkpoint."""
    if asked is not None:
        known = as_stream((), asked).schema.remove_metadata()
    before = None if kept is None else kept.schema()
    if before is not None and known is not None and not before.equals(known):
        raise InvalidInput(
            f"the checkpoint is of columns {before}, these are {known}",
            kind="checkpoint",
            hint="choose another checkpoint_file, or remove it",
        )
    if kept is not None and known is not None:
        kept.keep_schema(known)
    return before if known is None else known


def _one_batch(stream: Stream) -> pa.RecordBatch:
    table = pa.Table.from_batches(list(stream.batches), stream.schema)
    return one_batch(table, table.schema.remove_metadata())


def write_columns(
    write: WriteFile, schema: pa.Schema, fragment: Fragment, batches: Iterator[pa.RecordBatch]
) -> NewFile:
    """Write columns of a fragment as a file of their own. batches: its live rows, in order."""
    file = write(FileWriter(schema, resolve=resolve), _over_deleted(fragment, batches))
    assert file.rows == fragment.rows
    return file


def _over_deleted(fragment: Fragment, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Live rows with the deleted ones between them, which repeat the live row before them, or the first one."""
    if fragment.deletions is None:
        yield from batches
        return
    live = start = 0
    for batch in batches:
        live += len(batch)
        last = live == fragment.live_rows
        end = fragment.rows if last else int(fragment.offsets_of_live(np.array([live - 1]))[0]) + 1
        here = fragment.live_between(start, end)
        offsets = np.arange(start, end) if here is None else here
        nearest = np.maximum(np.searchsorted(offsets, np.arange(start, end), "right") - 1, 0)
        yield taken_rows(batch, nearest)
        start = end


def _empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([nulls(0, field.type) for field in schema], schema=schema)


class _FromStream:
    """Columns that come as a stream, row for row in scan order. A stream can be read once only."""

    def __init__(self, session: Session, stream: Stream) -> None:
        self._stream = stream
        self._written = _Written(session)
        self._used = False

    def __call__(self, manifest: Manifest | None) -> AddColumns:
        assert manifest is not None
        self._written.placing(manifest, self._stream.schema)
        if not self._used:
            self._used = True
            self._consume(manifest)
        files: dict[int, NewFile] = {}
        for fragment in manifest.fragments:
            found = self._written.find(self._written.part(fragment, ()))
            if found is None:
                raise Conflict(
                    "another writer changed the rows while a stream was written as their new columns",
                    kind="rerun",
                    hint="open the newest version and pass the stream again",
                )
            files[fragment.id] = found
        return self._written.action(files)

    def _consume(self, manifest: Manifest) -> None:
        rows = CutRows(self._stream.batches)
        with files_ahead(self._written.session.store) as write:
            for fragment in manifest.fragments:
                batches = rows.take(fragment.live_rows)
                file = self._written.write(manifest, fragment, self._stream.schema, batches, write)
                self._written.keep(self._written.part(fragment, ()), file)
        if rows.more():
            raise InvalidInput(f"Stream produced more values than expected for dataset of {manifest.live_rows:,} rows")


class CutRows:
    """A stream cut at given numbers of rows."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._rest: pa.RecordBatch | None = None

    def more(self) -> bool:
        """Are there rows left?"""
        while self._rest is None or len(self._rest) == 0:
            self._rest = next(self._batches, None)
            if self._rest is None:
                return False
        return True

    def take(self, rows: int) -> Iterator[pa.RecordBatch]:
        """The next rows. Raises InvalidInput where they are fewer."""
        while rows:
            if not self.more():
                raise InvalidInput(f"Stream ended before producing values for all rows in dataset: {rows:,} lack")
            assert self._rest is not None
            yield self._rest.slice(0, rows)
            taken = min(rows, len(self._rest))
            self._rest = self._rest.slice(taken)
            rows -= taken


__all__ = ["Computed", "CutRows", "add_columns", "write_columns"]
