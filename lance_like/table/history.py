"""Which version: by number, by tag, by time; and the list of all (format_spec/commit.md, "History")."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from lance_like.errors import InvalidInput, NotFound
from lance_like.io.store import Store
from lance_like.table.branches import Branches
from lance_like.table.foreign import no_dataset
from lance_like.table.layout import MAX_VERSION, version_key
from lance_like.table.lease import Lease, hold_from, replaced
from lance_like.table.lines import branch_of
from lance_like.table.manifest import Manifest, Transaction
from lance_like.table.refs import Tags
from lance_like.table.snapshot import (
    buckets,
    is_there,
    latest_version,
    list_versions,
    read_heads,
    read_manifest,
    read_timestamp,
    versions_in,
)
from lance_like.typing_ import whole

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

AsOf = datetime | str | int
"""A moment: a datetime or ISO text (without a zone: local time), or nanoseconds since 1970 UTC."""


Reference = int | str | tuple[str | None, int | None]
"""A version: a number on the line at hand; the name of a tag; or a branch and a number on it.

In a pair None or "main" stands for the table itself, and None in the place of the number for the newest.
"""


def locate(store: Store, reference: Reference | None = None, *, asof: AsOf | None = None) -> tuple[Store, int]:
    """The line and the number of the version that is meant. Raises as `resolve`, also for branches and tags."""
    if reference is not None and asof is not None:
        raise InvalidInput("version and asof were both given", kind="arguments", hint="give one of them")
    if not isinstance(reference, str | tuple):
        return store, resolve(store, _number(reference), asof=asof)
    if isinstance(reference, str):
        return Tags(store).locate(reference)
    if len(reference) != 2 or not isinstance(reference[0], str | None):
        raise _no_reference(reference)
    line = Branches(store).open(reference[0])
    return line, resolve(line, _number(reference[1]))


def read_version(
    store: Store, reference: Reference | None = None, *, asof: AsOf | None = None, known: Manifest | None = None
) -> tuple[Store, Manifest]:
    """The version that is meant, and its line. known: as `read_manifest` takes it. Raises as `locate`.

    Cost: as `locate` and `read_manifest`; a number is not looked up before it is read.
    """
    if asof is None and type(reference) is int and 1 <= reference <= MAX_VERSION:
        # One that is not there is looked up, which says what there is.
        with suppress(NotFound):
            return store, read_manifest(store, reference, known=known)
    line, number = locate(store, reference, asof=asof)
    return line, read_manifest(line, number, known=known)


def _number(value: object) -> int | None:
    number = whole(value, -MAX_VERSION)
    if number is None and value is not None:
        raise _no_reference(value)
    return number


def _no_reference(value: object) -> InvalidInput:
    expected = "a number or the name of a tag, or a pair of a branch and a number"
    return InvalidInput(f"version={value!r}: expected {expected}", kind="arguments")


def resolve(store: Store, version: int | None = None, *, asof: AsOf | None = None) -> int:
    """The number of the version that is meant, on one line.

    version: a number, or None for the newest. asof: the newest version at that moment.
    Raises NotFound: no dataset here (naming the format of a foreign one), no such version, none so old.
    Cost: None: 2 listings; a number: 1 request; asof: O(log versions) listings and roots.
    """
    if asof is not None:
        return _as_of(store, _microseconds(asof))
    return _newest(store) if version is None else _existing(store, version)


def newest_if_any(store: Store) -> int | None:
    """The number of the newest version, None where there is no table yet. Raises NotFound for a branch that is gone."""
    return latest_version(store) if branch_of(store) is None else resolve(store)


@contextmanager
def newest_held(
    store: Store, version: int | None = None, *, known: Manifest | None = None
) -> Iterator[tuple[Manifest, Lease]]:
    """The newest version, kept from every cleanup while the block runs.

    version: its number, if it was just looked up. known: as `read_manifest` takes it. Raises NotFound, as `resolve`;
    Conflict where the table of known is no longer there, but another in its place.
    """
    lowest = version or (known.version if known else resolve(store))
    with hold_from(store, lowest) as lease:
        lease.newest = number = resolve(store)
        if number > lowest:
            lease.keep_from(number)
        newest = read_manifest(store, number, known=known)
        if number < lowest or (known is not None and _is_replaced(store, known, newest)):
            raise replaced(store, lowest)
        yield newest, lease


def _is_replaced(store: Store, known: Manifest, newest: Manifest) -> bool:
    """Whether the newest version is of another table. Cost: the root of the known version, if it is an older one."""
    if newest.version <= known.version:
        return newest is not known
    return is_there(store, known.version, known.digest) is False


def versions(store: Store) -> list[dict[str, Any]]:
    """All versions, oldest first, each as `described`. Cost: every root is read, 256 a round."""
    return [
        described(head.version, head.timestamp_us, head.transaction)
        for bucket in buckets(store)
        for head in read_heads(store, versions_in(store, bucket))
    ]


def described(version: int, timestamp_us: int, record: Transaction) -> dict[str, Any]:
    """One version: {"version", "timestamp" (UTC), "metadata" (texts about the commit)}."""
    about = {"kind": record.kind, "uuid": record.uuid, "read_version": str(record.read_version)}
    if record.message is not None:
        about["message"] = record.message
    return {"version": version, "timestamp": moment(timestamp_us), "metadata": {**record.properties, **about}}


def _newest(store: Store) -> int:
    newest = latest_version(store)
    if newest is None:
        raise _missing(store)
    return newest


def _existing(store: Store, version: int) -> int:
    """The version itself, if it is there."""
    if 1 <= version <= MAX_VERSION:
        with suppress(NotFound):
            store.size(version_key(version))
            return version
    newest = _newest(store)
    known = list_versions(store)
    hint = f"there are {len(known):,} versions, from {known[0]} to {newest}"
    if 1 <= version < newest:
        hint += "; a cleanup removes old ones, but not those that a tag or ds.lease() keeps"
    raise NotFound(f"version {version} does not exist", kind="version", where=store.uri, hint=hint)


def _as_of(store: Store, moment_us: int) -> int:
    """The newest version not after a moment. Timestamps strictly increase, so binary searches find it.

    First the bucket, by its oldest version; a cleanup leaves buckets without any. Then the version, among those there.
    """
    candidates = buckets(store)
    while len(candidates) > 1:
        middle = len(candidates) // 2
        numbers = versions_in(store, candidates[middle])
        if not numbers:
            del candidates[middle]
        elif read_timestamp(store, numbers[0]) > moment_us:
            candidates = candidates[:middle]
        else:
            candidates = candidates[middle:]
    numbers = versions_in(store, candidates[0]) if candidates else []
    after = bisect_right(numbers, moment_us, key=lambda number: read_timestamp(store, number))
    if after == 0:
        raise _too_early(store)
    return numbers[after - 1]


def _too_early(store: Store) -> NotFound:
    known = list_versions(store)
    if not known:
        return _missing(store)
    oldest = moment(read_timestamp(store, known[0]))
    return NotFound(
        "there was no version yet at that moment",
        kind="version",
        where=store.uri,
        hint=f"the oldest, {known[0]}, is of {oldest.isoformat()}",
    )


def moment(timestamp_us: int) -> datetime:
    """A moment in UTC from microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=timestamp_us)


