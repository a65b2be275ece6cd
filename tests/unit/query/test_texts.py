"""Texts that hold a text, and lower case: the same answers as one by one, whatever lies between and behind them."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lance_like.query import engine_duckdb, evaluate, texts

LETTERS = st.text("abé日 %_K", max_size=8)
KINDS = st.sampled_from([pa.string(), pa.large_string()])


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at few bytes at a time, as at the many of a page."""
    monkeypatch.setattr(texts, "_LEAST_NBYTES", 0)
    monkeypatch.setattr(texts, "_PIECE_NBYTES", 7)
    monkeypatch.setattr(texts, "_MOST_PLACES", 1.0)
    monkeypatch.setattr(texts, "_FEW_PLACES", 0.3)


def hidden_nulls(values: list[str], valid: list[bool], kind: pa.DataType) -> pa.Array:
    """Texts, some of them null, with letters behind the nulls."""
    whole = pa.array(values, kind)
    bitmap = pa.py_buffer(np.packbits(np.array(valid, bool), bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [bitmap, *whole.buffers()[1:]])


@given(st.lists(st.tuples(LETTERS, st.booleans()), max_size=30), LETTERS, KINDS, st.data())
def test_texts_that_hold_a_text_are_found_wherever_it_lies(rows, wanted, kind, data):
    array = hidden_nulls([text for text, _ in rows], [valid for _, valid in rows], kind)
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(rows))] * 2)))
    expected = [wanted in text if valid else None for text, valid in rows[start:end]]
    assert texts.containing(array.slice(start, end - start), wanted).to_pylist() == expected


@given(st.lists(st.one_of(st.none(), LETTERS), max_size=20), KINDS)
def test_lower_case_is_that_of_arrow(values, kind):
    array = pa.array(values, kind)
    assert texts.lowered(array).equals(pc.utf8_lower(array))
    assert texts.is_ascii(array) == all(value.isascii() for value in values if value)


@given(
    st.lists(st.one_of(st.none(), LETTERS), max_size=20),
    st.text("ab%_K", max_size=6),
    st.sampled_from(["LIKE", "ILIKE"]),
)
def test_patterns_match_what_duckdb_says(values, pattern, word):
    batch = pa.record_batch({"t": pa.array(values, pa.string())})
    text = f"t {word} '{pattern}'"
    condition = evaluate.prepare(text, batch.schema)
    assert condition is not None
    answers = engine_duckdb.evaluate({"x": text}, batch).column(0)
    assert evaluate.mask(condition, batch).to_pylist() == answers.to_pylist()


def test_arrow_is_asked_where_most_bytes_begin_what_is_looked_for(monkeypatch):
    monkeypatch.undo()
    asked: list[str] = []
    real = pc.match_substring
    monkeypatch.setattr(pc, "match_substring", lambda array, text: (asked.append(text), real(array, text))[1])
    many = pa.array([f"{i} eee eee {i * i}" for i in range(30_000)])
    for wanted in ("99", "e", "ee", "123", "no", ""):
        assert texts.containing(many, wanted).to_pylist() == [wanted in text for text in many.to_pylist()]
    assert asked == ["e", "ee", ""]


def test_only_texts_with_the_longest_literal_are_matched_whole(monkeypatch):
    rows: list[int] = []
    real = pc.match_substring_regex
    monkeypatch.setattr(
        pc, "match_substring_regex", lambda array, text: (rows.append(len(array)), real(array, text))[1]
    )
    batch = pa.record_batch({"t": [f"a{i} b{i % 10}c" for i in range(1000)] + [None]})
    condition = evaluate.prepare("t LIKE 'a%9 b9_'", batch.schema)
    assert condition is not None
    expected = [bool(re.fullmatch("a.*9 b9.", text)) for text in batch["t"].to_pylist()[:-1]]
    assert evaluate.mask(condition, batch).to_pylist() == [*expected, None]
    assert rows == [100]
