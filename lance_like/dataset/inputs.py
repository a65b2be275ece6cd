"""What people hand over as data, turned into a schema and a stream of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.dataset.blob import (
    REFERENCE,
    blob_array,
    described_field,
    ingested,
    ingested_field,
    stored_array,
    stored_field,
)
from lance_like.dataset.conversion import array_of, converted, is_list
from lance_like.dataset.engine_values import uuids_of
from lance_like.encodings.joining import items_of_fixed, offsets_and_items, taken
from lance_like.encodings.physical import is_number, is_variable, storage_of
from lance_like.errors import InvalidInput
from lance_like.file.carry import carried_field, carried_type, carry, nulls, present
from lance_like.query.literals import is_text
from lance_like.table.fields import is_blob

Data: TypeAlias = Any
"""A pa.Table, RecordBatch, RecordBatchReader, pyarrow Dataset or Scanner; pandas, Polars; a Dataset or IterableDataset
of Hugging Face; anything with `__arrow_c_stream__`; an iterable of batches; a dict of columns (an array of numpy of 2
dimensions is one of vectors); a list of dicts, or of models of pydantic."""

# The rows of a batch that Hugging Face datasets are asked for, as its own functions ask: cells may be images.
_HF_ROWS = 1000
_NAMES = (
    "a table, batch or reader of pyarrow, a pandas or Polars frame, a dataset of Hugging Face, any object with"
    " __arrow_c_stream__, an iterable of batches, a dict of columns, a list of dicts or of pydantic models"
)


@dataclass(frozen=True, slots=True)
class Stream:
    """Batches of one schema; can be consumed once."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


ExternalBlobs = Literal["reference", "ingest"]


def as_stream(data: Data, schema: pa.Schema | None = None, external_blobs: ExternalBlobs = "reference") -> Stream:
    """Open data as a stream; with a schema, each batch is cast to it (`conform`) and null where it lacks a column.

    external_blobs: of cells that refer to bytes elsewhere, what is stored: the reference, or ("ingest") the bytes.
    Raises InvalidInput for data of an unknown kind, or that does not fit the schema.
    """
    if schema is not None and not isinstance(schema, pa.Schema):
        raise InvalidInput(f"schema is a {type(schema).__name__}: expected a pyarrow.Schema")
    if schema is not None:
        schema = _stored_schema(pa.schema([described_field(field) for field in schema], schema.metadata))
    if external_blobs not in (known := get_args(ExternalBlobs)):
        raise InvalidInput(f"external_blob_mode={external_blobs!r}: expected one of {', '.join(known)}")
    stream = _stored(_open(data, schema), ingest=external_blobs == "ingest")
    if schema is None:
        return stream
    conformed = conform(stream, schema)
    return Stream(schema, (filled(batch, schema) for batch in conformed.batches))


def schema_of_new(data: Data, schema: pa.Schema | None) -> pa.Schema | None:
    """The schema of a table that is made of the data: the caller's, or that of the models in a list; None: the data's.

    Rows that are appended go without: they are cast to the table's columns from what they are.
    """
    if schema is not None or not isinstance(data, list) or not data or not hasattr(data[0], "model_dump"):
        return schema
    from lance_like.dataset.models import schema_of_rows  # which imports pydantic

    return schema_of_rows(type(data[0]), [_row(item) for item in data])


def as_columns(data: Data, schema: pa.Schema | None = None) -> Stream:
    """As `as_stream`, of columns for rows that are there: the index of a pandas frame is not among them."""
    return as_stream(data.reset_index(drop=True) if _is_frame(data) else data, schema)


def _stored_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([stored_field(field) for field in schema], schema.metadata)


