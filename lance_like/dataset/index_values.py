"""What callers say and are told of indexes: values, with pylance's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import Any, Literal, cast
from uuid import UUID

import numpy as np

from lance_like.dataset.results import IndexInformation
from lance_like.index.coverage import Coverage, OpenSegment, within
from lance_like.table.indices import IndexEntry, IndexSegment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema, join_path
from lance_like.typing_ import Json

_SPELLED = {
    "BTREE": "BTree",
    "BITMAP": "Bitmap",
    "LABEL_LIST": "LabelList",
    "NGRAM": "NGram",
    "ZONEMAP": "ZoneMap",
    "BLOOMFILTER": "BloomFilter",
    "INVERTED": "Inverted",
}
# What pylance calls some counts that a build writes down.
_COUNTS = {
    "BITMAP": {"num_bitmaps": "keys"},
    "LABEL_LIST": {"num_bitmaps": "keys"},
    "NGRAM": {"num_ngrams": "keys"},
    "INVERTED": {"num_tokens": "terms", "num_docs": "rows"},
}
_OF_CODES = ("num_sub_vectors", "num_bits", "m", "ef_construction")


@dataclass
class IndexConfig:
    """A kind of index with its parameters. index_type "json": of the values at a path of JSON texts.

    Its parameters are `path` ("$.a.b" or "a.b"), `target_index_type`, and those of that type; `value_type` of "string",
    "int64", "double" or "bool" says what the values are taken as; without it they are looked at.
    """

    index_type: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


class IndexFileVersion(str, Enum):
    """pylance's words for `index_file_version`, which says nothing here: there is one."""

    LEGACY = "Legacy"
    V3 = "V3"


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far a build is. event: "start", "progress" or "complete", of a stage. total: None where it is not known."""

    event: Literal["start", "progress", "complete"]
    stage: str
    completed: int | None = None
    total: int | None = None
    unit: str = ""

    @property
    def fraction(self) -> float | None:
        """The share that is done; None where it is not known."""
        return min(self.completed / self.total, 1.0) if self.completed is not None and self.total else None


class Stages:
    """Tells a caller of the stages of a build. tell: gets an `IndexProgress`; None: nobody does."""

    def __init__(self, tell: Callable[[IndexProgress], None] | None) -> None:
        self._tell = tell
        self._last: IndexProgress | None = None

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """What a plug-in calls."""
        if self._tell is None:
            return
        if self._last is None or self._last.stage != stage:
            self.close()
            self._tell(IndexProgress("start", stage, 0, total, "rows"))
        self._last = IndexProgress("progress", stage, done, total, "rows")
        self._tell(self._last)

    def close(self) -> None:
        """The last stage is over."""
        if self._tell is not None and self._last is not None:
            self._tell(IndexProgress("complete", self._last.stage, self._last.completed, self._last.total, "rows"))
        self._last = None


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A file of a segment."""

    path: str
    size_bytes: int


@dataclass(frozen=True)
class Index:
    """A segment of an index, committed or to be (`LanceDataset.commit_existing_index_segments`).

    dataset_version: whose rows it was built from. fragment_ids: of which it has rows; None in a transaction, which does
    not look. entry: the index with this segment alone. line: that it was built on.
    """

    uuid: str
    name: str
    fields: list[int]
    dataset_version: int
    fragment_ids: set[int] | None
    index_version: int
    created_at: datetime
    files: list[IndexFile]
    entry: IndexEntry = field(repr=False)
    base_id: int | None = None
    line: str | None = field(default=None, repr=False)

    @staticmethod
    def of(entry: IndexEntry, segment: IndexSegment, fragment_ids: set[int] | None = None) -> Index:
        """One segment of an index."""
        return Index(
            uuid=uuid_of(segment),
            name=entry.name,
            fields=list(entry.field_ids),
            dataset_version=segment.version,
            fragment_ids=fragment_ids,
            index_version=segment.format,
            created_at=moment(segment.created_us),
            files=[IndexFile(file.path, file.nbytes) for file in segment.files],
            entry=entry.with_segments((segment,)),
            base_id=base_of(segment),
        )


