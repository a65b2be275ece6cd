"""What a data file consists of, from its metadata: columns, pages, encodings, bytes, statistics. Reads no page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from lance_like.encodings.base import Node
from lance_like.encodings.physical import flat_width, storage_of
from lance_like.file.anatomy import Anatomy, PageEntry
from lance_like.file.columns import Column, unflatten
from lance_like.file.layout import ColumnRecord, Tail
from lance_like.file.stats import ZoneEntry, bounds_array
from lance_like.file.types import metadata_from_json
from lance_like.typing_ import Json


@dataclass(frozen=True, slots=True)
class PageSurvey:
    """One page: its entry and the tree of its encodings."""

    entry: PageEntry
    node: Node


@dataclass(frozen=True)
class ColumnSurvey:
    """One column of a file. total: the statistics of all its rows."""

    number: int
    path: str
    column: Column
    record: ColumnRecord
    pages: tuple[PageSurvey, ...]
    total: ZoneEntry

    @cached_property
    def data_nbytes(self) -> int:
        """The bytes of its pages."""
        return sum(page.entry.nbytes for page in self.pages)

    @property
    def metadata_nbytes(self) -> int:
        """The bytes of its metadata, shared blob included."""
        return self.record.end - self.record.offset

    @property
    def bounds(self) -> tuple[pa.Scalar, pa.Scalar]:
        """The least and greatest value, or bounds of them; null where unknown."""
        found = bounds_array(self.column.type, [self.total.min, self.total.max])
        return found[0], found[1]

    def encodings(self) -> Counter[str]:
        """The trees of encodings of its pages, and how many pages have each."""
        return Counter(tree_text(page.node) for page in self.pages)

    def fixed_nbytes(self, num_rows: int) -> int | None:
        """The bytes of its rows in Arrow where the type alone says so; None where it does not."""
        bitmap = -(-num_rows // 8)
        kind = storage_of(self.column.type)
        validity = bitmap if self.total.null_count else 0
        if pa.types.is_null(kind):
            return 0
        if pa.types.is_struct(kind) and not kind.num_fields:
            return validity
        if pa.types.is_boolean(kind):
            return bitmap + validity
        width = flat_width(kind)
        return None if width is None else num_rows * width + validity


@dataclass(frozen=True)
class FileSurvey:
    """One data file. metadata: the JSON that the file keeps about itself."""

    nbytes: int
    tail: Tail
    metadata: dict[str, Json]
    columns: tuple[ColumnSurvey, ...]

    @property
    def schema(self) -> pa.Schema:
        """The schema that the file records."""
        fields = unflatten([column.column for column in self.columns])
        return pa.schema(fields, metadata_from_json(self.metadata.get("metadata", [])) or None)

    @property
    def data_nbytes(self) -> int:
        """The bytes of all pages."""
        return sum(column.data_nbytes for column in self.columns)


def survey_file(anatomy: Anatomy) -> FileSurvey:
    """Survey a file. Raises Corrupt or Unsupported at the first fault. Cost: the metadata of all columns."""
    tail = anatomy.tail()
    columns: list[ColumnSurvey] = []
    for number in range(tail.num_columns):
        record = anatomy.record(tail, number)
        column = anatomy.field(record)
        path = column.name if column.parent < 0 else f"{columns[column.parent].path}.{column.name}"
        entries = [anatomy.entry(record, page) for page in range(record.num_pages)]
        pages = tuple(PageSurvey(entry, anatomy.node(record, entry)) for entry in entries)
        total = anatomy.zone(record, record.num_zones, tail.num_rows, column.type)
        columns.append(ColumnSurvey(number, path, column, record, pages, total))
    return FileSurvey(anatomy.nbytes, tail, anatomy.file_metadata(tail), tuple(columns))


def tree_text(node: Node) -> str:
    """A tree of encodings as text: `zstd(narrow, plain)`; a question mark where there is a validity bitmap."""
    below = ", ".join(map(tree_text, node.children))
    return node.encoding + ("?" if node.validity else "") + (f"({below})" if below else "")


def nbytes_by_encoding(column: ColumnSurvey) -> Counter[str]:
    """The bytes of a column's pages by the encoding that owns them; "validity" and "alignment" apart."""
    found: Counter[str] = Counter()
    for page in column.pages:
        owned = Counter[str]()
        for node in _nodes(page.node):
            owned[node.encoding] += sum(end - start for start, end in node.buffers)
            if node.validity:
                owned["validity"] += node.validity[1] - node.validity[0]
        owned["alignment"] = max(0, page.entry.nbytes - owned.total())
        found += owned
    return found


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)
