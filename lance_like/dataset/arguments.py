"""What callers of a handle may pass: checked here, so that the methods stay short."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa

from lance_like.errors import InvalidInput, Unsupported, WrongType
from lance_like.typing_ import Int64s, T, whole

Order = Literal["asc", "desc"]

# pylance's options of tables that change nothing here.
_TABLE_HINTS = frozenset(
    {
        "allow_external_blob_outside_bases",
        "blob_pack_file_size_threshold",
        "block_size",
        "data_cache_bytes",
        "data_storage_version",
        "enable_stable_row_ids",
        "enable_v2_manifest_paths",
        "index_cache_size",
        "max_page_bytes",
        "read_params",
        "session",
        "use_legacy_format",
    }
)
# Those that would, with what is here instead.
_TABLE_UNSUPPORTED = {
    "initial_bases": "data files of a table lie in its own place, or in those of tables it was cloned from",
    "namespace_client": "pass the uri and storage_options that the namespace gives",
    "table_id": "pass the uri that the namespace gives",
    "target_all_bases": "data files are written to the table's own place",
    "target_bases": "data files are written to the table's own place",
}

_INSERT_OPTIONS = frozenset(
    {
        "commit_message",
        "max_bytes_per_file",
        "max_rows_per_file",
        "max_rows_per_group",
        "progress",
        "schema",
        "transaction_properties",
    }
)


def uuid_digits(name: str, given: Any) -> str:
    """A uuid as 32 hexadecimal digits. Raises InvalidInput."""
    plain = str(given).replace("-", "").lower()
    if len(plain) != 32 or not set(plain) <= set("0123456789abcdef"):
        raise InvalidInput(f"{name}={given!r:.80}: expected 32 hexadecimal digits")
    return plain


def segments_of(given: Any) -> frozenset[str] | None:
    """The uuids of segments of an index, from texts or `uuid.UUID`s; None for None. Raises InvalidInput, WrongType."""
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise WrongType(f"index_segments={given!r:.80}: expected several uuids, not a single one")
    return frozenset(uuid_digits("index_segments", one) for one in given)


def check_table_hints(hints: Mapping[str, Any], call: str) -> None:
    """Raise InvalidInput unless all are options of pylance's, Unsupported for one that asks for what is not here."""
    for name, value in hints.items():
        if name in _TABLE_UNSUPPORTED:
            if value not in (None, False):
                raise Unsupported(f"{name}={value!r:.80} is not supported", kind="api", hint=_TABLE_UNSUPPORTED[name])
        elif name not in _TABLE_HINTS:
            raise InvalidInput(f"{name!r} is not an option of {call}")


def check_insert_options(options: Mapping[str, Any]) -> None:
    """Raise InvalidInput unless all are options of `LanceDataset.insert`."""
    unknown = sorted(set(options) - _INSERT_OPTIONS)
    if unknown:
        raise InvalidInput(f"{unknown[0]!r} is not an option of insert", hint=f"known: {sorted(_INSERT_OPTIONS)}")


def in_order(named: Mapping[str, T], by: str, order: Order | None) -> list[tuple[str, T]]:
    """Named things by one of their numbers, "desc" unless it says otherwise, those of one number by name."""
    if order not in (None, "asc", "desc"):
        raise InvalidInput(f"order={order!r}: expected 'asc' or 'desc'")
    return sorted(named.items(), key=lambda item: cast("Any", item[1])[by] * (1 if order == "asc" else -1))


def not_here(name: str, hint: str) -> Unsupported:
    """The error of a method that pyarrow's datasets have and this one has not."""
    return Unsupported(f"LanceDataset has no {name!r} of pyarrow.dataset.Dataset", kind="api", hint=hint)


def texts(name: str, values: Any) -> tuple[str, ...]:
    """Names that a caller lists. Raises InvalidInput unless they are texts in a list."""
    is_list = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
    listed: tuple[Any, ...] = tuple(values) if is_list else (None,)
    if not all(isinstance(one, str) for one in listed):
        raise InvalidInput(f"{name}={values!r:.80}: expected a list of names")
    return listed


def integers(values: Any) -> Int64s:
    """Rows that a caller names, as int64[n]. Raises InvalidInput unless they are integers in a list."""
    array = values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else np.asarray(values)
    if array.dtype == object and array.ndim == 1:
        numbers = [whole(value, -(1 << 63)) for value in array]
        array = array if None in numbers else np.array(numbers)
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidInput(f"rows are asked for by {array.ndim}-dimensional {array.dtype}: expected integers in a list")
    return array.astype(np.int64, copy=False)


__all__ = ["Order", "check_insert_options", "check_table_hints", "in_order", "integers", "not_here", "texts"]
