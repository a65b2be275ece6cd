"""What a notebook shows of a dataset: what it is, its columns with their types, and its first rows.

Read are at most ten rows of thirty columns; of cells of bytes and text their beginnings, and images of up to 256 KiB.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lance_like.dataset.blob_file import BlobFile
from lance_like.encodings.physical import is_variable, storage_of
from lance_like.errors import LanceLikeError
from lance_like.file.carry import carried_type
from lance_like.table.fields import is_blob

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

_ROWS, _COLUMNS = 10, 30
_TEXT, _ITEMS, _TYPE = 160, 5, 60
_IMAGE_NBYTES = 256 << 10
# How the formats that every browser shows begin.
_IMAGES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}
_STYLE = """<style>
.lance_like th, .lance_like td { text-align: left; vertical-align: top; max-width: 24em; overflow-wrap: anywhere }
.lance_like th small { font-weight: normal }
.lance_like img { max-width: 12em; max-height: 8em }
</style>"""


def html(dataset: LanceDataset) -> str:
    """The preview of a version. Never raises for a table that cannot be read: it says what is wrong."""
    schema = dataset.lance_schema.to_pyarrow()
    names = schema.names[:_COLUMNS]
    left = len(schema) - len(names)
    head = (
        f"<p><b>{escape(dataset.uri)}</b> — version {escape(str(dataset.version))}"
        f"{'' if dataset.branch is None else ' of branch ' + escape(dataset.branch)}, {len(dataset):,} rows,"
        f" {len(schema):,} columns{f', {left:,} of them not shown' if left else ''}</p>"
    )
    try:
        columns = _columns(dataset, names)
    except LanceLikeError as error:
        return f"{head}<pre>{escape(str(error))}</pre>"
    titles = "".join(f"<th>{escape(name)}<br>{_type(schema.field(name))}</th>" for name in names)
    rows = ("".join(f"<td>{cell}</td>" for cell in row) for row in zip(*columns, strict=True))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    more = f"<p>… {len(dataset) - _ROWS:,} more rows</p>" if len(dataset) > _ROWS else ""
    table = f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
    return f"{_STYLE}<div class='lance_like'>{head}{table}{more}</div>"


def _type(field: pa.Field) -> str:
    text = "blob" if is_blob(field) else str(field.type)
    short = text if len(text) <= _TYPE else text[:_TYPE] + "…"
    return f"<small title='{escape(text)}'>{escape(short)}</small>"


def _columns(dataset: LanceDataset, names: Sequence[str]) -> list[list[str]]:
    """The cells of the first rows, a list a column."""
    count = min(len(dataset), _ROWS)
    stored = dataset.lance_schema.to_pyarrow()
    long = {name for name in names if is_variable(storage_of(carried_type(stored.field(name).type)))}
    plain = dataset.head(count, columns=[name for name in names if name not in long])
    made = []
    for name in names:
        if name in long:
            text = _is_text(storage_of(stored.field(name).type))
            cells = dataset.take_blobs(name, indices=range(count))
            made.append([_null() if cell is None else _beginning(cell, text) for cell in cells])
        else:
            made.append([_value(value) for value in _values(plain.column(name))])
    return made


def _values(column: pa.ChunkedArray) -> list[Any]:
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):  # times that Python has not
        return column.cast(pa.string()).to_pylist()


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view"


def _beginning(cell: BlobFile, text: bool) -> str:
    """The beginning of a cell of text or bytes; an image whole, unless it is large."""
    with cell:
        size = cell.size()
        start = cell.read(4 * _TEXT + 4)
        if not text and size <= _IMAGE_NBYTES and _image(start):
            start += cell.read()
    if text:
        return _text(start.decode(errors="ignore"), cut=size > len(start))
    return _bytes(start, size)


def _text(text: str, *, cut: bool = False) -> str:
    cut = cut or len(text) > _TEXT
    return escape(text[:_TEXT]).replace("\n", "<br>") + ("…" if cut else "")


def _bytes(data: bytes, size: int) -> str:
    kind = _image(data)
    if kind is not None and len(data) == size <= _IMAGE_NBYTES:
        return f"<img src='data:image/{kind};base64,{_base64(data)}'>"
    what = "" if kind is None else f"{kind} image, "
    return f"<code>{data[:8].hex(' ')}{' …' if size > 8 else ''}</code> <small>({what}{size:,} bytes)</small>"


def _image(data: bytes) -> str | None:
    kind = next((kind for start, kind in _IMAGES.items() if data.startswith(start)), None)
    return None if kind == "webp" and data[8:12] != b"WEBP" else kind


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _null() -> str:
    return "<i style='opacity: .5'>null</i>"


def _value(value: Any) -> str:
    """One value as HTML: numbers short, lists by their beginning and length, structs field by field."""
    if value is None:
        return _null()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (bytes, memoryview)):
        return _bytes(bytes(value), len(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{escape(str(name))}: {_value(one)}" for name, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(_value(one) for one in value[:_ITEMS])
        return f"[{shown}]" if len(value) <= _ITEMS else f"[{shown}, … <small>({len(value):,})</small>]"
    return _text(str(value))


__all__ = ["html"]
