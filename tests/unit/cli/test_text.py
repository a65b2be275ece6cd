"""Words and tables for people."""

from __future__ import annotations

import pytest

from lance_like.cli.text import count, cut, nbytes, table


def test_a_table_is_aligned_whatever_the_width_of_its_letters():
    text = table(("name", "n"), [["日本", "5"], ["e\u0301", "1,234"]], right=(False, True))
    assert text.splitlines() == ["name      n", "────  ─────", "日本      5", "e\u0301     1,234"]


def test_cells_are_cut_and_stay_in_their_line():
    assert cut("a" * 50, 10) == "a" * 9 + "…"
    assert cut("日" * 50, 10) == "日日日日…"
    assert cut("a\nb\x1b[31m") == "a�b�[31m"


@pytest.mark.parametrize("number, text", [(0, "0 pages"), (1, "1 page"), (1234, "1,234 pages")])
def test_numbers_have_their_word(number, text):
    assert count(number, "page") == text


@pytest.mark.parametrize(
    "size, text", [(0, "0 B"), (1023, "1,023 B"), (1024, "1.0 KiB"), (3 << 40, "3.0 TiB"), (1 << 60, "1048576.0 TiB")]
)
def test_sizes_have_a_fitting_unit(size, text):
    assert nbytes(size) == text
