"""What a file says about itself, as values with the names of `lance.file`."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from lance_like.file.survey import ColumnSurvey, FileSurvey, PageSurvey, tree_text
from lance_like.version import FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class LanceBufferDescriptor:
    """Some bytes of a file. position: of the first; size: how many."""

    position: int
    size: int


@dataclass(frozen=True, slots=True)
class LancePageMetadata:
    """One page. buffers: the page itself. encoding: its tree of encodings, such as `list(narrow, plain)`."""

    buffers: list[LanceBufferDescriptor]
    encoding: str


@dataclass(frozen=True, slots=True)
class LanceColumnMetadata:
    """One column, a struct and its children apart. column_buffers: the blob that its pages share, if there is one."""

    column_buffers: list[LanceBufferDescriptor]
    pages: list[LancePageMetadata]


@dataclass(frozen=True, slots=True)
class LanceFileMetadata:
    """A file. Bytes: of the pages, and of everything about columns; format version major.minor."""

    schema: pa.Schema
    num_rows: int
    num_data_bytes: int
    num_column_metadata_bytes: int
    major_version: int
    minor_version: int
    columns: list[LanceColumnMetadata]


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """The pages of a column and their bytes."""

    num_pages: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LanceFileStatistics:
    """The sizes of the columns of a file, in its order; a struct and its children apart."""

    columns: list[ColumnStatistics]


def metadata_of(survey: FileSurvey) -> LanceFileMetadata:
    """A survey in these values."""
    return LanceFileMetadata(
        schema=survey.schema,
        num_rows=survey.tail.num_rows,
        num_data_bytes=survey.data_nbytes,
        num_column_metadata_bytes=sum(column.metadata_nbytes for column in survey.columns),
        major_version=FORMAT_VERSION >> 16,
        minor_version=FORMAT_VERSION & 0xFFFF,
        columns=[_column(column) for column in survey.columns],
    )


def statistics_of(survey: FileSurvey) -> LanceFileStatistics:
    """The sizes in a survey."""
    return LanceFileStatistics([ColumnStatistics(len(column.pages), column.data_nbytes) for column in survey.columns])


def _column(column: ColumnSurvey) -> LanceColumnMetadata:
    record = column.record
    shared = [LanceBufferDescriptor(record.shared_offset, record.shared_nbytes)] if record.shared_nbytes else []
    return LanceColumnMetadata(shared, [_page(page) for page in column.pages])


def _page(page: PageSurvey) -> LancePageMetadata:
    return LancePageMetadata([LanceBufferDescriptor(page.entry.offset, page.entry.nbytes)], tree_text(page.node))
