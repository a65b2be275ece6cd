"""What a table has done by itself after every so many versions, when its configuration asks for it.

`lance.auto_cleanup.interval`: remove old versions after each version that this number divides, those older than
`lance.auto_cleanup.older_than` ("14d", "1h 30m", "90s") or not among `lance.auto_cleanup.retain_versions`.
`lance_like.auto_compact.interval`: compact, at most 1 GiB of fragments at a time.
`lance_like.auto_index.rows`: extend each index that does not answer for more than so many rows, after any version.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict

from lance_like.errors import InvalidInput, LanceLikeError
from lance_like.typing_ import whole

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

CLEANUP = "lance.auto_cleanup."
COMPACT = "lance_like.auto_compact."
INDEX = "lance_like.auto_index."
# A write waits for it: a table that was left alone for long is compacted by and by.
_COMPACTED_NBYTES = 1 << 30
# A number and a unit, as pylance writes and reads them.
_AGE = re.compile(r"\s*(\d+)\s*([A-Za-z]+)\s*")
_UNITS_US = {
    **dict.fromkeys(("us", "usec"), 1),
    **dict.fromkeys(("ms", "msec"), 1_000),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1_000_000),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60_000_000),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3_600_000_000),
    **dict.fromkeys(("d", "day", "days"), 86_400_000_000),
    **dict.fromkeys(("w", "week", "weeks"), 604_800_000_000),
    **dict.fromkeys(("M", "month", "months"), 2_630_016_000_000),
    **dict.fromkeys(("y", "year", "years"), 31_557_600_000_000),
}


class AutoCleanupConfig(TypedDict, total=False):
    """When old versions are removed: after every so many versions, and how old they are then."""

    interval: int
    older_than_seconds: int


def auto_cleanup(options: AutoCleanupConfig) -> dict[str, str]:
    """The configuration of a table that removes old versions by itself: by default after 20 versions, at 14 days.

    Raises InvalidInput.
    """
    if not isinstance(options, Mapping) or not options.keys() <= AutoCleanupConfig.__annotations__.keys():
        raise InvalidInput(f"{options!r}: expected 'interval' and 'older_than_seconds'", kind="config")
    interval, seconds = options.get("interval", 20), options.get("older_than_seconds", 14 * 86_400)
    check_interval(interval)
    if whole(seconds) is None:
        raise InvalidInput(f"older_than_seconds={seconds!r}: expected a number from 0 on", kind="config")
    return {CLEANUP + "interval": f"{interval}", CLEANUP + "older_than": f"{seconds}s"}


def check_interval(interval: int) -> None:
    """Raise InvalidInput unless this is a number of versions."""
    if whole(interval, 1) is None:
        raise InvalidInput(f"interval={interval!r}: expected a number of versions, from 1 on", kind="config")


def tidy(dataset: LanceDataset) -> None:
    """Do what the configuration asks for after the version of a handle, which was just committed.

    What fails is a warning, and keeps nothing else from being done: the version is committed all the same.
    """
    config = dataset._manifest.config
    if not config:
        return
    version = dataset.version
    for work in (_compact, _extend_indexes, _clean):
        try:
            work(dataset, config, version)
        except (LanceLikeError, OSError) as error:
            warnings.warn(
                f"version {version} is committed; what the table does by itself failed: {error}", stacklevel=3
            )


def _compact(dataset: LanceDataset, config: Mapping[str, str], version: int) -> None:
    if _is_due(config, COMPACT, version):
        dataset.optimize.compact_files(max_source_bytes=_COMPACTED_NBYTES)


def _clean(dataset: LanceDataset, config: Mapping[str, str], version: int) -> None:
    if _is_due(config, CLEANUP, version):
        age, retain = config.get(CLEANUP + "older_than"), config.get(CLEANUP + "retain_versions")
        dataset.cleanup_old_versions(
            None if age is None else parse_age(age),
            None if retain is None else _number(retain),
            error_if_tagged_old_versions=False,
        )


def _extend_indexes(dataset: LanceDataset, config: Mapping[str, str], version: int) -> None:
    """Have the indexes that do not answer for more than so many rows do so."""
    if INDEX + "rows" not in config:
        return
    manifest, indexes, rows = dataset._manifest, dataset._session.indexes, _number(config[INDEX + "rows"])
    behind = [
        entry.name
        for entry, _ in indexes.usable(manifest)
        if indexes.coverage(manifest, entry.name).uncovered_rows > rows
    ]
    if not behind:
        return
    try:
        dataset.optimize.optimize_indices(index_names=behind)
    except InvalidInput:
        # A value that one of them cannot take, such as a text that is no JSON, keeps no other one behind.
        for name in behind if len(behind) > 1 else ():
            with suppress(InvalidInput):
                dataset.optimize.optimize_indices(index_names=[name])
        raise


def parse_age(text: str) -> timedelta:
    """The duration that a text such as "14d", "14days" or "1h 30m" says. Raises InvalidInput."""
    found = _AGE.findall(text)
    if not found or "".join(_AGE.split(text)[::3]) or any(unit not in _UNITS_US for _, unit in found):
        raise InvalidInput(f"{text!r} is no duration", kind="config", hint='write "14d", "1h 30m" or "90s"')
    try:
        return timedelta(microseconds=sum(int(number) * _UNITS_US[unit] for number, unit in found))
    except (OverflowError, ValueError) as error:
        raise InvalidInput(f"{text!r:.80} is too long a duration", kind="config") from error


def _is_due(config: Mapping[str, str], prefix: str, version: int) -> bool:
    interval = config.get(prefix + "interval")
    return interval is not None and version % max(1, _number(interval)) == 0


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise InvalidInput(f"{text!r} is no number", kind="config")
    return int(text)


__all__ = ["CLEANUP", "COMPACT", "INDEX", "AutoCleanupConfig", "auto_cleanup", "check_interval", "parse_age", "tidy"]