@dataclass(frozen=True)
class IndexSegmentDescription:
    """A segment. num_rows: that it was built from. num_invalidated_rows: those that have other values since."""

    uuid: str
    dataset_version_at_last_update: int
    fragment_ids: set[int]
    index_version: int
    created_at: datetime
    size_bytes: int
    num_rows: int
    num_invalidated_rows: int
    base_id: int | None = None


@dataclass(frozen=True)
class IndexDescription:
    """An index. num_rows_indexed: live rows that it answers for. details: its parameters."""

    name: str
    index_type: str
    fields: list[int]
    field_names: list[str]
    segments: list[IndexSegmentDescription]
    num_rows_indexed: int
    total_size_bytes: int
    details: dict[str, Json]

    @property
    def num_segments(self) -> int:
        """How many segments it has."""
        return len(self.segments)


def moment(us: int) -> datetime:
    """Microseconds since 1970 as a time."""
    return datetime.fromtimestamp(us / 1e6, tz=timezone.utc)


def base_of(segment: IndexSegment) -> int | None:
    """The base below which its files lie."""
    return segment.files[0].base if segment.files else None


def spelled(entry: IndexEntry) -> str:
    """The kind of an index as pylance spells it."""
    return "Json" if entry.json else _SPELLED.get(entry.kind, entry.kind)


def field_names(entry: IndexEntry, schema: Schema) -> list[str]:
    """The paths of the fields of an index."""
    return [join_path(schema.path(field_id)) for field_id in entry.field_ids]


def fragments_of(coverage: Coverage) -> list[set[int]]:
    """For each segment the ids of fragments of whose live rows it answers for some."""
    live = coverage.live
    found: list[set[int]] = []
    for segment in coverage.segments:
        held = within(live, segment.covered)
        found.append({coverage.fragments[i].id for i in np.unique(held.fragments).tolist()})
    return found


def uuid_of(segment: IndexSegment) -> str:
    """The uuid of a segment as uuids are written: with hyphens."""
    return str(UUID(segment.uuid))


def listed(manifest: Manifest, coverage: Coverage) -> list[IndexInformation]:
    """The segments of an index as `list_indices` gives them; one without a uuid of an index that has none."""
    entry = coverage.entry
    whole = {"name": entry.name, "type": spelled(entry), "fields": field_names(entry, manifest.schema)}
    empty = {"uuid": None, "version": manifest.version, "fragment_ids": set(), "base_id": None}
    segments = [
        {
            "uuid": uuid_of(segment.segment),
            "version": segment.segment.version,
            "fragment_ids": ids,
            "base_id": base_of(segment.segment),
        }
        for segment, ids in zip(coverage.segments, fragments_of(coverage), strict=True)
    ]
    return [cast("IndexInformation", whole | segment) for segment in segments or [empty]]


def described(manifest: Manifest, coverage: Coverage) -> IndexDescription:
    """An index as `describe_indices` gives it."""
    entry = coverage.entry
    segments = [
        IndexSegmentDescription(
            uuid=uuid_of(segment),
            dataset_version_at_last_update=segment.version,
            fragment_ids=ids,
            index_version=segment.format,
            created_at=moment(segment.created_us),
            size_bytes=segment.nbytes,
            num_rows=segment.rows,
            num_invalidated_rows=segment.invalid.rows if segment.invalid else 0,
            base_id=base_of(segment),
        )
        for segment, ids in zip(entry.segments, fragments_of(coverage), strict=True)
    ]
    return IndexDescription(
        name=entry.name,
        index_type=spelled(entry),
        fields=list(entry.field_ids),
        field_names=field_names(entry, manifest.schema),
        segments=segments,
        num_rows_indexed=coverage.covered_rows,
        total_size_bytes=sum(segment.nbytes for segment in entry.segments),
        details=dict(entry.params) | ({"path": entry.json.path, "value_type": entry.json.type} if entry.json else {}),
    )


