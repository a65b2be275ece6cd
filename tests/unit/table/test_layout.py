"""The names of the objects of a table."""

from __future__ import annotations

import pytest

from lance_like.table.layout import MAX_VERSION, line_key, new_data_key, new_line, tag_key, version_key, version_of


@pytest.mark.parametrize("version", [1, 255, 256, 257, MAX_VERSION])
def test_the_key_of_a_root_tells_its_version_on_every_line(version: int) -> None:
    assert version_of(version_key(version)) == version
    assert version_of(line_key(new_line(), version_key(version))) == version


@pytest.mark.parametrize(
    "key",
    [
        new_data_key(),
        tag_key("v"),
        "_versions/0000000000000001/00000000000000000001.manifest",
        "_versions/0000000000000000/1.manifest",
        "x_versions/0000000000000000/00000000000000000001.manifest",
        "00000000000000000001.manifest",
    ],
)
def test_no_other_key_has_a_version(key: str) -> None:
    assert version_of(key) is None
