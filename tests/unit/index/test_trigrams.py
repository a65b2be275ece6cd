"""Which trigrams a text must have to match: never one too many, against DuckDB's LIKE, ILIKE and RE2."""

import sys
import types
import warnings
from itertools import pairwise

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from lance_like.errors import InvalidInput
from lance_like.index.questions import Answer, Contains, IsNull, Like, Matches, OneOf, StartsWith
from lance_like.index.scalar import trigrams
from lance_like.index.scalar.folding import folded, folded_text
from lance_like.index.scalar.ngram import Ngram
from lance_like.index.scalar.trigrams import AllOf, AnyOf, required_by
from lance_like.testing.indexes import build

EVERY_CHARACTER = [chr(i) for i in range(1, 0x110000) if not 0xD800 <= i < 0xE000]


def _number(trigram):
    return int.from_bytes(trigram.encode(), "big")


def _all(*trigrams):
    return AllOf(frozenset(map(_number, trigrams)))


def test_characters_that_lower_case_makes_equal_are_folded_to_one():
    with duckdb.connect() as engine:
        characters = pa.table({"c": EVERY_CHARACTER})
        lower = [c for (c,) in engine.execute("SELECT lower(c) FROM characters").fetchall()]
    assert len(characters) == len(lower)
    before, after = _folded(EVERY_CHARACTER), _folded(lower)
    assert [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] == []


@pytest.mark.slow
def test_characters_that_a_regular_expression_takes_for_each_other_are_folded_to_one():
    cased = [c for c in EVERY_CHARACTER[:0x20000] if c.lower() != c or c.upper() != c]
    rows_of_texts = pa.table({"c": cased})
    with duckdb.connect() as engine:
        for character in cased:
            found = engine.execute(
                "SELECT c FROM rows_of_texts WHERE regexp_full_match(c, ?)", ["(?i)" + character]
            ).fetchall()
            assert {folded_text(other) for (other,) in found} <= {folded_text(character)}
    assert len(rows_of_texts) > 2000


def _folded(texts):
    data = "".join(texts).encode()
    offsets = np.cumsum([0, *(len(text.encode()) for text in texts)])
    out, bounds = folded(np.frombuffer(data, np.uint8), offsets)
    return [out[start:end].tobytes() for start, end in pairwise(bounds)]


def test_texts_folded_together_are_those_folded_alone():
    texts = ["", "ABC", "K", "İx", "日本", "", "Straße ẞ", "a😀B", "Ⱥ", "z"]
    assert _folded(texts) == [folded_text(text) for text in texts]
    assert folded_text("ÄKİſΣς") == "äkisσσ".encode()


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(InvalidInput):
        folded(np.frombuffer(b"a\xff\xfe", np.uint8), np.array([0, 3]))


@pytest.mark.parametrize(
    "question, required",
    [
        (Contains("abc"), _all("abc")),
        (Contains("ABCD"), _all("abc", "bcd")),
        (Contains("ab"), None),
        (Contains("日"), AllOf(frozenset([0xE697A5]))),
        (StartsWith("Abc"), _all("abc")),
        (Like("%abc%_xyz_%q"), _all("abc", "xyz")),
        (Like("a!%bc%", "!"), _all("a%b", "%bc")),
        (Like("%ab%cd%"), None),
        (OneOf(pa.array(["abc"])), None),
        (IsNull(), None),
        (Matches("abc"), _all("abc")),
        (Matches("^abc$", whole=True), _all("abc")),
        (Matches("a(bc)d"), _all("abc", "bcd")),
        (Matches("ab.cde"), _all("cde")),
        (Matches("abc*de"), None),
        (Matches("(abc)+de"), _all("abc", "bcd", "cde")),
        (Matches("(?i)ABC"), _all("abc")),
        (Matches("(?i:ab)c"), _all("abc")),
        (Matches("x?abc"), _all("abc")),
        (Matches("abc|xyz"), AnyOf((_all("abc"), _all("xyz")))),
        (Matches("abc|x"), None),
        (Matches("[[:alpha:]]bcd"), None),
        (Matches("(?x) a b c"), None),
        (Matches("a\\Qbcd\\E"), None),
        (Matches("\\pLabc"), None),
        (Matches("(abc"), None),
        (Matches("[a-z]{3}"), None),
        (Matches("(abc){2,}"), _all("abc")),
    ],
)
def test_what_a_pattern_requires(question, required):
    assert required_by(question) == required
    answer = Ngram().answers(pa.string(), {}, question)
    assert answer is (Answer.NO if required is None else Answer.SUPERSET)


