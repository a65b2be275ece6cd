"""What a table does by itself after every so many versions."""

from __future__ import annotations

from datetime import timedelta

import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.dataset.upkeep import parse_age
from lance_like.errors import InvalidInput


def numbers(ds: LanceDataset) -> list[int]:
    return [found["version"] for found in ds.versions()]


def test_nothing_is_done_unless_it_is_asked_for(uri):
    ds = lance_like.write_dataset({"a": [0]}, uri)
    for number in range(5):
        ds.insert({"a": [number]})
    assert (len(numbers(ds)), len(ds.get_fragments())) == (6, 6)


def test_old_versions_go_at_every_interval(uri):
    ds = lance_like.write_dataset({"a": [0]}, uri)
    ds.tags.create("first")
    ds.optimize.enable_auto_cleanup({"interval": 4, "older_than_seconds": 0})
    ds.insert({"a": [1]})
    assert numbers(ds) == [1, 2, 3]
    ds = lance_like.write_dataset({"a": [2]}, uri, mode="append")
    assert numbers(ds) == [1, 4]
    ds.delete("a = 0")
    ds.optimize.disable_auto_cleanup()
    for _ in range(3):
        ds.update({"a": "a + 1"})
    assert numbers(ds) == [1, *range(4, 10)]


def test_the_versions_of_the_configured_age_and_number_stay(uri):
    ds = lance_like.write_dataset({"a": [0]}, uri)
    ds.update_config({"lance.auto_cleanup.interval": "1", "lance.auto_cleanup.older_than": "14d"})
    ds.insert({"a": [1]})
    assert numbers(ds) == [1, 2, 3]
    ds.delete_config_keys(["lance.auto_cleanup.older_than"])
    ds.update_config({"lance.auto_cleanup.retain_versions": "2"})
    ds.insert({"a": [1]})
    assert numbers(ds) == [5, 6]


def test_small_files_are_compacted_at_every_interval(uri):
    ds = lance_like.write_dataset({"a": [0]}, uri)
    ds.optimize.enable_auto_compaction(4)
    for number in range(4):
        ds.insert({"a": [number]})
    assert [fragment.physical_rows for fragment in ds.get_fragments()] == [3, 1, 1]
    assert (ds.version, ds.to_table()["a"].to_pylist()) == (7, [0, 0, 1, 2, 3])
    ds.optimize.disable_auto_compaction()
    ds.insert({"a": [9]})
    assert len(ds.get_fragments()) == 4


@pytest.mark.parametrize(
    "config",
    [
        {"lance.auto_cleanup.interval": "often"},
        {"lance.auto_cleanup.interval": "1", "lance.auto_cleanup.older_than": "long"},
        {"lance.auto_cleanup.interval": "1", "lance.auto_cleanup.retain_versions": "-1"},
        {"lance_like.auto_compact.interval": "x"},
    ],
)
def test_what_fails_is_a_warning_and_the_write_is_done(config, uri):
    ds = lance_like.write_dataset({"a": [0]}, uri)
    with pytest.warns(UserWarning, match="version 2 is committed"):
        ds.update_config(config)
    with pytest.warns(UserWarning, match="version 3 is committed"):
        ds.insert({"a": [1]})
    assert len(lance_like.dataset(uri)) == 2


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("14d", timedelta(days=14)),
        ("1h 30m", timedelta(minutes=90)),
        ("90s", timedelta(seconds=90)),
        ("1w2d3ms", timedelta(days=9, milliseconds=3)),
        ("0s", timedelta(0)),
        ("14days", timedelta(days=14)),
        ("1month 2min 1us", timedelta(days=30.44, minutes=2, microseconds=1)),
    ],
)
def test_ages_are_read(text, age):
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "5", "d", "1x", "1d x", "-1d", "1.5d", "9" * 30 + "d", "9" * 5000 + "d"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(InvalidInput):
        parse_age(text)


@pytest.mark.parametrize("wrong", [{"interval": 3, "age": 1}, {"interval": 0, "older_than_seconds": 1}])
def test_a_wrong_configuration_is_refused(wrong, uri):
    ds = lance_like.write_dataset({"a": [0]}, uri)
    with pytest.raises(InvalidInput):
        ds.optimize.enable_auto_cleanup(wrong)
    with pytest.raises(InvalidInput):
        ds.optimize.enable_auto_compaction(0)
