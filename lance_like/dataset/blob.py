"""Blob columns: how they are declared, and the cells that people hand over for them.

A blob column is a binary field with the metadata `lance-encoding:blob` = `true`: reads give a description of each
cell, `take_blobs` gives files. A column that may also refer to bytes elsewhere is a struct
<data: large_binary, uri: string, position: uint64, size: uint64>, whose `data` is a blob column; a cell has either
`data` or `uri` (format_spec/table.md, "Blob columns").

Contents of files that are not in memory yet travel through Arrow as tokens: a cell that names a source in this
process. The buffer of such an array keeps its sources alive; `resolve` puts the contents in the place of the tokens.
"""

from __future__ import annotations

import os
import stat
import struct
import tempfile
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.places import DESCRIPTION
from lance_like.errors import InvalidInput
from lance_like.file.columns import Column, flatten, split
from lance_like.file.cut import PAGE_NBYTES
from lance_like.io.external import External, check_reference
from lance_like.table.fields import BLOB_METADATA, is_binary, is_blob
from lance_like.typing_ import Int64s

REFERENCE = pa.struct(
    [
        pa.field("data", pa.large_binary(), metadata=BLOB_METADATA),
        pa.field("uri", pa.string()),
        pa.field("position", pa.uint64()),
        pa.field("size", pa.uint64()),
    ]
)
"""What a blob column is stored as when it may refer to bytes elsewhere."""

_EXTENSION = "lance_like.blob"
OF_PYLANCE = "lance.blob.v2"
_EXTENSION_KEYS = (b"ARROW:extension:name", b"ARROW:extension:metadata")
# 32 random bytes: a cell that begins like this is a token.
_TOKEN = bytes.fromhex("6e1f93b05c2d4aa7bb7c3de0915f28c84d0ae7f2361b4795a9d80c7be2f4631d")
_TOKEN_TAIL = struct.Struct("<16sI")
_CHUNK_NBYTES = 1 << 20
_MOST_NBYTES = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Blob:
    """One cell of a blob column: bytes, or a reference to bytes elsewhere.

    uri: where the bytes are. position, size: the range of them; both or neither.
    """

    data: bytes | None = None
    uri: str | None = None
    position: int | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if (self.data is None) == (self.uri is None):
            raise InvalidInput("a Blob has either data or a uri", hint="use None for a null")
        ranged = self.position is not None, self.size is not None
        if ranged[0] != ranged[1] or (ranged[0] and self.uri is None):
            raise InvalidInput("a Blob with a uri has both position and size, or neither; one with data has none")
        if self.uri is not None:
            check_reference(self.uri)
        if any(value is not None and not 0 <= value < 1 << 63 for value in (self.position, self.size)):
            raise InvalidInput(f"position={self.position}, size={self.size}: expected 0 or more")

    @staticmethod
    def from_bytes(data: bytes | bytearray | memoryview) -> Blob:
        """A cell of bytes."""
        return Blob(data=bytes(data))

    @staticmethod
    def from_uri(uri: str, position: int | None = None, size: int | None = None) -> Blob:
        """A reference: the bytes stay where they are and are read when somebody asks for them.

        uri: an absolute path, file://…, or what fsspec opens (s3://…, https://…). position, size: a range in it.
        """
        return Blob(uri=uri, position=position, size=size)

    @staticmethod
    def empty() -> Blob:
        """A cell without bytes, which is not a null."""
        return Blob(data=b"")


class BlobType(pa.ExtensionType):
    """The type of `blob_array` and `blob_field`. Tables store large_binary, or `REFERENCE` when `external`."""

    def __init__(self, *, external: bool = False) -> None:
        super().__init__(REFERENCE if external else pa.large_binary(), _EXTENSION)

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> BlobType:
        return cls(external=pa.types.is_struct(storage_type))

    def __arrow_ext_class__(self) -> type[pa.ExtensionArray]:
        return BlobArray


