"""What the fuzzer found, each as the smallest file that shows it: refused or answered before any memory is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from handmade import Column, Page, make_file
from target import KEY, read_everything

from lance_like.errors import Corrupt
from lance_like.file.reader import FileReader, open_file
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore

ROWS = 10
HUGE = (1 << 31) - 1
INT64 = {"name": "item", "type": "int64", "nullable": True}
NULLS = {"e": "constant", "n": ROWS, "x": None}
HUGE_LIST = {"t": "fixed_size_list", "size": HUGE, "item": INT64}
HUGE_CELLS = {"t": "fixed_size_binary", "size": HUGE}
HUGE_BOOLS = {"t": "fixed_size_list", "size": HUGE, "item": {**INT64, "type": "bool"}}


def file_of(kind: Any, description: Any, page: bytes = b"", *, nullable: bool = True) -> bytes:
    field = {"name": "c", "type": kind, "nullable": nullable}
    return make_file([Column(field, [Page(description, page, ROWS)], null_rows=range(ROWS))], num_rows=ROWS)


READS: dict[str, Callable[[FileReader, Any], Any]] = {
    "rows": lambda reader, kind: reader.read_rows(0, kind, np.array([3, 1])),
    "span": lambda reader, kind: reader.read_span(0, kind, 0, ROWS),
}


def refusal(data: bytes, read: str) -> Corrupt:
    """How one kind of read is refused, after the type of the column was read."""
    store = MemoryStore()
    store.put(KEY, [data])
    reader = drive(store, KEY, open_file(KEY, len(data)))
    with pytest.raises(Corrupt) as caught:
        drive(store, KEY, READS[read](reader, drive(store, KEY, reader.field(0)).type))
    return caught.value


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("kind", [HUGE_LIST, HUGE_BOOLS], ids=["numbers", "bits"])
def test_nulls_of_an_enormous_type_are_refused(kind: Any, read: str) -> None:
    assert refusal(file_of(kind, NULLS), read).kind == "limit"


@pytest.mark.parametrize("kind", [HUGE_LIST, HUGE_BOOLS, HUGE_CELLS], ids=["numbers", "bits", "cells"])
def test_zones_of_an_enormous_type_take_no_memory(kind: Any) -> None:
    data = file_of(kind, NULLS)
    store = MemoryStore()
    store.put(KEY, [data])
    reader = drive(store, KEY, open_file(KEY, len(data)))
    zones = drive(store, KEY, reader.zones(0, drive(store, KEY, reader.field(0)).type))
    assert zones.nulls.tolist() == [ROWS]
    assert zones.mins.null_count == zones.maxs.null_count == 1
    assert zones.mins.nbytes + zones.maxs.nbytes < 100


@pytest.mark.parametrize("read", READS)
def test_a_width_that_does_not_fit_an_int32_of_bits_is_not_taken_for_another(read: str) -> None:
    error = refusal(file_of(HUGE_CELLS, {"e": "plain", "n": ROWS, "b": [[0, 400]]}, bytes(400)), read)
    assert error.kind == "page"


def test_a_column_of_nulls_that_may_not_be_null_is_refused() -> None:
    data = file_of("null", NULLS, nullable=False)
    store = MemoryStore()
    store.put(KEY, [data])
    reader = drive(store, KEY, open_file(KEY, len(data)))
    with pytest.raises(Corrupt, match="null may not be null"):
        drive(store, KEY, reader.field(0))
    assert read_everything(data) == 0
