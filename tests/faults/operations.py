"""Every call that changes a table, once: what the fault suites break, kill, race and cut the power of.

A new operation is one entry of OPERATIONS; every suite then has it. What it must do is said by an undisturbed run:
after any failure the table is as before or as after that run, and after an acknowledged one as after it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import pyarrow as pa
import pytest
from small_dataset import open_store

from lance_like import LanceDataset
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.write import FileLimits, write_version
from lance_like.errors import NotFound
from lance_like.io.store import Store
from lance_like.table import layout, parts
from lance_like.table.branches import Branches
from lance_like.table.history import Reference
from lance_like.table.refs import Tags
from lance_like.table.snapshot import list_versions

Case = TypeVar("Case")
Run = Callable[[Store, int], object]


@dataclass(frozen=True, slots=True)
class Operation:
    """One way to change a table.

    run: does it to the table of a store. Its number makes the names and rows that it writes its own, so that it can
    be run again; what it does follows from the number and the table alone. It raises InvalidInput or NotFound where
    the table is not one for it.
    after: the operations that make the table it begins from, numbered 0, 1, ….
    """

    run: Run
    after: tuple[str, ...]


BRANCHED = ("create", "append", "branch", "append to a branch")
INDEXED = ("create", "index", "append", "update one")
LINEAGE = ("_row_created_at_version", "_row_last_updated_at_version")
BASE = ("create", "tag", "add by SQL", "append in several files")


NUMBER = 50
"""The number of an operation that is looked at; those that made its table have smaller ones."""


def rows(number: int, count: int = 4, *, names: Sequence[str] = ("n", "text")) -> dict[str, Any]:
    """Rows for the first two columns of the table, whatever they are called by now."""
    n = [100 * number + i for i in range(count)]
    return dict(
        zip(names, (n, [None if i % 3 == 1 else f"row {i} of {number} " * 3 for i in range(count)]), strict=True)
    )


def _key(ds: LanceDataset) -> str:
    """The first column, whatever it is called by now: whole numbers."""
    return ds.schema.names[0]


def _append(store: Store, number: int, **options: Any) -> None:
    ds = open_store(store)
    ds.insert(rows(number, names=ds.schema.names[:2]), **options)


def _one_of(names: Iterable[str], number: int) -> str:
    known = sorted(names)
    if not known:
        raise NotFound("there is none")
    return known[number % len(known)]


def _a_tag(store: Store, number: int) -> str:
    return _one_of(Tags(store).list(), number)


def _a_branch(store: Store, number: int) -> str:
    return _one_of(Branches(store).list(), number)


def _append_to_a_branch(store: Store, number: int) -> None:
    branch = open_store(store, (_a_branch(store, number), None))
    branch.insert(rows(number, names=branch.schema.names[:2]))


def _branch_a_branch(store: Store, number: int) -> None:
    open_store(store).create_branch(f"b/{number}", (_a_branch(store, number), None))


def _delete(store: Store, number: int) -> None:
    ds = open_store(store)
    ds.delete(f"{_key(ds)} % 3 = {number % 3}")


def _update(store: Store, number: int, where: str | None = None) -> None:
    ds = open_store(store)
    ds.update({_key(ds): f"{_key(ds)} + {number}"}, where)


def _update_one(store: Store, number: int) -> None:
    ds = open_store(store)
    n = ds.take([number % len(ds)], [_key(ds)])[0][0].as_py() if len(ds) else 0
    ds.update({_key(ds): f"{_key(ds)} + {number}"}, f"{_key(ds)} = {n}")


def _merge(store: Store, number: int) -> None:
    """Rows of which some are there."""
    ds = open_store(store)
    key = _key(ds)
    there = ds.to_table([key])[key].unique().to_pylist()[: 1 + number % 2]
    source = rows(number, names=ds.schema.names[:2])
    source[key] = [*there, *source[key]][:4]
    ds.merge_insert(key).when_matched_update_all().when_not_matched_insert_all().execute(source)


def _merge_and_delete(store: Store, number: int) -> None:
    """Rows that are there go, and those that are not in the source too."""
    ds = open_store(store)
    builder = ds.merge_insert(_key(ds)).when_not_matched_insert_all().when_matched_delete()
    source = {**rows(number, names=ds.schema.names[:2]), _key(ds): [0, 1, 100 * number, 100 * number + 1]}
    builder.when_not_matched_by_source_delete(f"{_key(ds)} % 2 = 1").execute(source)


def _add(store: Store, number: int, transforms: Callable[[str, LanceDataset], Any]) -> None:
    ds = open_store(store)
    ds.add_columns(transforms(f"more{number}", ds))


def _drop(store: Store, number: int) -> None:
    ds = open_store(store)
    ds.drop_columns([_one_of((name for name in ds.schema.names if name.startswith("more")), number)])


def _rename(store: Store, number: int) -> None:
    ds = open_store(store)
    ds.alter_columns({"path": ds.schema.names[1], "name": f"renamed{number}"})


def _restore(store: Store, number: int) -> None:
    newest = open_store(store).version
    open_store(store, newest - 1 - number % min(3, newest - 1)).restore()


def _index(store: Store, number: int) -> None:
    ds = open_store(store)
    ds.create_scalar_index(_key(ds), "BTREE", f"i{number}")


def _drop_index(store: Store, number: int) -> None:
    ds = open_store(store)
    ds.drop_index(_one_of((one["name"] for one in ds.list_indices()), number))


# One for each kind of thing that must not replace another.
PUBLISHERS = ("create", "append", "tag")


def clean(store: Store, **options: Any) -> None:
    """Remove all that the newest version and the tagged ones do not need."""
    open_store(store).cleanup_old_versions(
        timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False, **options
    )


# fmt: off
OPERATIONS: dict[str, Operation] = {
    title: Operation(run, after)
    for title, after, run in (
        ("create", (), lambda store, number:
            write_version(store, None, as_stream(rows(number, 6)), mode="create", limits=FileLimits(rows=3))),
        ("append", BASE, _append),
        ("append in several files", BASE, lambda store, number: _append(store, number, max_rows_per_file=1)),
        ("append with a long message", BASE, lambda store, number:
            _append(store, number, commit_message="m" * 20_000)),
        ("append into a new bucket", (*BASE, "append"), _append),
        ("overwrite", BASE, lambda store, number: open_store(store).insert(rows(number), mode="overwrite")),
        ("delete", BASE, _delete),
        ("delete more", (*BASE, "delete"), _delete),
        ("truncate", BASE, lambda store, number: open_store(store).truncate_table()),
        ("update", BASE, _update),
        ("update one", BASE, _update_one),
        ("update beside deleted", (*BASE, "delete"), lambda store, number: _update(store, number, "true")),
        ("merge", BASE, _merge),
        ("merge and delete", BASE, _merge_and_delete),
        ("add by SQL", BASE, lambda store, number: _add(store, number, lambda name, ds: {name: f"{_key(ds)} * 2"})),
        ("add by stream", BASE, lambda store, number:
            _add(store, number, lambda name, ds: {name: list(range(len(ds)))})),
        ("add as null", BASE, lambda store, number: _add(store, number, lambda name, ds: pa.field(name, pa.int8()))),
        ("drop", BASE, _drop),
        ("rename", BASE, _rename),
        ("restore", BASE, _restore),
        ("compact", (*BASE, "delete"), lambda store, number: open_store(store).optimize.compact_files()),
        ("index", (*BASE, "delete"), _index),
        ("extend indexes", INDEXED, lambda store, number: open_store(store).optimize.optimize_indices()),
        ("update what is indexed", INDEXED, _update_one),
        ("drop an index", INDEXED, _drop_index),
        ("clean", (*BASE, "append", "delete"), lambda store, number: clean(store)),
        ("clean all branches", BRANCHED, lambda store, number: clean(store, all_branches=True)),
        ("update metadata", BASE, lambda store, number:
            open_store(store).update_metadata({"owner": f"nobody {number}", f"key {number}": "value"})),
        ("update field metadata", BASE, lambda store, number:
            open_store(store).update_field_metadata({open_store(store).schema.names[0]: {"number": f"{number}"}})),
        ("configure", BASE, lambda store, number:
            open_store(store).update_config({"number": f"{number}"}, replace=True)),
        ("tag", BASE, lambda store, number: open_store(store).tags.create(f"t{number}")),
        ("first tag", ("create",), lambda store, number: open_store(store).tags.create(f"t{number}")),
        ("move tag", BASE, lambda store, number: open_store(store).tags.update(_a_tag(store, number), None)),
        ("delete tag", BASE, lambda store, number: open_store(store).tags.delete(_a_tag(store, number))),
        ("describe tag", BASE, lambda store, number:
            open_store(store).tags.replace_metadata(_a_tag(store, number), {"number": f"{number}"})),
        ("branch", BASE, lambda store, number: open_store(store, 1).create_branch(f"b{number}")),
        ("branch a branch", BRANCHED, _branch_a_branch),
        ("append to a branch", BRANCHED, _append_to_a_branch),
        ("tag a branch", BRANCHED, lambda store, number:
            open_store(store).tags.create(f"t{number}", (_a_branch(store, number), None))),
        ("delete branch", BRANCHED, lambda store, number: open_store(store).branches.delete(_a_branch(store, number))),
    )
}
# fmt: on


def prepare(store: Store, after: tuple[str, ...]) -> None:
    """Make the table that an operation begins from."""
    for number, name in enumerate(after):
        OPERATIONS[name].run(store, number)


def at_most(count: int) -> pytest.MarkDecorator:
    """Give a test the argument `most`: a number of cases in the run of every day, None in the exhaustive one."""
    return pytest.mark.parametrize("most", [count, pytest.param(None, marks=pytest.mark.exhaustive, id="all")])


def some(cases: Sequence[Case], most: int | None, seed: str) -> list[Case]:
    """Cases in their order: so many by chance, always the same ones, or all."""
    count = len(cases) if most is None else min(most, len(cases))
    return [cases[place] for place in sorted(random.Random(seed).sample(range(len(cases)), count))]


def small_limits(monkeypatch) -> None:
    """Have a small table use what takes thousands of fragments and versions otherwise."""
    monkeypatch.setattr(parts, "FANOUT", 2)
    monkeypatch.setattr(layout, "VERSIONS_PER_BUCKET", 5)


@dataclass(frozen=True)
class Facts:
    """All that can be seen of a table, but for times and random names.

    versions: what each one says of itself. names: what each tag and branch says, a branch all its versions.
    """

    versions: Mapping[int, str] = field(default_factory=dict)
    names: Mapping[str, object] = field(default_factory=dict)

    @property
    def newest(self) -> str | None:
        return self.versions[max(self.versions)] if self.versions else None


def facts(store: Store, *, known: Mapping[int, str] | None = None) -> Facts:
    """What a table says. known: versions that need not be read again. Raises whatever reading it raises."""
    known = known or {}
    versions = {number: known[number] if number in known else said(store, number) for number in list_versions(store)}
    tags = {f"tag {name}": (tag.branch, tag.version, tag.metadata) for name, tag in Tags(store).list().items()}
    branches = {
        f"branch {name}": {number: said(store, (name, number)) for number in list_versions(line)}
        for name, line in Branches(store).lines().items()
        if name is not None
    }
    return Facts(versions, {**tags, **branches})


def said(store: Store, version: Reference) -> str:
    """The columns, rows, texts and indexes of one version; reads the files of these."""
    ds = open_store(store, version)
    table = ds.to_table([*ds.schema.names, *LINEAGE], with_row_id=True, use_threads=False)
    indexes = [(one.name, one.fields, one.num_rows_indexed, one.num_segments) for one in ds.describe_indices()]
    for name, *_ in indexes:
        ds.prewarm_index(name)
    return f"{table.schema.to_string()}\n{ds.metadata}\n{ds.config()}\n{indexes}\n{table.to_pydict()}"


def assert_before_or_after(found: Facts, before: Facts, after: Facts, *, acknowledged: bool) -> None:
    """The operation was done or it was not; every version that is there is whole."""
    if acknowledged:
        assert found == after, "what was acknowledged is not there"
        return
    assert (found.newest, found.names) in ((before.newest, before.names), (after.newest, after.names))
    # A cleanup that was stopped removed some of what it was to remove.
    assert before.versions.keys() & after.versions.keys() <= found.versions.keys()
    assert found.versions.items() <= {**before.versions, **after.versions}.items()


def assert_outlived(found: Facts, killed: tuple[Facts, Facts], before: Facts, after: Facts) -> None:
    """A power cut after an acknowledged operation, which came after another that was killed.

    killed: what there was before that one, and what it would have made of it; before and after: what was seen around
    the last one.
    """
    assert found.newest == after.newest, "what was acknowledged is not there"
    # What the other one was to remove may be there or not.
    kept = killed[0].versions.items() & killed[1].versions.items()
    assert kept <= found.versions.items() <= {**killed[0].versions, **after.versions}.items()
    seen = {number for number in after.versions if number <= max(found.versions)}
    assert seen <= found.versions.keys(), "a version is missing between others"
    named = {name: said for name, said in after.names.items() if before.names.get(name) != said}
    assert all(found.names.get(name) == said for name, said in named.items()), (
        "a name that was acknowledged is not there"
    )
    tagged = {said[1] for said in found.names.values() if isinstance(said, tuple) and said[0] is None}
    assert tagged <= found.versions.keys(), "a tag outlived its version"


def assert_goes_on(store: Store, found: Facts) -> None:
    """The next write works, and a cleanup then leaves a table that can be read."""
    OPERATIONS["append" if found.versions else "create"].run(store, 99)
    assert open_store(store).version == max(found.versions, default=0) + 1
    clean(store)
    newest = open_store(store)
    numbers = newest.to_table(use_threads=False)[0].to_pylist()
    assert len(numbers) == len(newest)
    assert set(numbers) >= {9900, 9903}
