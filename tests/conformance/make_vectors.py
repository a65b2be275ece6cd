"""Write format_spec/vectors/: files that a reader must read, files that it must refuse, and what is in them.

Run it from anywhere after a change of the format: python tests/conformance/make_vectors.py [NAME OF A CASE …]
The answers come from the tables that were written, never from reading a file back.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pyarrow as pa
from bad_cases import bad_cases
from bad_tables import BadTable, bad_tables
from forge import Forge
from good_cases import good_cases
from table_cases import table_cases
from vector_cases import BadCase, Case, TableCase, Version, settings
from vector_json import schema_json, values_json
from zone_json import zones_json

from lance_like.file.columns import split
from lance_like.file.types import field_to_json
from lance_like.file.writer import FileWriter
from lance_like.version import FORMAT_VERSION, __version__

VECTORS = Path(__file__).resolve().parents[2] / "format_spec" / "vectors"
# A writer tries few encodings for so few rows; a reader takes them all.
ALL_TRIED = {"encodings.registry.SMALL_NBYTES": 0}
LARGEST_NBYTES, ALL_NBYTES = 120_000, 2_200_000
ENCODINGS = {
    "plain",
    "constant",
    "narrow",
    "bitpack",
    "dictionary",
    "variable",
    "outlined",
    "alphabet",
    "symbols",
    "zstd",
    "list",
    "fixed_size_list",
    "struct",
    "planes",
    "linear",
    "alp",
    "decimal",
    "scaled",
    "patched",
    "run_length",
}


def write_file(case: Case) -> bytes:
    """The file of a case; the random bytes of its tail come from the name, so that it is the same each time."""
    if case.data is not None:
        return case.data
    random = hashlib.sha256(case.name.encode()).digest()[:16]
    with settings({**ALL_TRIED, **case.settings}), mock.patch("os.urandom", return_value=random):
        writer = FileWriter(case.table.schema)
        return b"".join(bytes(chunk) for chunk in writer.chunks(case.table.to_batches()))


def expected_json(case: Case) -> dict[str, Any]:
    """What a reader finds in the file of a case."""
    table = case.table.combine_chunks()
    arrays = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns]
    body: dict[str, Any] = {"num_rows": table.num_rows, "schema": schema_json(table.schema, field_to_json)}
    if case.fields is not None:
        body["schema"]["fields"] = case.fields
    body["values"] = [values_json(array) for array in arrays]
    if case.zones:
        zone_rows = case.settings.get("file.writer.ZONE_ROWS", 8192)
        body["zones"] = [zones_json(array, zone_rows) for array in split(arrays)]
    return body


def encodings_in(data: bytes) -> list[str]:
    """The encodings that the page descriptions of a file name."""
    return sorted({name.decode() for name in re.findall(rb'"e": ?"(\w+)"', data)} & ENCODINGS)


def write_good(case: Case) -> dict[str, Any]:
    """Write the folder of a case; returns its entry in the index."""
    data = write_file(case)
    folder = VECTORS / case.name
    about = {
        "covers": case.covers,
        "spec": case.spec,
        "schema": str(case.table.schema.remove_metadata()),
        "encodings": encodings_in(data),
    }
    about["writer"] = "by hand" if case.data is not None else f"lance_like {__version__}"
    save(folder, data, {"case.json": about, "expected.json": expected_json(case)})
    return {"spec": case.spec, "sha256": hashlib.sha256(data).hexdigest(), "nbytes": len(data)}


def write_bad(case: BadCase) -> dict[str, Any]:
    """Write the folder of a file that must be refused; returns its entry in the index."""
    error = {"class": case.error, "kind": case.kind}
    save(
        VECTORS / "errors" / case.name,
        case.data,
        {"case.json": {"covers": case.covers, "spec": case.spec, "error": error}},
    )
    return {
        "spec": case.spec,
        "sha256": hashlib.sha256(case.data).hexdigest(),
        "nbytes": len(case.data),
        "error": error,
    }


@contextmanager
def chosen(name: str) -> Iterator[None]:
    """Make names of objects and times follow from the name of a case, so that a table is the same each time."""
    digest = hashlib.sha256(name.encode())

    def random(nbytes: int) -> bytes:
        digest.update(b".")
        return digest.digest()[:nbytes]

    clock = count(1_700_000_000_000_000_000, 1_000_000_000)
    with (
        mock.patch("os.urandom", random),
        mock.patch("uuid.uuid4", lambda: uuid.UUID(bytes=random(16))),
        mock.patch("time.time_ns", lambda: next(clock)),
    ):
        yield


def write_good_table(case: TableCase) -> dict[str, Any]:
    """Write the folder of a table; returns its entry in the index."""
    folder = VECTORS / "tables" / case.name
    with chosen(case.name):
        case.build(folder / "table")
    expected: dict[str, Any] = {"tags": case.tags, "newest": len(case.versions)}
    expected["versions"] = [{"version": number, **version_json(v)} for number, v in enumerate(case.versions, 1)]
    if case.branches:
        expected["branches"] = {
            name: [{"version": number, **version_json(v)} for number, v in versions.items()]
            for name, versions in case.branches.items()
        }
    save_texts(folder, {"case.json": {"covers": case.covers, "spec": case.spec}, "expected.json": expected})
    return {"spec": case.spec, **digest_of(folder / "table")}


def write_bad_table(case: BadTable) -> dict[str, Any]:
    """Write what differs between a table that must be refused and the sound one; returns its entry in the index."""
    sound, folder = VECTORS / "tables" / "sound" / "table", VECTORS / "errors" / "tables" / case.name
    folder.mkdir(parents=True)
    with TemporaryDirectory() as work:
        made = Path(work) / "table"
        shutil.copytree(sound, made)
        case.edit(Forge(made))
        for key in objects_of(made):
            if not (sound / key).exists() or (sound / key).read_bytes() != (made / key).read_bytes():
                (folder / "table" / key).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made / key, folder / "table" / key)
        removed = sorted(set(objects_of(sound)) - set(objects_of(made)))
    error = {"class": case.error, "kind": case.kind}
    about = {"covers": case.covers, "spec": case.spec, "tag": case.tag}
    about |= {"branch": case.branch} if case.branch else {}
    about |= {"removed": removed, "error": error}
    save_texts(folder, {"case.json": about})
    return {"spec": case.spec, **digest_of(folder / "table"), "error": error}


def objects_of(folder: Path) -> list[str]:
    """The keys of all objects of a table, in order."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def digest_of(folder: Path) -> dict[str, Any]:
    """How many objects there are, and the sha256 of the lines that `sha256sum` writes for them, by key."""
    keys = objects_of(folder)
    lines = (f"{hashlib.sha256((folder / key).read_bytes()).hexdigest()}  {key}\n" for key in keys)
    return {"objects": len(keys), "sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}


def version_json(version: Version) -> dict[str, Any]:
    """The schema, the row ids and the values of one version, and how old its rows are where the case says so."""
    table = version.table.combine_chunks()
    arrays = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns]
    values = [values_json(array) for array in arrays]
    made = {"created": version.created, "updated": version.updated}
    return {
        "schema": schema_json(table.schema, field_to_json),
        "row_ids": version.row_ids,
        **{name: versions for name, versions in made.items() if versions is not None},
        "values": values,
    }


