"""Every table of format_spec/vectors, read by the package and by the naive reader."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import naive_reader as naive
import pytest
from make_vectors import VECTORS, digest_of
from naive_json import as_vector
from vector_json import schema_json, values_json

import lance_like
from lance_like.file.types import field_to_json

INDEX = json.loads((VECTORS / "index.json").read_text())
TABLES, ERRORS = VECTORS / "tables", VECTORS / "errors" / "tables"


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def lines_of(name: str) -> dict[str | None, list[dict[str, Any]]]:
    """The versions of a table, and those of its branches by name."""
    expected = read_json(TABLES / name / "expected.json")
    return {None: expected["versions"], **expected.get("branches", {})}


EXPECTED = {
    (name, (branch, version["version"])): version
    for name in INDEX["tables"]
    for branch, versions in lines_of(name).items()
    for version in versions
}
VERSIONS = list(EXPECTED)
Place = tuple[str | None, int]
AGES = {"created": "_row_created_at_version", "updated": "_row_last_updated_at_version"}


def test_tables_are_those_of_the_index():
    for folder, entries in ((TABLES, INDEX["tables"]), (ERRORS, INDEX["error_tables"])):
        assert {path.name for path in folder.iterdir()} == entries.keys()
        for name, entry in entries.items():
            assert digest_of(folder / name / "table").items() <= entry.items(), name


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_the_package_reads_each_version(name: str, version: Place):
    expected = EXPECTED[name, version]
    ds = lance_like.dataset(TABLES / name / "table", version=version)
    found = ds.to_table(with_row_id=True).combine_chunks()
    assert schema_json(ds.schema, field_to_json) == expected["schema"]
    assert found["_rowid"].to_pylist() == expected["row_ids"]
    arrays = [found.column(i).combine_chunks() for i in range(len(expected["values"]))]
    assert [values_json(array) for array in arrays] == expected["values"]


@pytest.mark.parametrize(("name", "version"), [place for place in VERSIONS if "created" in EXPECTED[place]])
def test_both_know_how_old_rows_are(name: str, version: Place):
    expected, folder = EXPECTED[name, version], TABLES / name / "table"
    found = lance_like.dataset(folder, version=version).to_table(list(AGES.values()))
    assert {key: found[column].to_pylist() for key, column in AGES.items()} == {key: expected[key] for key in AGES}
    second = naive.read_table(str(folder), version[1], branch=version[0])
    assert {"created": second.created, "updated": second.updated} == {key: expected[key] for key in AGES}


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_the_package_finds_rows_by_their_ids(name: str, version: Place):
    expected = EXPECTED[name, version]
    ids = expected["row_ids"][::-2]
    if not ids:
        pytest.skip("no rows")
    found = lance_like.dataset(TABLES / name / "table", version=version)._take_rows(ids).combine_chunks()
    arrays = [found.column(i).combine_chunks() for i in range(len(expected["values"]))]
    assert [values_json(array) for array in arrays] == [column[::-2] for column in expected["values"]]


def naive_schema(table: naive.Table, parent: int = -1) -> list[dict[str, Any]]:
    """The fields below a parent as expected.json has them, with structs in one piece."""
    found = []
    for field in (f for f in table.fields if f.parent == parent):
        body = dict(field.json)
        if field.field.type.name == "struct":
            body["type"] = {"t": "struct", "fields": naive_schema(table, field.id)}
        found.append(body)
    return found


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_the_naive_reader_reads_each_version(name: str, version: Place):
    expected = EXPECTED[name, version]
    table = naive.read_table(str(TABLES / name / "table"), version[1], branch=version[0])
    fields = expected["schema"]["fields"]
    assert naive_schema(table) == fields
    assert [row["_rowid"] for row in table.rows] == expected["row_ids"]
    values = [[as_vector(field["type"], row[field["name"]]) for row in table.rows] for field in fields]
    assert values == expected["values"]


@pytest.mark.parametrize("name", INDEX["tables"])
def test_both_find_the_versions_the_branches_and_the_tags(name: str):
    folder, expected = TABLES / name / "table", read_json(TABLES / name / "expected.json")
    ds = lance_like.dataset(folder)
    for branch, versions in lines_of(name).items():
        numbers = [version["version"] for version in versions]
        on_branch = ds.checkout_version((branch, None))
        assert naive.list_versions(str(folder), branch) == numbers
        assert [version["version"] for version in on_branch.versions()] == numbers
        assert on_branch.version == numbers[-1] == naive.read_table(str(folder), branch=branch).version
    assert naive.list_branches(str(folder)).keys() == ds.branches.list().keys() == lines_of(name).keys() - {None}
    assert ds.version == expected["newest"] == naive.read_table(str(folder)).version
    assert naive.list_tags(str(folder)) == expected["tags"]
    assert sorted(ds.tags.list()) == sorted(expected["tags"])
    for tag, version in expected["tags"].items():
        opened = lance_like.dataset(folder, version=tag)
        assert opened.version == version == naive.read_table(str(folder), tag=tag).version


def laid_over(name: str, folder: Path) -> Path:
    """The table of an error: `sound` with other objects, and without some."""
    shutil.copytree(TABLES / "sound" / "table", folder)
    changed = ERRORS / name / "table"
    if changed.exists():
        shutil.copytree(changed, folder, dirs_exist_ok=True)
    for key in read_json(ERRORS / name / "case.json")["removed"]:
        (folder / key).unlink()
    return folder


def read_whole(ds: lance_like.LanceDataset) -> None:
    """All rows with all that is known of them; and each found by its id."""
    rows = ds.to_table([*ds.schema.names, "_rowid", *AGES.values()])
    ds._take_rows(rows["_rowid"].to_pylist(), ["_rowid"])


@pytest.mark.parametrize("name", INDEX["error_tables"])
def test_both_refuse(name: str, tmp_path: Path):
    case, folder = read_json(ERRORS / name / "case.json"), laid_over(name, tmp_path / "t")
    with pytest.raises(lance_like.errors.LanceLikeError) as package:
        read_whole(lance_like.dataset(folder, version=(case["branch"], None) if "branch" in case else case["tag"]))
    assert {"class": type(package.value).__name__, "kind": package.value.kind} == case["error"]
    with pytest.raises(naive.NaiveError) as second:
        naive.read_table(str(folder), tag=case["tag"], branch=case.get("branch"))
    assert {"class": second.value.family, "kind": second.value.kind} == case["error"]