def _stored(stream: Stream, *, ingest: bool) -> Stream:
    """The stream with blobs in the form in which tables keep them. ingest: bytes in the place of references."""
    stored = schema = _stored_schema(stream.schema)
    if ingest:
        schema = pa.schema([ingested_field(field) for field in stored], stored.metadata)
    for field in schema:
        if not described_field(field).type.equals(field.type):
            raise InvalidInput(
                f"the column {field.name!r} describes blobs, it does not hold them",
                kind="blob",
                hint="read them with blob_handling='all_binary', or pass the dataset itself",
            )
    if schema.equals(stream.schema):
        return stream

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in stream.batches:
            arrays = [stored_array(array, f.type) for array, f in zip(batch.columns, stored, strict=True)]
            arrays = [ingested(array) for array in arrays] if ingest else arrays
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return Stream(schema, batches())


def conform(stream: Stream, schema: pa.Schema) -> Stream:
    """The same rows with the columns, order and types of a schema.

    Columns are matched by name; types are cast when no value changes but for the rounding of floats. Columns that the
    stream lacks are left out of the schema if they may be null.
    Raises InvalidInput for columns the schema does not have, missing ones that may not be null, and failing casts.
    """
    for names in (stream.schema.names, schema.names):
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InvalidInput(f"there are two columns {twice!r}", kind="duplicate-name")
    extra = [name for name in stream.schema.names if schema.get_field_index(name) < 0]
    if extra:
        raise InvalidInput(
            f"the data has the columns {', '.join(map(repr, extra))}, which the table does not have",
            hint="add_columns adds columns to a table",
        )
    lacking = [f.name for f in schema if not f.nullable and stream.schema.get_field_index(f.name) < 0]
    if lacking:
        raise InvalidInput(f"the data lacks {', '.join(map(repr, lacking))}, which may not be null in the table")
    kept = pa.schema([f for f in schema if stream.schema.get_field_index(f.name) >= 0], schema.metadata)
    return Stream(kept, (_cast(batch, kept) for batch in stream.batches))


def conform_some(stream: Stream, schema: pa.Schema) -> Stream:
    """As `conform`, for rows that are brought into rows that are there: any columns of the schema may be missing."""
    held = set(stream.schema.names)
    return conform(stream, pa.schema([field for field in schema if field.name in held], schema.metadata))


def check_cells(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch. Raises InvalidInput for a null where none may be, and for text that is not UTF-8."""
    for field, array in zip(batch.schema, batch.columns, strict=True):
        # Numbers hold nothing inside, and a table of thousands of columns is mostly numbers.
        if not (is_number(field.type) and (field.nullable or array.null_count == 0)):
            _check_cells(carried_field(field), carry(array), field.name)
    return batch


def _check_cells(field: pa.Field, array: pa.Array, path: str) -> None:
    if not field.nullable and array.null_count:
        raise InvalidInput(
            f"the column {path!r} may not be null, and contains null values in {array.null_count:,} of "
            f"{len(array):,} rows",
            hint="fill the nulls, or make the field nullable",
        )
    if pa.types.is_struct(field.type):
        present = _there(array)
        for index, child in enumerate(field.type):
            _check_cells(child, present.field(index), f"{path}.{child.name}")
    elif pa.types.is_map(field.type):
        _, entries = offsets_and_items(_there(array))
        _check_cells(field.type.key_field, entries.field(0), f"{path}.key")
        _check_cells(field.type.item_field, entries.field(1), f"{path}.value")
    elif is_variable(storage_of(array.type)) or pa.types.is_dictionary(array.type):
        _check_bytes(array, path)
    elif is_list(field.type):
        present = _there(array)
        fixed = pa.types.is_fixed_size_list(field.type)
        items = items_of_fixed(present) if fixed else offsets_and_items(present)[1]
        _check_cells(field.type.value_field, items, f"{path}[]")


def _check_bytes(array: pa.Array, path: str) -> None:
    """Raise InvalidInput for cells that could not be read again: text not UTF-8, lengths below 0, codes of no value."""
    if pa.types.is_dictionary(array.type):
        codes, values = pc.min_max(array.indices).as_py(), len(array.dictionary)
        if codes["max"] is not None and not 0 <= codes["min"] <= codes["max"] < values:
            raise InvalidInput(f"the column {path!r} has codes of values that its dictionary of {values:,} has not")
        return
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        hint = "bytes that are no text go into a binary column" if is_text(storage_of(array.type)) else ""
        raise InvalidInput(f"the column {path!r}: {error}", hint=hint) from error


def _there(array: pa.Array) -> pa.Array:
    """The rows that are not null. (Arrow's own drop_null makes no empty array of some types, and errs on grids.)"""
    if array.null_count == len(array):
        return array.slice(0, 0)
    if array.null_count == 0:
        return array
    return taken(array, pc.indices_nonzero(array.is_valid()))


def _open(data: Data, schema: pa.Schema | None) -> Stream:
    if isinstance(data, pa.RecordBatch):
        return Stream(data.schema, iter([data]))
    if isinstance(data, pa.Table):
        return Stream(data.schema, iter(data.to_batches()))
    if isinstance(data, pa.RecordBatchReader):
        return Stream(data.schema, iter(data))
    if hasattr(data, "to_reader"):
        return _open(data.to_reader(), schema)
    if hasattr(data, "take_blobs") and hasattr(data, "scanner"):
        return _open(data.scanner(blob_handling="all_binary").to_reader(), schema)
    if hasattr(data, "scanner"):
        return _open(data.scanner().to_reader(), schema)
    if type(data).__module__.startswith("polars") and hasattr(data, "to_arrow"):
        # Its own stream export uses string views, for which few tools have kernels: a table keeps the type it is given.
        return _open(_built(lambda frame, schema: frame.to_arrow(), data, None), schema)
    if _is_frame(data):
        return _open(_built(_from_frame, data, None), schema)
    if type(data).__module__.startswith("datasets."):
        return _from_hugging_face(data)
    if hasattr(data, "__arrow_c_stream__"):
        try:
            reader = pa.RecordBatchReader.from_stream(data)
        except pa.ArrowException as error:
            raise InvalidInput(f"the stream of a {type(data).__name__} is no table: {error}") from error
        return _open(reader, schema)
    if isinstance(data, Mapping):
        return _open(_built(_from_columns, dict(data), schema), schema)
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes)):
        return _from_iterable(iter(data), schema)
    raise InvalidInput(f"data of type {type(data).__name__} cannot be written: expected {_NAMES}")


