"""`lance_like inspect`: columns, pages, encodings, sizes and statistics of a data file, as tables or JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from lance_like.cli.text import count, nbytes, table
from lance_like.errors import InvalidInput, LanceLikeError
from lance_like.file.anatomy import Anatomy
from lance_like.file.place import is_folder, locate
from lance_like.file.stats import MAX_TRUNCATED, MIN_TRUNCATED
from lance_like.file.survey import ColumnSurvey, FileSurvey, PageSurvey, nbytes_by_encoding, survey_file, tree_text
from lance_like.typing_ import Json


def inspect(path: str, *, pages: bool, exact: bool, as_json: bool) -> str:
    """Describe a file. pages: each page too. exact: decode all pages to know their size in memory."""
    if is_folder(path):
        raise InvalidInput(f"{path!r} is a folder: expected one data file", hint="those of a dataset are in data/")
    anatomy = Anatomy(*locate(path))
    survey = survey_file(anatomy)
    sizes = [_memory(anatomy, survey, column, exact=exact) for column in survey.columns]
    if as_json:
        return json.dumps(_json(path, survey, sizes), indent=2, ensure_ascii=False)
    parts = [_summary(path, survey, sizes), _column_table(survey, sizes), _encoding_table(survey)]
    if pages:
        parts.append(_page_table(survey))
    return "\n\n".join(parts)


def _memory(anatomy: Anatomy, survey: FileSurvey, column: ColumnSurvey, *, exact: bool) -> tuple[int | None, bool]:
    """The bytes of a column in Arrow, and whether that is exact or scaled up from its first page; None: unreadable."""
    fixed = column.fixed_nbytes(survey.tail.num_rows)
    if fixed is not None:
        return fixed, True
    chosen = column.pages if exact else column.pages[:1]
    try:
        shared = anatomy.shared(column.record)
        decoded = sum(anatomy.decode(page.entry, page.node, column.column.type, shared).nbytes for page in chosen)
    except LanceLikeError:
        return None, True  # what is wrong is for `verify` to say
    rows = sum(page.entry.num_rows for page in chosen)
    scaled = decoded * survey.tail.num_rows // max(1, rows)
    return scaled, len(chosen) == len(column.pages)


def _summary(path: str, survey: FileSurvey, sizes: Sequence[tuple[int | None, bool]]) -> str:
    columns = survey.columns
    metadata = sum(column.metadata_nbytes for column in columns)
    other = survey.nbytes - survey.data_nbytes - metadata
    pages = sum(len(column.pages) for column in columns)
    known = [size for size, _ in sizes if size is not None]
    ratio = _ratio(sum(known), survey.nbytes) if len(known) == len(sizes) else "?"
    return (
        f"{path}: {count(survey.tail.num_rows, 'row')}, {count(len(columns), 'column')}, {count(pages, 'page')},"
        f" written by lance_like {survey.metadata.get('writer', '?')}\n"
        f"{nbytes(survey.nbytes)}: pages {nbytes(survey.data_nbytes)}, metadata of columns {nbytes(metadata)},"
        f" the rest {nbytes(other)}; {ratio} of the size in memory"
    )


def _column_table(survey: FileSurvey, sizes: Sequence[tuple[int | None, bool]]) -> str:
    head = ("", "column", "type", "pages", "encoding", "pages' bytes", "metadata", "of memory", "nulls", "min", "max")
    right = (True, False, False, True, False, True, True, True, True, False, False)
    rows = []
    for column, (size, exact) in zip(survey.columns, sizes, strict=True):
        ratio = "?" if size is None else ("" if exact else "~") + _ratio(size, column.data_nbytes)
        low, high = _bounds(column)
        row = (column.number, column.path, column.column.type, len(column.pages), _encodings(column))
        rows.append(
            [str(item) for item in row]
            + [nbytes(column.data_nbytes), nbytes(column.metadata_nbytes), ratio]
            + [f"{column.total.null_count:,}", "" if low is None else str(low), "" if high is None else str(high)]
        )
    return table(head, rows, right=right)


def _encoding_table(survey: FileSurvey) -> str:
    owned: Counter[str] = Counter()
    trees: Counter[str] = Counter()
    for column in survey.columns:
        owned += nbytes_by_encoding(column)
        trees += Counter(encoding for page in column.pages for encoding in _names(page))
        owned["shared blobs"] += column.record.shared_nbytes
    total = max(1, survey.nbytes)
    rows = [
        [name, f"{trees[name]:,}" if trees[name] else "", nbytes(size), f"{100 * size / total:.1f} %"]
        for name, size in owned.most_common()
        if size or trees[name]
    ]
    rows += [[name, f"{pages:,}", "0 B", "0.0 %"] for name, pages in sorted(trees.items()) if not owned[name]]
    return table(("encoding", "in pages", "bytes", "of file"), rows, right=(False, True, True, True))


def _page_table(survey: FileSurvey) -> str:
    rows = []
    for column in survey.columns:
        for number, page in enumerate(column.pages):
            entry = page.entry
            figures = (entry.first_row, entry.num_rows, entry.offset, entry.nbytes, 1 << entry.block_log2)
            rows.append([column.path, str(number), *(f"{figure:,}" for figure in figures), tree_text(page.node)])
    head = ("column", "page", "first row", "rows", "offset", "bytes", "block", "encoding")
    return table(head, rows, right=(False, True, True, True, True, True, True, False))


def _names(page: PageSurvey) -> set[str]:
    found, left = set[str](), [page.node]
    while left:
        node = left.pop()
        found.add(node.encoding)
        left += node.children
    return found


def _encodings(column: ColumnSurvey) -> str:
    found = column.encodings()
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{pages}× {tree}" for tree, pages in found.most_common())


def _bounds(column: ColumnSurvey) -> tuple[Json, Json]:
    low, high = (_plain(bound) for bound in column.bounds)
    flags = column.total.flags
    cut_low = f"{low}…" if flags & MIN_TRUNCATED and isinstance(low, str) else low
    return cut_low, f"{high}…" if flags & MAX_TRUNCATED and isinstance(high, str) else high


def _plain(value: pa.Scalar) -> Json:
    """A value as JSON has it, else as text; None for null."""
    if not value.is_valid:
        return None
    t, kind = pa.types, value.type
    if t.is_integer(kind) or t.is_boolean(kind) or t.is_floating(kind):
        plain = value.as_py()
        return plain if not isinstance(plain, float) or math.isfinite(plain) else str(plain)
    if t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind):
        return value.as_py().hex()
    return str(value)


def _ratio(memory: int, stored: int) -> str:
    return f"{stored / memory:.2f}" if memory else "-"


def _json(path: str, survey: FileSurvey, sizes: Sequence[tuple[int | None, bool]]) -> Json:
    return {
        "path": path,
        "nbytes": survey.nbytes,
        "rows": survey.tail.num_rows,
        "writer": survey.metadata.get("writer"),
        "columns": [_column_json(column, *size) for column, size in zip(survey.columns, sizes, strict=True)],
    }


def _column_json(column: ColumnSurvey, memory: int | None, exact: bool) -> Json:
    low, high = _bounds(column)
    return {
        "number": column.number,
        "path": column.path,
        "type": str(column.column.type),
        "nullable": column.column.nullable,
        "parent": column.column.parent,
        "data_nbytes": column.data_nbytes,
        "metadata_nbytes": column.metadata_nbytes,
        "memory_nbytes": memory,
        "memory_is_exact": exact,
        "null_count": column.total.null_count,
        "nan_count": column.total.nan_count,
        "min": low,
        "max": high,
        "encodings": dict(column.encodings()),
        "nbytes_by_encoding": dict(nbytes_by_encoding(column)),
        "pages": [
            {
                "first_row": page.entry.first_row,
                "rows": page.entry.num_rows,
                "offset": page.entry.offset,
                "nbytes": page.entry.nbytes,
                "block_nbytes": 1 << page.entry.block_log2,
                "encoding": tree_text(page.node),
            }
            for page in column.pages
        ],
    }