class BlobArray(pa.ExtensionArray):
    """What `blob_array` gives."""

    @classmethod
    def from_pylist(cls, values: Sequence[Any]) -> pa.ExtensionArray:
        """As `blob_array`."""
        return blob_array(values)

    def cast(self, target_type: Any = None, safe: Any = None, options: Any = None, memory_pool: Any = None) -> pa.Array:
        """As of any array. Where a column holds no references, what they refer to is read when it is written."""
        if isinstance(target_type, BlobType):
            kind = target_type.storage_type
            storage = stored_array(self, kind) if pa.types.is_struct(kind) else ingested(self.storage)
            return pa.ExtensionArray.from_storage(target_type, storage)
        storage = ingested(self.storage) if target_type is not None and is_binary(target_type) else self.storage
        return storage.cast(target_type, safe=safe, options=options, memory_pool=memory_pool)


def blob_field(
    name: str,
    *,
    nullable: bool = True,
    external: bool = False,
    inline_size_threshold: int | None = None,
    dedicated_size_threshold: int | None = None,
    pack_file_size_threshold: int | None = None,
) -> pa.Field:
    """A blob column for a schema.

    external: cells may also be references (`Blob.from_uri`); the column is then a struct of data, uri, position, size.
    Without it an array with references that goes into the column has the bytes themselves stored.
    The thresholds are pylance's, kept in the metadata and not needed: where a cell lies follows from the bytes of its
    page. Raises InvalidInput for one that is no size.
    """
    thresholds = {
        "inline": inline_size_threshold,
        "dedicated": dedicated_size_threshold,
        "pack-file": pack_file_size_threshold,
    }
    metadata: dict[str, str] = {}
    for kind, size in thresholds.items():
        if size is not None:
            least = 0 if kind == "inline" else 1
            if isinstance(size, bool) or not isinstance(size, int) or not least <= size < 1 << 64:
                must = "must be positive" if least else "must be non-negative"
                raise InvalidInput(f"{kind.replace('-', '_')}_size_threshold {must}, a number of bytes, not {size!r}")
            metadata[f"lance-encoding:blob-{kind}-size-threshold"] = str(size)
    return pa.field(name, BlobType(external=external), nullable, metadata or None)


def blob_array(values: Sequence[Any], *, external: bool | None = None) -> pa.ExtensionArray:
    """The cells of a blob column, to be written.

    values: of each cell bytes; a file open for reading, from where it stands to its end; a path (os.PathLike): the
    contents of that file; a `Blob`; a text: the URI of a reference; or None.
    Files are read while the table is written, a chunk at a time; do not change or close them before that. What
    cannot seek (a pipe, a response) is copied to a temporary file at once.
    external: make it a column that may hold references; None: if there is one among the values.
    """
    cells, sources = _Cells(), _Sources()
    for value in values:
        cells.add(value, sources)
    if external is None:
        external = any(uri is not None for uri in cells.uris)
    elif not external and any(uri is not None for uri in cells.uris):
        raise InvalidInput("a value is a reference, and external=False", hint="pass external=True, or the bytes")
    data = pa.array(cells.data, pa.large_binary())
    if sources.opened:
        data = _keeping(data, sources)
    if not external:
        return pa.ExtensionArray.from_storage(BlobType(), data)
    columns = [
        data,
        pa.array(cells.uris, pa.string()),
        pa.array(cells.positions, pa.uint64()),
        pa.array(cells.sizes, pa.uint64()),
    ]
    null = pa.array([d is None and u is None for d, u in zip(cells.data, cells.uris, strict=True)], pa.bool_())
    storage = pa.StructArray.from_arrays(columns, fields=list(REFERENCE), mask=null)
    return pa.ExtensionArray.from_storage(BlobType(external=True), storage)