def _is_frame(data: Data) -> bool:
    return type(data).__module__.startswith("pandas") and hasattr(data, "columns")


def _from_frame(frame: Any, schema: pa.Schema | None) -> pa.Table:
    """The columns of a pandas frame, and after them the levels of its index that have names of their own."""
    levels = frame.index.names
    nameless = [i for i, name in enumerate(levels) if name is None or name in frame.columns or name in levels[:i]]
    kept = len(nameless) < len(levels)
    if kept and nameless:
        frame = frame.reset_index(level=nameless, drop=True)
    return pa.Table.from_pandas(frame, schema, preserve_index=kept)


def _from_hugging_face(data: Any) -> Stream:
    """The rows of a Dataset or IterableDataset, in its order; its features go along as metadata of the schema."""
    if isinstance(data, Mapping):
        raise InvalidInput(f"a {type(data).__name__} holds several datasets, {sorted(data)}: write one of them a table")
    tables = data.with_format("arrow").iter(batch_size=_HF_ROWS)
    features = data.features
    if features is None:
        first = next(iter(tables), None)
        if first is None:
            raise InvalidInput("the data is empty and has no features", hint="pass a dataset with features")
        return Stream(first.schema, _each_batch(chain([first], tables), first.schema))
    schema = features.arrow_schema
    return Stream(schema, (batch for table in tables for batch in table.cast(schema).to_batches()))


def _from_iterable(items: Iterator[Any], schema: pa.Schema | None) -> Stream:
    first = next(items, None)
    if first is None:
        if schema is None:
            raise InvalidInput("the data is empty and has no schema", hint="pass schema=")
        return Stream(schema, iter(()))
    if isinstance(first, Mapping) or hasattr(first, "model_dump"):
        rows = [_row(item) for item in chain([first], items)]
        return _open(_built(_from_rows, rows, schema), schema)
    if isinstance(first, (pa.RecordBatch, pa.Table)):
        return Stream(first.schema, _each_batch(chain([first], items), first.schema))
    raise InvalidInput(f"an iterable of {type(first).__name__} cannot be written: expected {_NAMES}")


