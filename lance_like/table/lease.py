"""Leases: who uses versions now, so that no cleanup removes them (format_spec/commit.md, "Leases").

A lease is a small object that its holder writes anew now and then and removes at the end; one that was not written
for a long time, by the clock of the store, or whose holder is known to be dead, counts no more. A cleanup writes an
object of the same kind that names the versions it removes. Each first writes its own, then looks for those of the
other, so at least one of two that meet sees the other.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache

from lance_like.errors import Conflict, Corrupt, LanceLikeError, NotFound
from lance_like.file.layout import parse_json
from lance_like.io.store import Store
from lance_like.locks import lock_over_forks
from lance_like.table import shape
from lance_like.table.envelope import pack_envelope, unpack_envelope
from lance_like.table.layout import LEASES, MAX_VERSION, LeaseKind, is_line, lease_kind, new_lease_key, version_key
from lance_like.table.lines import line_of
from lance_like.typing_ import Json

MAGIC = b"LLLS"
# A lease is written anew this often, and counts no more when it was not for so long.
BEAT_S = 60.0
STALE_US = 600_000_000
_MAX_NBYTES = 16 << 20

Spans = tuple[tuple[int, int], ...]
"""Half-open intervals of versions."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process. host: where its number means something, None when that is not known; born: when it began there."""

    host: str | None
    pid: int
    born: str

    @property
    def is_dead(self) -> bool:
        """Is it known that there is no such process any more? False for those of other machines."""
        return self.host is not None and self.host == _host() and _born(self.pid) != self.born

    @property
    def is_me(self) -> bool:
        """Is it this process?"""
        return self.host is not None and self == _me()


def _me() -> Holder:
    return _process(os.getpid())


@cache
def _process(pid: int) -> Holder:
    return Holder(_host(), pid, _born(pid))


@cache
def _host() -> str | None:
    """This run of this machine, and the namespace of its process numbers; None where that cannot be found out."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _born(pid: int) -> str:
    """When a process of this machine began, in its own words; "" when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except OSError:
        return ""


@dataclass(eq=False)
class Lease:
    """A lease that this process holds.

    versions: what it keeps or, of a cleanup, removes. newest: the newest version, if it was looked up under the lease:
    no cleanup removes a version after it, so a name that is free there was never taken.
    """

    store: Store
    key: str
    versions: Spans
    started_us: int | None = None
    newest: int | None = None
    _written_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: bool = False

    @property
    def is_young(self) -> bool:
        """Was it written a short while ago, so that no cleanup takes its holder for dead?"""
        return 0 <= time.time() - self._written_s < BEAT_S

    def check(self) -> None:
        """Raise Conflict when the lease is gone: a cleanup took its holder for dead, and may have removed files, or the
        table was removed."""
        try:
            self.store.size(self.key)
        except NotFound as error:
            raise Conflict(
                "this writer's lease is gone: a cleanup has not heard of it for too long, or the table was removed",
                kind="lease",
                where=self.store.uri,
                hint="open the newest version and try again",
            ) from error

    def keep_from(self, version: int) -> None:
        """Keep a version and all that follow it, instead of those so far."""
        self.versions = ((version, MAX_VERSION),)
        self.put()

    def put(self) -> None:
        """Write it, for the first time or anew."""
        me = _me()
        body = {
            "versions": self.versions,
            "line": line_of(self.store),
            "started_us": self.started_us,
            "holder": [me.host, me.pid, me.born],
        }
        self._written_s = time.time()
        self.store.put(self.key, [pack_envelope(MAGIC, shape.dump(body))], durable=False)

    def beat(self) -> None:
        """Say that the holder is alive. One that was removed stays removed: `check` finds it."""
        with self._lock, suppress(LanceLikeError, OSError):
            if not self._over:
                written_us = self.store.modified_us(self.key)
                self.started_us = self.started_us or written_us
                self.put()

    def end(self) -> None:
        """Remove it; what cannot be removed counts no more after a while."""
        with self._lock:
            self._over = True
        with suppress(LanceLikeError, OSError):
            self.store.delete([self.key], durable=False)


_LOCK = lock_over_forks()


class _Heart:
    """The leases of this process, and the thread that writes them anew."""

    def __init__(self) -> None:
        self.held: dict[str, Lease] = {}
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease) -> None:
        with _LOCK:
            self.held[lease.key] = lease
            idle = self._thread is None
            if idle:
                self._thread = threading.Thread(target=self._run, name="lance_like-leases", daemon=True)
        if idle and self._thread is not None:
            self._thread.start()

    def remove(self, lease: Lease) -> None:
        with _LOCK:
            self.held.pop(lease.key, None)

    def forget(self) -> None:
        """Of a forked process: the leases are its parent's, and it has no thread."""
        self.held, self._thread = {}, None

    def _run(self) -> None:
        waiting = threading.Event()
        known: set[str] = set()
        while True:
            waiting.wait(BEAT_S)
            with _LOCK:
                held = dict(self.held)
            # Most leases are held for less than a beat: those of the last one only are written anew.
            for key in known & held.keys():
                held[key].beat()
            known = set(held)


_HEART = _Heart()
os.register_at_fork(after_in_child=_HEART.forget)