class _Cells:
    """The four children of a reference column, as Python lists."""

    def __init__(self) -> None:
        self.data: list[bytes | None] = []
        self.uris: list[str | None] = []
        self.positions: list[int | None] = []
        self.sizes: list[int | None] = []

    def add(self, value: Any, sources: _Sources) -> None:
        if isinstance(value, str):
            blob = Blob(uri=value)
        elif isinstance(value, Blob):
            blob = value
        else:
            self.data.append(None if value is None else _cell(value, sources))
            self.uris.append(None)
            self.positions.append(None)
            self.sizes.append(None)
            return
        self.data.append(blob.data)
        self.uris.append(blob.uri)
        self.positions.append(blob.position)
        self.sizes.append(blob.size)


def _cell(value: Any, sources: _Sources) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview, pa.Buffer)):
        return bytes(value)
    if isinstance(value, os.PathLike):
        return sources.token(_source_of_path(os.fspath(value)))
    if hasattr(value, "read"):
        return sources.token(_source_of_file(value))
    raise InvalidInput(
        f"a blob is a {type(value).__name__}: expected bytes, an open file, a path, a Blob, the text of a URI, or None"
    )


@dataclass(frozen=True)
class Source:
    """Bytes that are read when they are written. open: gives the file and where in it the bytes begin."""

    nbytes: int
    name: str
    open: Callable[[], tuple[IO[bytes], int, bool]]

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in pieces. Raises InvalidInput when there are fewer than there were."""
        file, start, ours = self.open()
        try:
            file.seek(start)
            left = self.nbytes
            while left:
                piece = file.read(min(left, _CHUNK_NBYTES))
                if not piece:
                    raise InvalidInput(
                        f"{self.name} ended {left:,} bytes before its size of {self.nbytes:,}",
                        kind="source",
                        hint="do not change files before the write that reads them has returned",
                    )
                left -= len(piece)
                yield piece
        finally:
            if ours:
                file.close()


def _source_of_path(path: str | bytes) -> Source:
    name = os.fsdecode(path)
    try:
        status = os.stat(path)
    except OSError as error:
        raise InvalidInput(f"the file {name!r} cannot be read: {error.strerror}", kind="source") from error
    if not stat.S_ISREG(status.st_mode):
        raise InvalidInput(f"{name!r} is not a regular file", kind="source", hint="open it and pass the open file")
    return Source(status.st_size, repr(name), lambda: (open(path, "rb"), 0, True))


class _Reading:
    """A reference as `Source` reads a file."""

    def __init__(self, external: External) -> None:
        self.external, self.position = external, 0

    def seek(self, position: int) -> None:
        self.position = position

    def read(self, nbytes: int) -> bytes:
        piece = self.external.read(self.position, self.position + nbytes)
        self.position += len(piece)
        return piece


def _source_of_reference(cell: dict[str, Any]) -> Source:
    external = External(cell["uri"], cell["position"], cell["size"])
    reading: Any = _Reading(external)
    return Source(external.nbytes, repr(external.uri), lambda: (reading, 0, False))


def _source_of_file(file: Any) -> Source:
    name = repr(getattr(file, "name", type(file).__name__))
    if not (hasattr(file, "seekable") and file.seekable()):
        file = _copied(file, name)
    start = file.tell()
    nbytes = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    if isinstance(file.read(0), str):
        raise InvalidInput(f"the file {name} gives text", kind="source", hint="open it with mode 'rb'")
    return Source(max(0, nbytes), name, lambda: (file, start, False))


def _copied(file: Any, name: str) -> IO[bytes]:
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the source that holds it goes
    while piece := file.read(_CHUNK_NBYTES):
        if isinstance(piece, str):
            raise InvalidInput(f"the file {name} gives text", kind="source", hint="open it with mode 'rb'")
        copy.write(piece)
    copy.seek(0)
    return copy


class _Sources:
    """The sources of one array, found by the tokens in its cells as long as the array, or a part of it, lives."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().bytes
        self.opened: list[Source] = []

    def token(self, source: Source) -> bytes:
        if not self.opened:
            _LIVE[self.id] = self
        self.opened.append(source)
        return _TOKEN + _TOKEN_TAIL.pack(self.id, len(self.opened) - 1)


