"""The only writer of manifests (format_spec/commit.md).

    1. apply the action to the newest version      pure
    2. write the new parts under fresh names        invisible until 3
    3. publish the root if its name is free         the commit
    4. taken? judge what was committed since, then 1 on the newest version, or ask for the action again, or stop

A commit that fails leaves only objects that no manifest names. A lost answer is looked up, never repeated blindly.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from operator import is_not

import xxhash

from lance_like.errors import (
    AlreadyExists,
    CommitUnknown,
    Conflict,
    IncompatibleChange,
    InvalidInput,
    LanceLikeError,
    NotFound,
)
from lance_like.io.store import Store, discard
from lance_like.table.actions import Action, Restore
from lance_like.table.apply import Stamp, apply, bound
from lance_like.table.conflicts import Verdict, judge
from lance_like.table.deletions import Deletions, encode_deletions
from lance_like.table.envelope import MAX_BODY
from lance_like.table.fragment import Fragment
from lance_like.table.indices import IndexEntry, IndexSegment, encode_row_runs
from lance_like.table.layout import PartKind, begins_bucket, new_part_key, new_uuid, version_key
from lance_like.table.lease import Lease, hold, removed, replaced
from lance_like.table.lineage import encode_lineage
from lance_like.table.manifest import (
    Manifest,
    Transaction,
    check_writable,
    encode_root,
    encode_transaction,
    is_inline,
)
from lance_like.table.parts import Part, Tree, encode_part
from lance_like.table.reference import Ref
from lance_like.table.schema_part import encode_schema
from lance_like.table.snapshot import is_there, latest_version, list_versions, read_manifest, read_transaction

Change = Action | Callable[[Manifest | None], Action]

# The answer to a request may be lost although it was carried out; other errors of the system mean it was not.
_ANSWER_LOST = frozenset(
    {
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.EPIPE,
        errno.ENETRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ESTALE,
        errno.EINTR,
    }
)
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.25


def commit(
    store: Store,
    base: Manifest | None,
    change: Change,
    *,
    message: str | None = None,
    properties: Mapping[str, str] | None = None,
    retries: int = 10,
    timeout_s: float = 300.0,
    lease: Lease | None = None,
    transaction: str | None = None,
    strict: bool = False,
) -> Manifest:
    """Make a change durable and visible as the next version, all of it or none.

    base: the version the change was made for; None to create a table.
    change: an action, or a function from a version to an action, called again with the newest version when
    another writer's commit asks for it, at most retries times.
    timeout_s: how long an action is brought onto newer versions before the commit gives up.
    lease: keeps what the change was made from, and its files; None: the commit holds one of its own.
    transaction: 32 hexadecimal digits that name the change; None: new ones. If a version after base carries them, the
    change was committed before, and that version is returned.
    strict: the version after base or none: whatever another writer has committed since is a Conflict.
    Returns the version made. Its parts and all files it names are durable.
    Raises AlreadyExists (create), Conflict (retryable), IncompatibleChange, CommitUnknown, StorageError; InvalidInput
    or NotFound if the change does not fit base. Nothing is changed except perhaps with CommitUnknown.
    """
    if message is not None and not isinstance(message, str):
        raise InvalidInput(f"the message of a commit is text, not a {type(message).__name__}")
    if not all(isinstance(text, str) for pair in (properties or {}).items() for text in pair):
        raise InvalidInput("the properties of a commit are texts with texts for names")
    with nullcontext(lease) if lease or base is None else _held(store, base, change) as held:
        run = _Commit(
            store=store,
            transaction=transaction or new_uuid(),
            is_named=transaction is not None,
            change=change,
            lease=held,
            message=message,
            properties=dict(properties or {}),
            reruns_left=retries,
            deadline=time.monotonic() + timeout_s,
            strict=strict,
        )
        return run.publish(base)


def begin(store: Store, manifest: Manifest, record: Transaction) -> Manifest:
    """Publish a version, of any number, as the first of a table: a clone. Its parts are written with it.

    record: what is to be said of it; it gets a uuid. Raises AlreadyExists.
    """
    run = _Commit(
        store=store,
        transaction=new_uuid(),
        is_named=False,
        change=_no_change,
        lease=None,
        message=None,
        properties={},
        reruns_left=0,
        deadline=time.monotonic(),
    )
    _check_empty(store, [])
    try:
        made, root = run._write_parts(replace(manifest, transaction=replace(record, uuid=run.transaction)))
        done = run._put_root(made.version, root)
        # A writer that began a table here meanwhile goes first.
        _check_empty(store, [made.version] if done else [])
    except AlreadyExists:
        run.written.append(version_key(manifest.version))
        run._discard()
        raise
    except Exception:
        run._discard()
        raise
    return made


def _check_empty(store: Store, known: list[int]) -> None:
    if list_versions(store) != known:
        raise AlreadyExists(
            "a dataset already exists here", kind="dataset", where=store.uri, hint="choose another place"
        )


def _no_change(base: Manifest | None) -> Action:
    raise AssertionError("a clone is not made again")


@contextmanager
def _held(store: Store, base: Manifest, change: Change) -> Iterator[Lease]:
    """A lease on what must be there until a change is committed: the versions whose files it reads or names.

    Raises Conflict as `hold`, and where a version of the same number is another's: someone removed the table, and wrote
    one anew in its place, in which the files that base names are not.
    """
    needed = (base, change.source) if isinstance(change, Restore) else (base,) if callable(change) else ()
    with hold(store, *(manifest.version for manifest in (base, *needed)), look=False) as lease:
        for manifest in needed or (base,):
            there = is_there(store, manifest.version, manifest.digest)
            if there is None and needed:
                raise removed(store, manifest.version)
            if there is False:
                raise replaced(store, manifest.version)
        yield lease


def committed(store: Store, transaction: str, after: int, newest: int) -> Manifest | None:
    """The version that a transaction made, among those after one up to another. Cost: their roots."""
    for version in range(after + 1, newest + 1):
        # A version that a cleanup removed is no answer here; a commit that must judge it raises.
        with suppress(NotFound):
            if read_transaction(store, version).uuid == transaction:
                return read_manifest(store, version)
    return None


@dataclass
class _Commit:
    """One commit on its way: what its tries share."""

    store: Store
    transaction: str
    is_named: bool
    change: Change
    lease: Lease | None
    message: str | None
    properties: dict[str, str]
    reruns_left: int
    deadline: float
    strict: bool = False
    read_version: int = 0
    rebased: bool = False
    written: list[str] = field(default_factory=list)

    def publish(self, base: Manifest | None) -> Manifest:
        action = self._make(base)
        for tries in count(1):
            newest = self._newest(base)
            if newest != (base.version if base else 0):
                after = base.version if base else 0
                earlier = committed(self.store, self.transaction, after, newest) if self.is_named else None
                if earlier is not None:
                    return earlier
                base, action = self._follow(base, newest, action)
            try:
                manifest, root = self._write_parts(self._apply(base, action))
                if base is not None and begins_bucket(manifest.version):
                    # Who committed the base may not have synced its name yet, and this one goes to another folder.
                    # Gone: others have committed since, and publishing finds that out.
                    with suppress(NotFound):
                        self.store.settle(version_key(base.version))
                if self.lease is not None:
                    self.lease.check()
            except Exception:
                self._discard()
                raise
            if self._put_root(manifest.version, root):
                return manifest
            self._discard()
            if tries > 1:
                self._pause(tries - 1)
        raise AssertionError("unreachable: count() does not end")

    def _newest(self, base: Manifest | None) -> int:
        """The newest version, 0 if there is none: looked up, unless the lease knows that the base was it.

        Then publishing finds out whether it is still.
        """
        if base is not None and self.lease is not None:
            known, self.lease.newest = self.lease.newest, None
            if known == base.version and self.lease.is_young:
                return base.version
        return latest_version(self.store) or 0

    def _make(self, base: Manifest | None) -> Action:
        """The action for a version, from the caller."""
        if base is not None:
            check_writable(base)
        self.read_version = base.version if base else 0
        self.rebased = False
        return bound(base, self.change(base) if callable(self.change) else self.change)

    def _follow(self, base: Manifest | None, newest: int, action: Action) -> tuple[Manifest, Action]:
        """The newest version and an action that fits it, judged against every version since base."""
        if base is None:
            raise AlreadyExists(
                "a dataset already exists here",
                kind="dataset",
                where=self.store.uri,
                hint='append to it (mode="append"), or replace it (mode="overwrite")',
            )
        if newest < base.version:
            raise self._conflict(f"version {base.version} is gone, the newest is {newest}: the table was replaced")
        if self.strict:
            raise self._conflict(
                f"Commit conflict for version {base.version + 1}: it is another writer's, and retries are not wanted"
            )
        try:
            theirs = [read_transaction(self.store, v) for v in range(base.version + 1, newest + 1)]
            latest = read_manifest(self.store, newest, known=base)
        except NotFound as error:
            raise self._conflict(f"a version after {base.version} was removed, so it cannot be judged") from error
        check_writable(latest)
        verdicts = [judge(action, record, base=base, newest=latest) for record in theirs]
        if Verdict.STOP in verdicts:
            place = verdicts.index(Verdict.STOP)
            raise IncompatibleChange(
                f"{action.kind} of version {self.read_version} cannot follow {theirs[place].kind} "
                f"(version {base.version + 1 + place})",
                kind="conflict",
                where=self.store.uri,
                hint="open the newest version and decide anew",
            )
        if Verdict.RERUN not in verdicts:
            self.rebased = True
            return latest, action
        if not callable(self.change) or self.reruns_left <= 0:
            raise self._conflict(f"{action.kind} of version {self.read_version} must be made again from {newest}")
        self.reruns_left -= 1
        return latest, self._make(latest)

    def _apply(self, base: Manifest | None, action: Action) -> Manifest:
        stamp = Stamp(
            uuid=self.transaction,
            timestamp_us=time.time_ns() // 1000,
            read_version=self.read_version,
            message=self.message,
            properties=self.properties,
        )
        try:
            return apply(base, action, stamp)
        except (InvalidInput, NotFound) as error:
            if not self.rebased:
                raise
            raise IncompatibleChange(
                f"{action.kind} of version {self.read_version} does not fit the newest version: {error.message}",
                kind="conflict",
                where=self.store.uri,
                hint="open the newest version and decide anew",
            ) from error

    def _write_parts(self, manifest: Manifest) -> tuple[Manifest, bytes]:
        """Write every part that is new. Returns the manifest that names them, and its root."""
        if manifest.schema_ref is None:
            manifest = replace(manifest, schema_ref=self._put_part("schema", encode_schema(manifest.schema)))
        tree = manifest.tree
        parts = tuple(self._written(part) for part in tree.parts)
        tail = tuple(self._settled(fragment) for fragment in tree.tail)
        indices = tuple(self._settled_index(entry) for entry in manifest.indices)
        if any(map(is_not, (*parts, *tail, *indices), (*tree.parts, *tree.tail, *manifest.indices))):
            manifest = replace(manifest, tree=Tree(parts, tail), indices=indices)
        transaction: Ref | None = None
        if not is_inline(manifest.transaction):
            transaction = self._put_part("txn", encode_transaction(manifest.transaction))
        root = _checked_size(encode_root(manifest, transaction))
        return replace(manifest, digest=xxhash.xxh3_64_intdigest(root)), root

    def _written(self, part: Part) -> Part:
        if part.stored is not None:
            return part
        items = tuple(self._settled(item) if isinstance(item, Fragment) else self._written(item) for item in part.items)
        return part.written(self._put_part("part", encode_part(part, items)), items)

    def _settled(self, fragment: Fragment) -> Fragment:
        """The fragment with what is too long to stand in it in parts of its own."""
        line, deletions = fragment.lineage, self._settled_bitmap(fragment.deletions)
        if not line.is_inline and line.ref is None:
            line = replace(line, ref=self._put_part("rows", encode_lineage(line.runs)))
        if line is fragment.lineage and deletions is fragment.deletions:
            return fragment
        return replace(fragment, lineage=line, deletions=deletions)

    def _settled_bitmap(self, bitmap: Deletions | None) -> Deletions | None:
        if bitmap is None or bitmap.ref is not None or bitmap.is_inline:
            return bitmap
        assert bitmap.data is not None
        return replace(bitmap, ref=self._put_part("del", encode_deletions(bitmap.data)))

    def _settled_index(self, entry: IndexEntry) -> IndexEntry:
        segments = tuple(self._settled_segment(segment) for segment in entry.segments)
        return replace(entry, segments=segments) if any(map(is_not, segments, entry.segments)) else entry

    def _settled_segment(self, segment: IndexSegment) -> IndexSegment:
        """The segment with what is too long to stand in the root in parts of its own."""
        rows = segment.row_ids
        if rows.ref is None and not rows.is_inline:
            rows = replace(rows, ref=self._put_part("idx", encode_row_runs(rows.runs)))
        invalid = self._settled_bitmap(segment.invalid)
        if rows is segment.row_ids and invalid is segment.invalid:
            return segment
        return replace(segment, row_ids=rows, invalid=invalid)

    def _put_part(self, kind: PartKind, data: bytes) -> Ref:
        key = new_part_key(kind)
        self.written.append(key)
        self.store.put(key, [_checked_size(data)])
        return Ref(key, len(data), xxhash.xxh3_64_intdigest(data))

    def _put_root(self, version: int, root: bytes) -> bool:
        """Publish. Returns False if another writer has this version."""
        try:
            self.store.put_if_absent(version_key(version), root)
        except AlreadyExists:
            # A store that repeats a request itself may meet its own object.
            return self._is_mine(version, None)
        except (InvalidInput, NotFound):
            raise
        except OSError as error:
            return self._is_mine(version, error)
        return True

    def _is_mine(self, version: int, error: OSError | None) -> bool:
        """Read the version back. Raises error itself if nothing was published, CommitUnknown if that is not known."""
        refused = error is not None and error.errno is not None and error.errno not in _ANSWER_LOST
        try:
            mine = read_transaction(self.store, version).uuid == self.transaction
        except NotFound:
            if error is None:
                raise self._conflict(f"version {version} was taken and then removed") from None
            if refused:
                self._discard()
                raise error from None
            raise self._unknown(version, "it is not there now, but may still arrive") from error
        except (LanceLikeError, OSError) as unreadable:
            if error is None:
                raise
            raise self._unknown(version, f"reading it back failed: {unreadable}") from error
        if mine and refused:
            # Visible, yet the store says that it could not make it durable.
            raise self._unknown(version, f"it is visible, but may not outlive a power cut: {error}") from error
        return mine

    def _discard(self) -> None:
        """Remove the parts of a try that was lost."""
        discard(self.store, self.written)
        self.written.clear()

    def _pause(self, tries: int) -> None:
        if time.monotonic() > self.deadline:
            raise self._conflict(f"other writers were first {tries} times")
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(tries, 10))
        time.sleep(random.uniform(0, longest))

    def _conflict(self, message: str) -> Conflict:
        hint = "open the newest version and try again"
        return Conflict(message, kind="conflict", where=self.store.uri, hint=hint)

    def _unknown(self, version: int, why: str) -> CommitUnknown:
        return CommitUnknown(
            f"the store did not say whether version {version} was written: {why}",
            transaction=self.transaction,
            where=self.store.uri,
            hint="look for this transaction in versions() before trying again",
        )


def _checked_size(data: bytes) -> bytes:
    if len(data) > MAX_BODY:
        raise InvalidInput(f"a metadata object of {len(data):,} bytes is over the limit", kind="limit")
    return data


__all__ = ["Change", "begin", "commit", "committed"]
