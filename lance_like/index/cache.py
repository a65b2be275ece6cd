"""The open indexes of one dataset handle: segments opened once and kept under a limit, and what they cover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial

from lance_like.errors import InvalidInput, NotFound, Unsupported
from lance_like.index.base import IndexPlugin, Kind, Searcher, Segment
from lance_like.index.coverage import Coverage, coverage_of
from lance_like.index.files import SegmentReader
from lance_like.index.registry import INDEXES
from lance_like.io.store import Store
from lance_like.kept import MadeOf
from lance_like.locks import lock_over_forks
from lance_like.table.indices import IndexEntry, IndexSegment
from lance_like.table.manifest import Manifest

CACHE_NBYTES = 1 << 30
"""Default of what a handle keeps of its indexes, by estimate."""

# What is kept grows as segments are searched: it is summed up again after so many uses.
_USES_BETWEEN = 64
# A handle that goes back and forth between versions, or changes one, asks for two of them.
_VERSIONS_KEPT = 2

_LOCK = lock_over_forks()

Identity = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class _Version:
    """What is known of a version: its indexes that can be asked, and what they cover, by name."""

    usable: Sequence[tuple[IndexEntry, IndexPlugin]]
    covered: dict[str, Coverage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Open:
    searcher: Searcher
    files: SegmentReader

    @property
    def nbytes(self) -> int:
        return self.searcher.nbytes_cached + self.files.nbytes_cached


class OpenIndexes:
    """The indexes of a handle.

    verify: check the blocks of pages on first touch. cache_nbytes: what open segments may keep; those used longest ago
    are closed above it, but never the one at hand. ignore: use none, as if there were none.
    """

    def __init__(
        self, store: Store, *, verify: bool = True, cache_nbytes: int = CACHE_NBYTES, ignore: bool = False
    ) -> None:
        self.store, self.ignore = store, ignore
        self._verify, self._cache_nbytes = verify, cache_nbytes
        # By the time of their last use, oldest first.
        self._open: dict[Identity, _Open] = {}
        self._uses = 0
        self._versions: MadeOf[_Version] = MadeOf(_VERSIONS_KEPT)

    def beside(self) -> OpenIndexes:
        """The same open segments for another handle, which goes through versions of its own."""
        other = copy(self)
        other._versions = MadeOf(_VERSIONS_KEPT)
        return other

    def usable(self, manifest: Manifest) -> Sequence[tuple[IndexEntry, IndexPlugin]]:
        """The indexes that are of a kind and a version known here, with their plug-ins, in order of the manifest."""
        return () if self.ignore else self._of_version(manifest).usable

    def of_field(self, manifest: Manifest, field_id: int, kind: Kind) -> list[IndexEntry]:
        """The indexes of a field that can be asked for something, those of JSON paths among them."""
        return [e for e, plugin in self.usable(manifest) if plugin.kind == kind and e.field_ids[0] == field_id]

    def coverage(self, manifest: Manifest, name: str) -> Coverage:
        """What an index holds of a version; kept while the handle is at that version or the next.

        Raises NotFound, InvalidInput where indexes are ignored, Unsupported for a kind that is not known here.
        """
        if self.ignore:
            raise InvalidInput("this handle ignores indexes", kind="index", hint='open it without indices="ignore"')
        kept = self._of_version(manifest).covered
        found = kept.get(name)
        if found is None:
            entry = entry_named(manifest, name)
            found = kept[name] = coverage_of(manifest, entry, partial(self._searcher, manifest, entry))
        return found

    def _of_version(self, manifest: Manifest) -> _Version:
        return self._versions.get(manifest, make=lambda: _Version(list(_usable(manifest))))

    def _searcher(self, manifest: Manifest, entry: IndexEntry, segment: IndexSegment) -> Searcher:
        """The searcher of a segment, opened once. Raises Corrupt, Unsupported."""
        identity = segment.identity
        with _LOCK:
            found = self._open.pop(identity, None)
            if found is not None:
                self._open[identity] = found
        if found is None:
            made = open_segment(self.store, manifest, entry, segment, verify=self._verify)
            with _LOCK:
                found = self._open.setdefault(identity, made)
            self._uses = _USES_BETWEEN
        self._uses += 1
        if self._uses >= _USES_BETWEEN:
            self._uses = 0
            self._close_some(identity)
        return found.searcher

    @property
    def nbytes_cached(self) -> int:
        """What the open segments keep, by estimate."""
        with _LOCK:
            kept = list(self._open.values())
        return sum(one.nbytes for one in kept)

    @property
    def num_open(self) -> int:
        """How many segments are open."""
        return len(self._open)

    def _close_some(self, now: Identity) -> None:
        with _LOCK:
            kept = list(self._open.items())
        over = sum(one.nbytes for _, one in kept) - self._cache_nbytes
        for identity, one in kept:
            if over <= 0:
                return
            if identity != now:
                over -= one.nbytes
                with _LOCK:
                    self._open.pop(identity, None)


def open_segment(
    store: Store, manifest: Manifest, entry: IndexEntry, segment: IndexSegment, *, verify: bool = True
) -> _Open:
    """Open a segment with its plug-in. Raises Unsupported when there is none that knows its bytes."""
    plugin: IndexPlugin = INDEXES.get(entry.kind)
    if segment.format > plugin.version:
        raise Unsupported(
            f"the index {entry.name!r} is of version {segment.format} of {entry.kind}, known is {plugin.version}",
            kind="plugin",
            hint="update lance_like",
        )
    files = SegmentReader(store, segment.files, verify=verify)
    kind = entry.value_type(manifest.schema)
    return _Open(plugin.open(Segment(segment.rows, kind, entry.params, segment.detail, files, segment.format)), files)


def _usable(manifest: Manifest) -> Iterator[tuple[IndexEntry, IndexPlugin]]:
    for entry in manifest.indices:
        plugin = plugin_of(entry)
        known = plugin is not None and all(segment.format <= plugin.version for segment in entry.segments)
        if plugin is not None and known and len(entry.field_ids) == 1:
            yield entry, plugin


def plugin_of(entry: IndexEntry) -> IndexPlugin | None:
    """The plug-in of an index; None when it is not known here."""
    try:
        return INDEXES.get(entry.kind)
    except Unsupported:
        return None


def entry_named(manifest: Manifest, name: str) -> IndexEntry:
    """The index of a name. Raises NotFound."""
    for entry in manifest.indices:
        if entry.name == name:
            return entry
    names = ", ".join(repr(entry.name) for entry in manifest.indices)
    hint = f"the indexes are {names}" if names else "there is no index"
    raise NotFound(f"index not found: {name!r} in version {manifest.version}", kind="index", hint=hint)


__all__ = ["CACHE_NBYTES", "OpenIndexes", "entry_named", "open_segment", "plugin_of"]
