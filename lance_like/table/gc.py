"""Removing old versions, and files that no version names (format_spec/commit.md, "Cleanup").

    1. choose the versions to remove            by age, number, tags
    2. announce them                            writers that come now see it
    3. list the files
    4. look for leases and tags again           they keep versions, and the files of running writers
    5. read every version that stays            what they name stays
    6. settle the names and the newest version, remove the roots, then the files

The order of 3, 4 and 5 is what makes it safe beside writers: a file that is listed was written under a lease, and the
lease is still there in 4 or the commit that names the file is seen in 5. Killed at any point it leaves garbage only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Literal, get_args

from lance_like.errors import Corrupt, InvalidInput, NotFound
from lance_like.io.store import Store
from lance_like.table.branches import Branches
from lance_like.table.envelope import MAX_OBJECT
from lance_like.table.fragment import Fragment
from lance_like.table.layout import (
    BRANCH_REFS,
    LEASES,
    LINES,
    TAGS,
    VERSIONS,
    LeaseKind,
    bucket_of,
    is_line,
    version_key,
)
from lance_like.table.lease import Spans, announce, read_leases
from lance_like.table.lines import BranchStore, branch_of, line_of, main_line, place_of
from lance_like.table.manifest import Root, decode_root
from lance_like.table.parts import PartEntry, decode_part
from lance_like.table.reference import Ref
from lance_like.table.refs import Tags
from lance_like.table.snapshot import buckets, latest_version, list_versions, read_ref, read_timestamp

FileKind = Literal["manifest", "data", "transaction", "deletion", "metadata", "temporary", "lease"]

# A file that no version names may belong to a writer without a lease for so long.
UNVERIFIED_US = 7 * 86_400_000_000
# Clocks are set back now and then: a file a little older than a lease may have been written under it.
_SLACK_US = 60_000_000
_ROUND = 256
_KINDS: dict[str, FileKind] = {"txn": "transaction", "del": "deletion"}


@dataclass(frozen=True, slots=True)
class Policy:
    """Which versions go: those that all that is given says.

    older_than_us: made longer ago than this. retain: not among so many newest, of each line. versions: among these.
    all_branches: those of every line, not only of the one at hand.
    delete_unverified: files that no version names go at once. error_if_tagged: a tagged version among them is an error.
    """

    older_than_us: int | None = None
    retain: int | None = None
    versions: tuple[int, ...] | None = None
    delete_unverified: bool = False
    error_if_tagged: bool = True
    all_branches: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """The versions of one line that go. newest: the one that stays in any case."""

    line: Store
    newest: int
    versions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Garbage:
    """An object to remove. unverified: no version that is removed named it either."""

    path: str
    kind: FileKind
    nbytes: int
    unverified: bool = False


@dataclass(frozen=True, slots=True)
class Cleanup:
    """What a cleanup removes, or removed. cuts: of the line at hand, then of others.

    folders: those that may be empty then.
    """

    cuts: tuple[Cut, ...]
    files: tuple[Garbage, ...]
    folders: tuple[str, ...]


def plan_cleanup(store: Store, policy: Policy, *, now_us: int) -> Cleanup:
    """What a cleanup would remove now. now_us: microseconds since 1970. Nothing is written. Raises as `clean`."""
    return _Survey(store, policy, now_us).plan(_choose_all(store, policy, now_us))


def clean(store: Store, policy: Policy) -> Cleanup:
    """Remove old versions of a line, or of all, and files that nothing names any more.

    Raises NotFound without a table, InvalidInput for a tagged version unless the policy allows it, Corrupt when a
    version that stays cannot be read: then nothing is removed.
    Cost: all roots and parts are read once, all folders listed.
    """
    with ExitStack() as stack:
        mine = stack.enter_context(announce(store, ()))
        now_us = store.modified_us(mine.key)
        chosen = _choose_all(store, policy, now_us)
        mine.versions = _spans(chosen[0].versions)
        mine.put()
        others = [stack.enter_context(announce(cut.line, _spans(cut.versions))) for cut in chosen[1:]]
        plan = _Survey(store, policy, now_us).plan(chosen)
        for lease in (mine, *others):
            lease.check()
        _settle(store, plan)
        _remove(store, plan)
    return plan


def _settle(store: Store, plan: Cleanup) -> None:
    """Have a power cut keep what the cleanup saw: who did it may not have synced it."""
    # No name comes back to a version that is gone,
    for folder in (TAGS, BRANCH_REFS):
        main_line(store).settle(f"{folder}/")
    # and none after those that are gone is lost.
    for cut in plan.cuts:
        _settle_newest(cut.line, cut.newest)


def _settle_newest(line: Store, version: int) -> None:
    try:
        line.settle(version_key(version))
    except NotFound:
        # Others have committed, and another cleanup removed what was the newest version.
        newest = latest_version(line)
        if newest is None or newest <= version:
            raise
        _settle_newest(line, newest)


def _remove(store: Store, plan: Cleanup) -> None:
    main = main_line(store)
    roots = [file.path for file in plan.files if file.kind == "manifest"]
    # No power cut brings back a root whose files are gone.
    main.delete(roots)
    main.delete([file.path for file in plan.files if file.kind != "manifest"], durable=False)
    main.delete(plan.folders, durable=False)


def _choose_all(store: Store, policy: Policy, now_us: int) -> tuple[Cut, ...]:
    """Of each line that the policy is about."""
    chosen = [_choose(store, policy, now_us)]
    if policy.all_branches:
        for line in Branches(store).lines().values():
            # A branch that somebody has just deleted has no version.
            with suppress(NotFound):
                if line_of(line) != line_of(store):
                    chosen.append(_choose(line, policy, now_us))
    return tuple(chosen)


def _choose(store: Store, policy: Policy, now_us: int) -> Cut:
    """The versions that the policy lets go, without those that have tags, and the newest."""
    known = list_versions(store)
    if not known:
        raise NotFound("the dataset was not found: no version was ever committed here", kind="dataset", where=store.uri)
    old = known[:-1]
    if policy.retain is not None:
        old = old[: max(0, len(known) - policy.retain)]
    if policy.versions is not None:
        asked = set(policy.versions)
        old = [version for version in old if version in asked]
    # No age at all is any: the clock of a store may be some milliseconds behind that of who committed.
    if policy.older_than_us:
        old = old[: _older(store, old, now_us - policy.older_than_us)]
    tagged = _tagged(store)
    named = sorted(set(old) & tagged.keys())
    if named and policy.error_if_tagged:
        raise InvalidInput(
            f"version {named[0]} has the tag {tagged[named[0]]!r}",
            kind="tag",
            where=store.uri,
            hint="delete the tag, or pass error_if_tagged_old_versions=False to keep tagged versions",
        )
    return Cut(store, known[-1], tuple(version for version in old if version not in tagged))


def _older(store: Store, versions: list[int], moment_us: int) -> int:
    """How many of some versions, ascending, were made before a moment: timestamps strictly increase."""
    low, high = 0, len(versions)
    while low < high:
        middle = (low + high) // 2
        if read_timestamp(store, versions[middle]) < moment_us:
            low = middle + 1
        else:
            high = middle
    return low


def _tagged(store: Store) -> dict[int, str]:
    """The versions of a line that have tags, with the name of one."""
    return {tag.version: name for name, tag in Tags(store).list().items() if tag.branch == branch_of(store)}


def _spans(versions: Iterable[int]) -> Spans:
    spans: list[tuple[int, int]] = []
    for version in versions:
        if spans and spans[-1][1] == version:
            spans[-1] = spans[-1][0], version + 1
        else:
            spans.append((version, version + 1))
    return tuple(spans)


@dataclass
class _Survey:
    """What is there, what is used, and what may go."""

    store: Store
    policy: Policy
    now_us: int
    started_us: int | None = None

    def __post_init__(self) -> None:
        self.main = main_line(self.store)

    def plan(self, chosen: Iterable[Cut]) -> Cleanup:
        listed = [folder + name for folder in ("data/", "_meta/") for name in self.main.list(folder)]
        lines = self._lines()
        temporary = list(self._temporary(lines))
        cuts = self._without_kept(chosen)
        gone = {line_of(cut.line): cut.versions for cut in cuts}
        named = list(Branches(self.main).lines().values())
        known = {line_of(line) for line in named}
        nameless = [line for line in lines if line_of(line) not in known]
        abandoned = [root for line in nameless for root in self._roots_of(line)]
        used, once = _References(self.main), _References(self.main)
        for line in named:
            removed = set(gone.get(line_of(line), ()))
            used.add(line, [version for version in list_versions(line) if version not in removed])
        for line in nameless:
            dead = {root.path for root in abandoned}
            used.add(line, [v for v in list_versions(line) if place_of(line, version_key(v)) not in dead])
        for cut in cuts:
            once.add(cut.line, cut.versions, known=used)
        roots = [place_of(cut.line, version_key(version)) for cut in cuts for version in cut.versions]
        files = [
            *self._sized(roots, "manifest"),
            *abandoned,
            *self._unused([path for path in listed if path not in used.paths], once.paths),
            *self._unverified(temporary, "temporary"),
            *self._ended_leases(),
        ]
        folders = [folder for cut in cuts for folder in _buckets_before(cut.line, cut.newest)]
        folders += [folder for line in nameless for folder in _folders_of(line)]
        return Cleanup(cuts, tuple(files), tuple(folders))

    def _lines(self) -> list[Store]:
        """Every line there is, also those without a name, whose branch is being made or was deleted."""
        names = [name[:-1] for name in self.main.list(f"{LINES}/") if is_line(name[:-1])]
        return [self.main, *(BranchStore(self.main, branch="", line=name) for name in names)]

    def _temporary(self, lines: Iterable[Store]) -> Iterator[str]:
        """The keys of unfinished writes, in every folder of the table."""
        folders = ["data/", "_meta/", f"{LEASES}/", f"{TAGS}/", f"{BRANCH_REFS}/"]
        for line in lines:
            versions = place_of(line, f"{VERSIONS}/")
            folders += [versions, *(versions + f"{bucket:016x}/" for bucket in buckets(line))]
        for folder in folders:
            yield from (folder + name.rstrip("/") for name in self.main.list(folder, temporary=True))

    def _without_kept(self, chosen: Iterable[Cut]) -> tuple[Cut, ...]:
        """What neither a lease nor a tag keeps; call it after the files were listed."""
        leases = [lease for lease in read_leases(self.main, "lease") if lease.is_live(self.now_us)]
        self.started_us = min((lease.started_us for lease in leases), default=None)
        cuts: list[Cut] = []
        for cut in chosen:
            tagged, line = _tagged(cut.line), line_of(cut.line)
            free = (version for version in cut.versions if version not in tagged)
            left = (version for version in free if not any(lease.names(version, line) for lease in leases))
            cuts.append(replace(cut, versions=tuple(left)))
        return tuple(cuts)

    def _roots_of(self, line: Store) -> Iterator[Garbage]:
        """The roots of a line without a name that are to go."""
        return self._unverified([place_of(line, version_key(version)) for version in list_versions(line)], "manifest")

    def _unused(self, paths: Iterable[str], once_used: set[str]) -> Iterator[Garbage]:
        for path in paths:
            kind = "data" if path.startswith("data/") else _KINDS.get(path.rpartition(".")[2], "metadata")
            yield from self._sized([path], kind) if path in once_used else self._unverified([path], kind)

    def _sized(self, paths: Iterable[str], kind: FileKind, *, unverified: bool = False) -> Iterator[Garbage]:
        for path in paths:
            with suppress(NotFound):
                yield Garbage(path, kind, self.main.size(path), unverified)

    def _unverified(self, paths: Iterable[str], kind: FileKind) -> Iterator[Garbage]:
        """What no version names or named: kept while it is young, or was written under a lease that counts."""
        for path in paths:
            with suppress(NotFound):
                written_us = self.main.modified_us(path)
                young = not self.policy.delete_unverified and written_us > self.now_us - UNVERIFIED_US
                held = self.started_us is not None and written_us >= self.started_us - _SLACK_US
                if not young and not held:
                    yield from self._sized([path], kind, unverified=True)

    def _ended_leases(self) -> Iterator[Garbage]:
        ended = [
            lease.key
            for kind in get_args(LeaseKind)
            for lease in read_leases(self.main, kind)
            if not lease.is_live(self.now_us)
        ]
        return self._sized(ended, "lease", unverified=True)


def _buckets_before(store: Store, version: int) -> list[str]:
    """The folders of the buckets that no new version will be in."""
    last = bucket_of(version)
    return [place_of(store, f"{VERSIONS}/{bucket:016x}/") for bucket in buckets(store) if bucket < last]


def _folders_of(line: Store) -> list[str]:
    """The folders of a line, those inside first."""
    inner = [place_of(line, f"{VERSIONS}/{bucket:016x}/") for bucket in buckets(line)]
    return [*inner, place_of(line, f"{VERSIONS}/"), f"{LINES}/{line_of(line)}/"]


class _References:
    """The paths of all that some versions name."""

    def __init__(self, main: Store) -> None:
        self._main = main
        self.paths: set[str] = set()

    def add(self, line: Store, versions: Sequence[int], *, known: _References | None = None) -> None:
        """Note what versions of a line name; those that are gone meanwhile name nothing. Raises Corrupt.

        known: what others name, for versions that are to go: that is not read, and what is damaged names nothing.
        """
        if known is not None:
            self.paths |= known.paths
        for start in range(0, len(versions), _ROUND):
            some = versions[start : start + _ROUND]
            for version, data in zip(some, line.read([version_key(v) for v in some], limit=MAX_OBJECT), strict=True):
                try:
                    if data is not None:
                        self._add_root(decode_root(data, place_of(line, version_key(version)), version=version))
                except Corrupt:
                    # A part is missing where another cleanup removes the version.
                    if known is None and version in list_versions(line):
                        raise

    def _add_root(self, root: Root) -> None:
        self.paths.add(root.schema_ref.path)
        if isinstance(root.transaction, Ref):
            self.paths.add(root.transaction.path)
        self._add_items((*root.parts, *root.tail))
        for segment in (segment for entry in root.indices for segment in entry.segments):
            self.paths.update(file.key for file in segment.files)
            self._add_ref(segment.row_ids.ref)
            self._add_ref(segment.invalid and segment.invalid.ref)

    def _add_items(self, items: Iterable[Fragment | PartEntry]) -> None:
        for item in items:
            if isinstance(item, Fragment):
                self._add_fragment(item)
            elif item.ref.path not in self.paths:
                self.paths.add(item.ref.path)
                found = decode_part(read_ref(self._main, item.ref), item.ref.path, level=item.level)
                self._add_items(found)

    def _add_fragment(self, fragment: Fragment) -> None:
        self.paths.update(file.key for file in fragment.files)
        self._add_ref(fragment.lineage.ref)
        self._add_ref(fragment.deletions and fragment.deletions.ref)

    def _add_ref(self, ref: Ref | None) -> None:
        if ref is not None:
            self.paths.add(ref.path)


__all__ = ["Cleanup", "Cut", "FileKind", "Garbage", "Policy", "clean", "plan_cleanup"]