@contextmanager
def hold(store: Store, *versions: int, look: bool = True) -> Iterator[Lease]:
    """Keep versions of a line, and all that follow them, from every cleanup while the block runs.

    Files written in the block are kept too.
    look: see that the versions are there; False when the block does so, or needs none of their files.
    Raises Conflict (retryable) when a cleanup has removed one of them, or is about to.
    Cost: a write that is not synced, a listing, a look at each version, and a removal.
    """
    with _held(store, "lease", ((min(versions), MAX_VERSION),)) as lease:
        removing = _removing(store, lease)
        for version in versions:
            if any(start <= version < end for start, end in removing) or (look and _is_gone(store, version)):
                raise removed(store, version)
        yield lease


@contextmanager
def hold_from(store: Store, version: int) -> Iterator[Lease]:
    """Keep what follows a version while the block runs, and the version itself if it is there.

    Whoever looks up the newest version in the block need not look for cleanups: one that does not see the lease has
    announced versions that were older then. Cost: a write that is not synced, and a removal.
    """
    with _held(store, "lease", ((version, MAX_VERSION),)) as lease:
        yield lease


def removed(store: Store, version: int) -> Conflict:
    """The error for a version that is no more."""
    hint = "open the newest version and try again"
    return Conflict(f"a cleanup removes version {version}, or has", kind="removed", where=store.uri, hint=hint)


def replaced(store: Store, version: int) -> Conflict:
    """The error for a version that is another's: someone removed the table, and wrote one anew in its place."""
    message = f"version {version} is another one than was opened: the table was replaced"
    return Conflict(message, kind="conflict", where=store.uri, hint="open it anew")


@contextmanager
def announce(store: Store, removed: Spans) -> Iterator[Lease]:
    """Say that versions are about to be removed, for as long as the block runs."""
    with _held(store, "cleanup", removed) as lease:
        yield lease


@contextmanager
def _held(store: Store, kind: LeaseKind, versions: Spans) -> Iterator[Lease]:
    lease = Lease(store, new_lease_key(kind), versions)
    try:
        lease.put()
        _HEART.add(lease)
        yield lease
    finally:
        _HEART.remove(lease)
        lease.end()


def _removing(store: Store, mine: Lease) -> Spans:
    """The versions of a line that cleanups at work say will go."""
    announced = [found for found in read_leases(store, "cleanup") if found.line == line_of(store)]
    now_us = store.modified_us(mine.key) if announced else 0
    return tuple(span for found in announced if found.is_live(now_us) for span in found.versions)


def _is_gone(store: Store, version: int) -> bool:
    try:
        store.size(version_key(version))
    except NotFound:
        return True
    return False


@dataclass(frozen=True, slots=True)
class FoundLease:
    """A lease as it lies in the store. Times: microseconds since 1970 by the clock of the store.

    versions, line: what it keeps or removes. holder: None when its bytes are damaged; it then keeps all there is.
    """

    key: str
    versions: Spans
    line: str | None
    started_us: int
    written_us: int
    holder: Holder | None

    def is_live(self, now_us: int) -> bool:
        """Does it count?"""
        if now_us - self.written_us >= STALE_US:
            return False
        if self.holder is None:
            return True
        return self.key in _HEART.held if self.holder.is_me else not self.holder.is_dead

    def names(self, version: int, line: str | None) -> bool:
        """Is a version of a line among its own?"""
        mine = self.holder is None or self.line == line
        return mine and any(start <= version < end for start, end in self.versions)


def read_leases(store: Store, kind: LeaseKind) -> list[FoundLease]:
    """The leases of a kind, live or not; those that end meanwhile are left out. Cost: a listing, two looks each."""
    found: list[FoundLease] = []
    for name in store.list(f"{LEASES}/"):
        if lease_kind(name) == kind:
            with suppress(NotFound):
                found.append(_read(store, f"{LEASES}/{name}"))
    return found


def _read(store: Store, key: str) -> FoundLease:
    written_us = store.modified_us(key)
    [data] = store.read([key], limit=_MAX_NBYTES)
    if data is None:
        raise NotFound(f"the lease {key!r} has ended", where=store.uri)
    try:
        body = shape.mapping(parse_json(unpack_envelope(MAGIC, data, key), key), key)
        started_us = shape.member(body, "started_us", key)
        return FoundLease(
            key,
            shape.intervals(body, "versions", key, high=MAX_VERSION),
            _line(body, key),
            written_us if started_us is None else shape.integer(body, "started_us", key),
            written_us,
            _holder(body, key),
        )
    except Corrupt:
        # It is not synced, so a power cut may leave it in any state.
        return FoundLease(key, ((0, MAX_VERSION),), None, 0, written_us, None)


def _line(body: dict[str, Json], key: str) -> str | None:
    line = shape.member(body, "line", key)
    return line if line is None or is_line(shape.clean_text(line, "'line'", key)) else shape.refuse(line, "a line", key)


def _holder(body: dict[str, Json], key: str) -> Holder:
    found = shape.array(body, "holder", key)
    if len(found) != 3 or type(found[1]) is not int or type(found[2]) is not str:
        shape.refuse(found, "a host, a process and its beginning", key)
    host = found[0] if found[0] is None else shape.clean_text(found[0], "a host", key)
    return Holder(host, found[1], found[2])


__all__ = [
    "FoundLease",
    "Holder",
    "Lease",
    "Spans",
    "announce",
    "hold",
    "hold_from",
    "read_leases",
    "removed",
    "replaced",
]