def statistics(manifest: Manifest, coverage: Coverage, *, partitions: bool) -> dict[str, Any]:
    """An index as `index_statistics` gives it. Its segments are there under the two names that pylance has for them.

    partitions: read the sizes of the partitions of vectors; the segments are opened for it.
    Each has its parameters also one by one, as pylance has them, and counts and parts under pylance's names.
    """
    entry = coverage.entry
    open_fragments = {fragment.id for fragment, _ in coverage.uncovered}
    segments = [
        {
            **entry.params,
            **_counts(entry, held.segment),
            **_of_vectors(entry, held.segment),
            **(_partitions(held) if partitions else {}),
            "index_type": spelled(entry),
            "uuid": uuid_of(held.segment),
            "params": dict(entry.params),
            "detail": dict(held.segment.detail),
            "num_rows": held.rows,
            "num_valid_rows": held.valid_rows,
            "num_invalidated_rows": held.segment.invalid.rows if held.segment.invalid else 0,
            "num_deleted_rows": len(held.dead),
            "size_bytes": held.segment.nbytes,
            "dataset_version": held.segment.version,
            "created_at": moment(held.segment.created_us).isoformat(),
        }
        for held in coverage.segments
    ]
    return {
        "name": entry.name,
        "index_type": spelled(entry),
        "params": dict(entry.params),
        "num_segments": len(segments),
        "num_indices": len(segments),
        "segments": segments,
        "indices": segments,
        "num_indexed_fragments": manifest.tree.count - len(open_fragments),
        "num_unindexed_fragments": len(open_fragments),
        "num_indexed_rows": coverage.covered_rows,
        "num_unindexed_rows": coverage.uncovered_rows,
        "num_invalidated_rows": sum(segment["num_invalidated_rows"] for segment in segments),
        "num_indexed_rows_per_delta": [held.valid_rows for held in coverage.segments],
        "size_bytes": sum(segment.nbytes for segment in entry.segments),
        "updated_at_timestamp_ms": max((segment.created_us // 1000 for segment in entry.segments), default=None),
    }


def _counts(entry: IndexEntry, segment: IndexSegment) -> dict[str, Json]:
    """What pylance counts of a segment, under its names."""
    per_zone = entry.params.get("rows_per_zone")
    if isinstance(per_zone, int):
        return {"num_zones": -(-segment.rows // per_zone)}
    return {name: segment.detail.get(own) for name, own in _COUNTS.get(entry.kind, {}).items()}


def _of_vectors(entry: IndexEntry, segment: IndexSegment) -> dict[str, Json]:
    """What pylance tells of a segment of vectors, under its names."""
    metric, params = entry.params.get("metric"), entry.params
    codes = {"nbits": params.get("num_bits"), **{name: params.get(name) for name in _OF_CODES}}
    told: dict[str, Json] = {"metric_type": metric, "num_partitions": segment.detail.get("partitions")}
    if entry.kind.startswith("IVF_"):
        codes |= {"index_type": entry.kind.removeprefix("IVF_"), "metric_type": metric}
        told["sub_index"] = {name: value for name, value in codes.items() if value is not None}
    return {name: value for name, value in told.items() if value is not None}


def _partitions(held: OpenSegment) -> dict[str, Any]:
    """The sizes of the partitions of a segment."""
    return {"partitions": [{"size": size} for size in held.searcher.partition_sizes.tolist()]}


__all__ = [
    "Index",
    "IndexConfig",
    "IndexDescription",
    "IndexFile",
    "IndexFileVersion",
    "IndexProgress",
    "IndexSegmentDescription",
    "Stages",
    "described",
    "fragments_of",
    "listed",
    "statistics",
]
