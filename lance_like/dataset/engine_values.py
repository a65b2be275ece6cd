"""Values as DuckDB computes them, in types that it does not have: durations from intervals, UUIDs from texts."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

from lance_like.encodings.physical import valid_of

_INTERVAL = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
_DAY_NS = 86_400 * 10**9
_UNIT_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


def durations_of(intervals: pa.Array, kind: pa.DurationType) -> pa.Array:
    """Intervals of months, days and nanoseconds as durations; a day is 24 hours.

    Raises ValueError for one with months, one out of range, and one that the unit cannot tell.
    """
    data = intervals.buffers()[1]
    raw = np.zeros(0, _INTERVAL) if data is None else np.frombuffer(data, _INTERVAL)
    raw, valid = raw[intervals.offset :][: len(intervals)], valid_of(intervals)
    raw = np.where(valid, raw, np.zeros(1, _INTERVAL))
    if raw["months"].any():
        raise ValueError("an interval of months has no length")
    days, rest = raw["days"].astype(np.int64), raw["nanoseconds"]
    if (np.abs(days * float(_DAY_NS) + rest) >= 2.0**63).any():
        raise ValueError("an interval is out of range")
    total = days * _DAY_NS + rest
    if (total % _UNIT_NS[kind.unit]).any():
        raise ValueError(f"a part of an interval would be lost in {kind}")
    return pa.array(total // _UNIT_NS[kind.unit], mask=~valid).cast(kind)


def uuids_of(texts: pa.Array) -> pa.Array:
    """UUIDs from their texts: binary[16]. Raises ValueError for another text."""
    found = texts.to_pylist()
    wrong = next((text for text in found if text is not None and _UUID.fullmatch(text) is None), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r:.80} is no UUID")
    return pa.array([None if text is None else bytes.fromhex(text.replace("-", "")) for text in found], pa.binary(16))


__all__ = ["durations_of", "uuids_of"]
