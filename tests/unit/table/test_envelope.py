"""JSON in an envelope: packed, not packed, and neither."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lance_like.errors import Corrupt, LanceLikeError
from lance_like.table import envelope
from lance_like.table.envelope import DICTIONARY, MAX_PACKED, inflate, pack_envelope, pack_json, unpack_json

MAGIC = b"LLMF"


@given(st.binary(max_size=5_000))
def test_a_body_comes_back(body: bytes) -> None:
    assert unpack_json(MAGIC, pack_json(MAGIC, body), "here") == body
    assert unpack_json(MAGIC, pack_envelope(MAGIC, body), "here") == body


def test_a_packed_body_is_told_by_its_magic() -> None:
    packed = pack_json(MAGIC, b'{"version":1}')
    assert packed[:4] == b"llmf"
    for data in (packed, pack_envelope(MAGIC, b"{}")):
        with pytest.raises(Corrupt) as caught:
            unpack_json(b"LLPT", data, "here")
        assert caught.value.kind == "magic"


def test_what_roots_have_in_common_takes_few_bytes() -> None:
    names = json.dumps({"metadata": {}, "config": {}, "indices": [], "next_row_id": 1}, separators=(",", ":")).encode()
    assert len(pack_json(MAGIC, names)) < len(names)


def test_a_body_over_the_limit_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b" " * 1_000
    monkeypatch.setattr(envelope, "MAX_PACKED", 999)
    data = pack_json(MAGIC, body)
    assert data == pack_envelope(MAGIC, body)
    assert unpack_json(MAGIC, data, "here") == body


def test_no_more_is_unpacked_than_announced() -> None:
    bomb = struct.pack("<I", 100) + zlib.compress(b" " * 50_000_000)
    tracemalloc.start()
    with pytest.raises(Corrupt) as caught:
        inflate(bomb, "here", limit=MAX_PACKED)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert (caught.value.kind, caught.value.where) == ("length", "here")


@given(st.binary(max_size=200), st.integers(0, 300))
def test_damaged_streams_are_refused_or_whole(noise: bytes, at: int) -> None:
    body = pack_json(MAGIC, DICTIONARY[:300])[16:-8]
    wrong = body[:at] + noise + body[at + len(noise) :]
    try:
        assert inflate(wrong, "here", limit=MAX_PACKED, dictionary=DICTIONARY) == DICTIONARY[:300]
    except LanceLikeError as error:
        assert isinstance(error, Corrupt)
        assert error.where == "here"
