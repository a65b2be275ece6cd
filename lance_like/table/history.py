"""Which version: by number, by tag, by time; and the list of all (format_spec/commit.md, "History")."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from lance_like.errors import InvalidInput, NotFound
from lance_like.io.store import Store
from lance_like.table.foreign import no_dataset
from lance_like.table.refs import Tags
from lance_like.table.snapshot import latest_version, list_versions, read_history_entry

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

AsOf = datetime | str | int
"""A moment: a datetime or ISO text (without a zone: local time), or nanoseconds since 1970 UTC."""


def resolve(store: Store, version: int | str | None = None, *, asof: AsOf | None = None) -> int:
    """The number of the version that is meant.

    version: a number, the name of a tag, or None for the newest. asof: the newest version at that moment.
    Raises NotFound: no dataset here (naming the format of a foreign one), no such version or tag, none so old.
    Cost: 2 listings; asof: all listings and O(log versions) roots.
    """
    if version is not None and asof is not None:
        raise InvalidInput("version and asof were both given", kind="arguments", hint="give one of them")
    newest = latest_version(store)
    if newest is None:
        raise no_dataset(store)
    if asof is not None:
        return _as_of(store, _microseconds(asof))
    if version is None:
        return newest
    if isinstance(version, str):
        return Tags(store).get_version(version)
    if isinstance(version, bool) or not isinstance(version, int):
        raise InvalidInput(f"version={version!r}: expected a number or the name of a tag", kind="arguments")
    if version == newest:
        return newest
    known = list_versions(store)
    if version not in known:
        raise NotFound(
            f"version {version} does not exist",
            kind="version",
            where=store.uri,
            hint=f"there are {len(known):,} versions, from {known[0]} to {known[-1]}",
        )
    return version


def versions(store: Store) -> list[dict[str, Any]]:
    """All versions, oldest first: {"version", "timestamp" (UTC), "metadata" (texts about the commit)}.

    Cost: every root is read.
    """
    found: list[dict[str, Any]] = []
    for version in list_versions(store):
        timestamp_us, record = read_history_entry(store, version)
        about = {"kind": record.kind, "uuid": record.uuid, "read_version": str(record.read_version)}
        if record.message is not None:
            about["message"] = record.message
        moment = _EPOCH + timedelta(microseconds=timestamp_us)
        found.append({"version": version, "timestamp": moment, "metadata": {**record.properties, **about}})
    return found


def _as_of(store: Store, moment_us: int) -> int:
    """The newest version not after a moment. Timestamps strictly increase, so a binary search finds it."""
    known = list_versions(store)
    low, high = 0, len(known)
    while low < high:
        middle = (low + high) // 2
        if read_history_entry(store, known[middle])[0] <= moment_us:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        first = _EPOCH + timedelta(microseconds=read_history_entry(store, known[0])[0])
        raise NotFound(
            "there was no version yet at that moment",
            kind="version",
            where=store.uri,
            hint=f"the oldest, {known[0]}, is of {first.isoformat()}",
        )
    return known[low - 1]


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
    # Not timestamp(): a float holds no microseconds of this century exactly.
    return (moment.astimezone(timezone.utc) - _EPOCH) // timedelta(microseconds=1)


__all__ = ["AsOf", "resolve", "versions"]