_LIVE: weakref.WeakValueDictionary[bytes, _Sources] = weakref.WeakValueDictionary()


def _keeping(data: pa.Array, sources: object) -> pa.Array:
    """The same array, whose cells keep the sources alive."""
    validity, offsets, cells = data.buffers()
    kept = pa.foreign_buffer(cells.address, cells.size, base=(cells, sources))
    return pa.Array.from_buffers(data.type, len(data), [validity, offsets, kept], data.null_count)


def resolve(column: Column, array: pa.Array) -> Iterable[pa.Array | Source]:
    """The cells of one column of a file in order: runs of rows, and contents too large to be held.

    Contents smaller than a page are read into arrays. Raises InvalidInput for a token whose source is gone.
    """
    return _resolved(column, array) if is_blob(column) else (array,)


def _resolved(column: Column, array: pa.Array) -> Iterator[pa.Array | Source]:
    rows = _token_rows(array)
    done = 0
    for row in rows.tolist():
        if row > done:
            yield array.slice(done, row - done)
        source = _source_of_token(array[row].as_buffer().to_pybytes())
        if source.nbytes > _MOST_NBYTES and pa.types.is_binary(array.type):
            raise InvalidInput(
                f"{source.name} has {source.nbytes:,} bytes: a cell of the column {column.name!r} ends at 2 GiB",
                kind="too-large",
                hint="declare the column with blob_field, which has the type large_binary",
            )
        if source.nbytes < PAGE_NBYTES:
            yield pa.array([b"".join(source.chunks())], array.type)
        else:
            yield source
        done = row + 1
    if done < len(array):
        yield array.slice(done)


def source_nbytes(batch: pa.RecordBatch) -> Int64s | None:
    """int64[rows]: the bytes of each row that are read only when it is written; None when there cannot be any."""
    if not _LIVE:
        return None
    nbytes = np.zeros(len(batch), np.int64)
    for column, array in zip(flatten(batch.schema), split(batch.columns), strict=True):
        for row in _token_rows(array).tolist() if is_blob(column) else ():
            nbytes[row] += _source_of_token(array[row].as_buffer().to_pybytes()).nbytes
    return nbytes


def _token_rows(array: pa.Array) -> Int64s:
    return np.flatnonzero(pc.fill_null(pc.starts_with(array, _TOKEN), False).to_numpy(zero_copy_only=False))


def _source_of_token(cell: bytes) -> Source:
    held, index = None, 0
    if len(cell) == len(_TOKEN) + _TOKEN_TAIL.size:
        key, index = _TOKEN_TAIL.unpack_from(cell, len(_TOKEN))
        held = _LIVE.get(key)
    if held is None:
        raise InvalidInput(
            "the file that a blob stood for is not known any more",
            kind="source",
            hint="write the array that blob_array gave, in the process that made it, and not a copy of it",
        )
    return held.opened[index]


def ingested_field(field: pa.Field) -> pa.Field:
    """The stored field of `ingested` cells of a stored field."""
    if not field.type.equals(REFERENCE):
        return field
    return pa.field(field.name, pa.large_binary(), field.nullable, {**(field.metadata or {}), **BLOB_METADATA})


def ingested(array: pa.Array) -> pa.Array:
    """References (`REFERENCE`) as the bytes that they lead to, read when these are written; any other array as it is.

    Cost: a request for the size of each reference without one. Raises NotFound, StorageError.
    """
    if not array.type.equals(REFERENCE):
        return array
    cells, *reference = array.flatten()
    sources = _Sources()
    tokens = [
        None if cell["uri"] is None else sources.token(_source_of_reference(cell))
        for cell in pa.table(reference, ["uri", "position", "size"]).to_pylist()
    ]
    if not sources.opened:
        return cells
    return _keeping(pc.coalesce(cells, pa.array(tokens, pa.large_binary())), (sources, array))