def _microseconds(moment: AsOf) -> int:
    if isinstance(moment, int) and not isinstance(moment, bool):
        return moment // 1000
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
        except ValueError as error:
            raise InvalidInput(
                f"asof={moment!r} is not a moment",
                kind="arguments",
                hint="write 2026-01-31 or 2026-01-31T12:00:00+00:00",
            ) from error
    if not isinstance(moment, datetime):
        raise InvalidInput(f"asof={moment!r}: expected a datetime, ISO text or nanoseconds", kind="arguments")
    if moment.tzinfo is None:
        # As a plain one: that of pandas knows no zone of this place.
        moment = datetime.combine(moment.date(), moment.time())
    # Not timestamp(): a float holds no microseconds of this century exactly.
    return (moment.astimezone(timezone.utc) - _EPOCH) // timedelta(microseconds=1)


def _missing(store: Store) -> NotFound:
    """The error where a line has no version."""
    if branch_of(store) is None:
        return no_dataset(store)
    hint = "it was deleted"
    return NotFound(f"the branch {branch_of(store)!r} has no version", kind="branch", where=store.uri, hint=hint)


__all__ = [
    "AsOf",
    "Reference",
    "described",
    "locate",
    "moment",
    "newest_held",
    "newest_if_any",
    "read_version",
    "resolve",
    "versions",
]