def _row(item: Any) -> Mapping[str, Any]:
    """A row as a mapping; a model of pydantic as that of its fields."""
    row = item.model_dump() if hasattr(item, "model_dump") else item
    if not isinstance(row, Mapping):
        kind = type(item).__name__
        raise InvalidInput(f"the data does not make a table: a row is of type {kind}, not a dict or a pydantic model")
    return row


def _each_batch(items: Iterator[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for item in items:
        if not isinstance(item, (pa.RecordBatch, pa.Table)):
            raise InvalidInput(f"a batch is a {type(item).__name__}: expected a RecordBatch or Table of pyarrow")
        if not item.schema.equals(schema):
            raise InvalidInput(f"a batch has the schema {item.schema}, the first one had {schema}")
        yield from item.to_batches() if isinstance(item, pa.Table) else [item]


def _from_columns(columns: dict[str, Any], schema: pa.Schema | None) -> pa.Table:
    fields = {} if schema is None else {field.name: field for field in schema}
    return pa.table({name: _named(name, values, fields.get(name)) for name, values in columns.items()})


def _named(name: str, values: Any, field: pa.Field | None) -> pa.Array | pa.ChunkedArray:
    """A column; errors say which."""
    try:
        return _column(_flat(values), field)
    except (pa.ArrowException, AttributeError, OverflowError, TypeError, ValueError) as error:
        raise InvalidInput(f"the column {name!r}: {error}") from error


def _flat(values: Any) -> Any:
    """An array of numpy of two dimensions as a column of vectors; anything else as it is."""
    if not isinstance(values, np.ndarray) or values.ndim != 2:
        return values
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _column(values: Any, field: pa.Field | None) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if field is None:
        return _inferred(values)
    external = field.type.equals(REFERENCE)
    return blob_array(values, external=external) if external or is_blob(field) else array_of(values, field.type)


def _inferred(values: Any) -> pa.Array | pa.ChunkedArray:
    try:
        return pa.array(values)
    except OverflowError:
        return pa.array(values, pa.uint64())  # which Arrow does not infer


def _from_rows(rows: list[Mapping[str, Any]], schema: pa.Schema | None) -> pa.Table:
    # Not Table.from_pylist: it leaves out the keys that the first row, or the schema, does not have.
    names = dict.fromkeys(chain([] if schema is None else schema.names, chain.from_iterable(rows)))
    if not names:
        raise ValueError("the rows have no columns")
    return _from_columns({name: [row.get(name) for row in rows] for name in names}, schema)


def _built(build: Any, values: Any, schema: pa.Schema | None) -> pa.Table:
    try:
        return build(values, schema=schema)
    except (pa.ArrowException, AttributeError, OverflowError, TypeError, ValueError) as error:
        raise InvalidInput(f"the data does not make a table: {error}") from error


def filled(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with nulls for the columns it lacks."""
    if len(batch.schema) == len(schema):
        return batch
    known = dict(zip(batch.schema.names, batch.columns, strict=True))
    arrays = [known[f.name] if f.name in known else nulls(len(batch), f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    if not len(schema):
        return batch.select([])
    arrays = [cast_array(batch.column(field.name), field) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def cast_array(array: pa.Array, field: pa.Field) -> pa.Array:
    """Values in the type of a field.

    Raises InvalidInput when one would change, but for the rounding of floats, or does not fit.
    """
    if array.type.equals(field.type):
        return array
    try:
        # Arrow casts to few of the types that are carried as others.
        array, kind = carry(stored_array(array, field.type)), carried_type(field.type)
        if isinstance(field.type, pa.UuidType) and is_text(array.type):
            array = uuids_of(array)
        made = present(converted(array, kind), field.type)
    except (pa.ArrowException, ValueError) as error:
        raise InvalidInput(
            f"the column {field.name!r} of type {array.type} does not fit the type {field.type}: {error}",
            kind="type",
            hint="cast it before writing",
        ) from error
    return made