def save(folder: Path, data: bytes, texts: Mapping[str, dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    (folder / "data.lnl").write_bytes(data)
    save_texts(folder, texts)


def save_texts(folder: Path, texts: Mapping[str, dict[str, Any]]) -> None:
    for name, body in texts.items():
        (folder / name).write_text("{\n" + ",\n".join(_member(*item) for item in body.items()) + "\n}\n")


def _member(key: str, value: Any) -> str:
    """One member of an object; a list has a line an item, so that a diff shows which column changed."""
    if not isinstance(value, list) or not value:
        return f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
    items = [json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in value]
    return f"{json.dumps(key)}: [\n" + ",\n".join(items) + "\n]"


def main(names: Collection[str]) -> None:
    """names: the cases to write; none for all, in the place of what is there."""
    if not names:
        for old in VECTORS.glob("*/"):
            if old.is_dir():
                shutil.rmtree(old)
    place = VECTORS / "index.json"
    index: dict[str, Any] = json.loads(place.read_text()) if names else {}
    index |= {"format_version": FORMAT_VERSION, "writer": f"lance_like {__version__}"}
    cases = list(good_cases())
    for section, folder, made, write in (
        ("cases", VECTORS, cases, write_good),
        ("errors", VECTORS / "errors", bad_cases(), write_bad),
        ("tables", VECTORS / "tables", table_cases(), write_good_table),
        ("error_tables", VECTORS / "errors/tables", bad_tables(), write_bad_table),
    ):
        wanted = [case for case in made if not names or case.name in names]
        for case in wanted:
            shutil.rmtree(folder / case.name, ignore_errors=True)
        written = {case.name: write(case) for case in wanted}
        index[section] = index.get(section, {}) | written
    place.write_text(json.dumps(index, indent=1) + "\n")
    files = [path for path in VECTORS.rglob("*") if path.is_file()]
    sizes = {path: path.stat().st_size for path in files}
    covered = {name for case in cases for name in encodings_in(write_file(case))}
    assert covered == ENCODINGS, ENCODINGS - covered
    assert max(sizes.values()) < LARGEST_NBYTES, max(sizes, key=lambda path: sizes[path])
    assert sum(sizes.values()) < ALL_NBYTES, sum(sizes.values())
    print(", ".join(f"{len(index[section]):,} {section}" for section in ("cases", "errors", "tables", "error_tables")))
    print(f"{sum(sizes.values()):,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