@pytest.mark.parametrize("pattern", ["(?a)(?u)abc", "\\ud800abc", "\udcffabc", "(" * 3000 + "abc" + ")" * 3000])
def test_nothing_is_required_by_a_pattern_that_cannot_be_read(pattern):
    assert required_by(Matches(pattern)) is None


@pytest.mark.parametrize("pattern", ["[[ab]cde", "[^[ab]cde", "[a--b]cde", "[a&&b]cde", "abc(?i)de", "abc[a||b]"])
def test_nobody_is_warned_of_what_python_thinks_of_a_pattern(pattern):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert required_by(Matches(pattern)) is None
    assert heard == []


@pytest.mark.parametrize(
    "parse",
    [
        lambda _: [("LITERAL",)],
        lambda _: [("LITERAL", "a"), ("LITERAL", "b"), ("LITERAL", "c")],
        lambda _: [("SUBPATTERN", None)],
        lambda _: [("BRANCH", [])],
        lambda _: None,
        None,
    ],
    ids=["short", "texts", "nothing-below", "no-branches", "no-tree", "no-parser"],
)
def test_without_a_parser_that_is_known_nothing_is_required(parse, monkeypatch):
    parsers = () if parse is None else ("parser_of_another_python",)
    module = types.ModuleType("parser_of_another_python")
    module.parse = parse
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(trigrams, "_PARSERS", parsers)
    trigrams._required_by_regex.cache_clear()
    assert required_by(Matches("abcd")) is None
    trigrams._required_by_regex.cache_clear()


def test_branches_with_parts_in_common_are_taken_apart():
    found = required_by(Matches("pre(abc|xyz)post"))
    assert isinstance(found, AllOf)
    assert found.trigrams >= {_number("pre"), _number("pos"), _number("ost")}
    assert found.parts == (AnyOf((_all("abc"), _all("xyz"))),)


def test_no_row_that_duckdb_finds_is_left_out():
    random = np.random.default_rng(0)
    letters = "abAB kKssSſ日本é.%_"
    texts = ["".join(random.choice(list(letters), random.integers(0, 14))) for _ in range(1500)]
    searcher = build(Ngram(), pa.array(texts), {}).open()
    table = pa.table({"t": texts, "n": range(len(texts))})
    patterns = [
        "abk",
        "a+bks",
        "(ab|kk)ss",
        "(?i)kss",
        "ab[kK]ss",
        "(abk)?ssk",
        "a.b.k",
        "ks{2,3}",
        "日本+é",
        "ab(?:k|日本|é)s*",
    ]
    with duckdb.connect() as engine:
        engine.register("rows_of_texts", table)

        def rows(condition, argument):
            found = engine.execute(f"SELECT n FROM rows_of_texts WHERE {condition}", [argument]).fetchall()
            return {n for (n,) in found}

        for i in range(150):
            text = texts[i]
            part = text[len(text) // 3 : len(text) // 3 + 4]
            if required_by(Contains(part)) is not None:
                assert rows("contains(t, ?)", part) <= set(searcher.rows(Contains(part)))
            pattern = f"%{part}%{text[-2:]}"
            if required_by(Like(pattern)) is not None:
                assert rows("t LIKE ?", pattern) <= set(searcher.rows(Like(pattern)))
                assert rows("t ILIKE ?", pattern) <= set(searcher.rows(Like(pattern, ignore_case=True)))
        for pattern in patterns:
            if required_by(Matches(pattern)) is not None:
                assert rows("regexp_matches(t, ?)", pattern) <= set(searcher.rows(Matches(pattern)))