def stored_field(field: pa.Field) -> pa.Field:
    """The field that a table keeps for one of `blob_array`, or of pylance's; any other field as it is."""
    if pa.types.is_struct(field.type) and not field.metadata:
        children = [stored_field(child) for child in field.type]
        return field if children == list(field.type) else field.with_type(pa.struct(children))
    if not field.metadata and not isinstance(field.type, pa.BaseExtensionType):
        return field
    kind, keys = field.type, dict(field.metadata or {})
    name = keys.get(_EXTENSION_KEYS[0], b"").decode("utf-8", "replace")
    if isinstance(kind, pa.BaseExtensionType):
        name, kind = kind.extension_name, kind.storage_type
    if name not in (_EXTENSION, OF_PYLANCE):
        return field
    for key in _EXTENSION_KEYS:
        keys.pop(key, None)
    if pa.types.is_struct(kind):
        return pa.field(field.name, REFERENCE, field.nullable, keys or None)
    return pa.field(field.name, kind, field.nullable, keys | BLOB_METADATA)


def stored_array(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Blobs, or binary cells to be written as such, as a field of type kind stores them; any other array as it is."""
    if array.type.equals(kind):
        return array
    bare = array
    if isinstance(array, pa.ExtensionArray) and array.type.extension_name in (_EXTENSION, OF_PYLANCE):
        bare = array.storage
    if bare.type.equals(kind):
        return bare
    if kind.equals(REFERENCE):
        return _as_references(bare)
    if pa.types.is_struct(kind) and _holds_blobs(bare.type) and bare.type.names == kind.names:
        children = [stored_array(bare.field(i), kind.field(i).type) for i in range(kind.num_fields)]
        fields = [field.with_type(child.type) for field, child in zip(kind, children, strict=True)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=bare.is_null())
    if bare.type.equals(REFERENCE) and is_binary(kind) and bare.field("uri").null_count == len(bare):
        return bare.field("data").cast(kind)
    return bare


def _holds_blobs(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return isinstance(kind, pa.BaseExtensionType) and kind.extension_name in (_EXTENSION, OF_PYLANCE)
    return any(_holds_blobs(child.type) for child in kind)


def _as_references(array: pa.Array) -> pa.Array:
    """Binary cells, or pylance's structs of data and uri, as `REFERENCE`; other arrays as they are."""
    if pa.types.is_struct(array.type) and {"data", "uri"} <= set(array.type.names) <= set(REFERENCE.names):
        # pylance's may be without ranges: <data, uri>.
        known = {name: array.field(name) for name in array.type.names}
    elif is_binary(array.type):
        known = {"data": array.cast(pa.large_binary())}
    else:
        return array
    children = [known[f.name] if f.name in known else pa.nulls(len(array), f.type) for f in REFERENCE]
    return pa.StructArray.from_arrays(children, fields=list(REFERENCE), mask=array.is_null())


def described_field(field: pa.Field) -> pa.Field:
    """The stored field of which a field of `LanceDataset.schema` is the description; any other field as it is."""
    if field.type.equals(DESCRIPTION) and BLOB_METADATA.items() <= (field.metadata or {}).items():
        return field.with_type(pa.large_binary())
    if pa.types.is_struct(field.type):
        children = [described_field(child) for child in field.type]
        return field.with_type(pa.struct(children))
    return field


__all__ = [
    "OF_PYLANCE",
    "REFERENCE",
    "Blob",
    "BlobArray",
    "BlobType",
    "Source",
    "blob_array",
    "blob_field",
    "described_field",
    "ingested",
    "ingested_field",
    "resolve",
    "source_nbytes",
    "stored_array",
    "stored_field",
]
