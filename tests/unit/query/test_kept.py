"""What is kept for the next call."""

from __future__ import annotations

from lance_like.query.kept import Kept


def test_what_was_used_longest_ago_goes_first() -> None:
    kept: Kept[str] = Kept(10)
    kept.put("a", "A", 4)
    kept.put("b", "B", 4)
    assert kept.get("a") == "A"
    kept.put("c", "C", 4)
    assert (kept.get("a"), kept.get("b"), kept.get("c"), kept.size) == ("A", None, "C", 8)


def test_what_is_put_again_counts_once() -> None:
    kept: Kept[str] = Kept(10)
    kept.put("a", "A", 8)
    kept.put("a", "B", 9)
    assert (kept.get("a"), kept.size) == ("B", 9)


def test_what_is_larger_than_the_limit_is_not_kept() -> None:
    kept: Kept[str] = Kept(10)
    kept.put("a", "A", 3)
    kept.put("b", "B", 11)
    assert (kept.get("a"), kept.get("b"), kept.size) == ("A", None, 3)
