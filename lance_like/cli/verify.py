"""`lance_like verify`: every fault of a data file or a dataset, by its place."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from lance_like.cli.text import count
from lance_like.dataset.verify import DatasetReport, verify_dataset
from lance_like.file.place import is_folder, locate
from lance_like.file.verify import Fault, FileReport, verify_file
from lance_like.io.uri import open_store
from lance_like.typing_ import Json


def verify(path: str, *, as_json: bool) -> tuple[str, bool]:
    """Check what a path names: a folder is a dataset. Returns the report as text, and whether all is well."""
    if is_folder(path):
        report = verify_dataset(open_store(path))
        text = json.dumps(_dataset_json(report), indent=2) if as_json else _dataset_text(report)
        return text, report.ok
    found = verify_file(*locate(path))
    text = json.dumps(_file_json(found), indent=2) if as_json else _file_text(found, path)
    return text, found.ok


def _file_text(report: FileReport, path: str) -> str:
    looked = (
        f"{path}: {count(report.rows, 'row')}, {count(report.columns, 'column')};"
        f" {count(report.blocks, 'block')} checked, {count(report.pages, 'page')} decoded"
    )
    return "\n".join([f"{looked}; {_verdict(len(report.faults))}", *_fault_lines(report.faults)])


def _dataset_text(report: DatasetReport) -> str:
    files = report.files
    faults = len(report.faults) + sum(len(file.faults) for file in files)
    looked = (
        f"{report.uri}: {count(report.versions, 'version')}, {count(report.tags, 'tag')},"
        f" {count(report.branches, 'branch')}, {count(len(files), 'file')};"
        f" {count(sum(file.blocks for file in files), 'block')} checked,"
        f" {count(sum(file.pages for file in files), 'page')} decoded"
    )
    lines = [f"{looked}; {_verdict(faults)}", *_fault_lines(report.faults)]
    for file in files:
        if not file.ok:
            lines += [file.path, *_fault_lines(file.faults)]
    if report.unused:
        lines += [f"{count(len(report.unused), 'data file')} that no version names (no fault):"]
        lines += [f"  {name}" for name in report.unused]
    return "\n".join(lines)


def _verdict(faults: int) -> str:
    return count(faults, "fault") if faults else "no fault"


def _fault_lines(faults: Sequence[Fault]) -> list[str]:
    return [f"  {_bytes(fault)}{fault.where}: {fault.problem}" for fault in faults]


def _bytes(fault: Fault) -> str:
    return f"bytes {fault.start:,} to {fault.end:,}, " if fault.end else ""


def _file_json(report: FileReport) -> Json:
    return {
        "path": report.path,
        "ok": report.ok,
        "nbytes": report.nbytes,
        "rows": report.rows,
        "columns": report.columns,
        "blocks": report.blocks,
        "pages": report.pages,
        "faults": [dataclasses.asdict(fault) for fault in report.faults],
    }


def _dataset_json(report: DatasetReport) -> Json:
    return {
        "uri": report.uri,
        "ok": report.ok,
        "versions": report.versions,
        "tags": report.tags,
        "branches": report.branches,
        "faults": [dataclasses.asdict(fault) for fault in report.faults],
        "files": [_file_json(file) for file in report.files],
        "unused": report.unused,
    }
