"""Parts of statements: where they came from, and where they begin and end."""

from __future__ import annotations

import pytest

from lance_like.query.statement_text import Text, closing, outside, parts
from lance_like.query.statements_duckdb import statements, words

pytest.importorskip("duckdb")


def test_parts_know_where_they_were_written():
    text = Text.of("select é, b from t")
    made = "with x as (" + text.cut(7, 12) + ") " + text.replaced([(7, 9, "a longer name"), (11, 12, "")])
    assert str(made) == "with x as (é, b) select a longer name,  from t"
    assert text.data[made.origin(str(made).encode().index(b"from"))] == ord("f")
    assert made.origin(3) is None
    assert made.written == text.data


def test_words_are_without_comments_and_spaces():
    text = Text.of("select 'a''b' /* 'c' */ , \"d\"\"e\" -- f\n, $$g;h$$ from é;")
    assert [word.text for word in words(text)] == ["select", "'a''b'", ",", '"d""e"', ",", "$$g;h$$", "from", "é", ";"]
    assert [word.name for word in words(text)][1:4:2] == ["a'b", 'd"e']
    for word in words(text):
        assert text.data[word.start : word.end].decode() == word.text


@pytest.mark.parametrize(
    ("written", "keywords", "found"),
    [
        ("a = (select b from c) from d", ["FROM"], 8),
        ("a is distinct from b from c", ["FROM"], 5),
        ("case when a then b end when", ["WHEN"], 6),
        ("[1, {'from': 2}] \"from\" from x", ["FROM"], 10),
        ("a + b", ["FROM"], 3),
    ],
)
def test_a_keyword_in_brackets_begins_no_clause(written, keywords, found):
    assert outside(words(Text.of(written)), 0, *keywords) == found


def test_lists_are_cut_at_their_own_commas():
    found = words(Text.of("(a, f(b, [1, 2]), case when x then 1, end)"))
    assert closing(found, 0) == len(found) - 1
    cut = [" ".join(word.text for word in found[start:end]) for start, end in parts(found, 1, len(found) - 1)]
    assert cut == ["a", "f ( b , [ 1 , 2 ] )", "case when x then 1 , end"]


def test_statements_are_told_apart():
    text = "select ';'; ; delete from t where a = $$;$$ -- ;\n; alter table t add column c int default 1; pivot t on a;"
    kinds = [(str(piece).strip().split()[0], kind) for piece, kind in statements(Text.of(text))]
    assert kinds == [("select", "SELECT"), ("delete", "DELETE"), ("alter", "ALTER"), ("pivot", "SELECT")]
    assert statements(Text.of("-- nothing")) == []
