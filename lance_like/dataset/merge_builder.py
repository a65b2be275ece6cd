"""What a merge does, said step by step: the builder that `LanceDataset.merge_insert` gives."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lance_like.dataset.arguments import texts
from lance_like.dataset.inputs import Data, as_stream, conform_some
from lance_like.dataset.lance_schema import LanceSchema
from lance_like.dataset.merge import Rules, run_merge
from lance_like.dataset.operations import Transaction
from lance_like.dataset.results import ExecuteResult
from lance_like.dataset.scanner import Filter
from lance_like.errors import InvalidInput
from lance_like.index.files import counting_segments
from lance_like.io.observe import CountingStore
from lance_like.io.store import discard
from lance_like.query.explain import Step
from lance_like.table.actions import new_files

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

_WORDS = {"update": "UpdateAll", "delete": "Delete", "fail": "Fail", None: "Keep"}


class MergeInsertBuilder:
    """What a merge does, said step by step; `execute(data)` does it. Made by `LanceDataset.merge_insert`.

    Keys with a null match nothing. A key that stands twice in the data is an error, whatever the rules.
    """

    def __init__(self, dataset: LanceDataset, on: str | Sequence[str] | None) -> None:
        self._dataset = dataset
        keys = _keys_of(dataset.lance_schema) if on is None else [on] if isinstance(on, str) else on
        named = texts("on", keys)
        if not named:
            raise InvalidInput("on=[]: a merge needs key columns")
        self._rules = Rules(named)
        self._retries, self._timeout_s = 10, 30.0

    def when_matched_update_all(self, condition: Filter = None) -> MergeInsertBuilder:
        """Give rows whose key the data has the values of the data, in the columns that it has.

        condition: over `source` and `target`, such as "source.v > target.v" or col("source.v") > col("target.v").
        """
        return self._with(matched="update", condition=condition)

    def when_matched_delete(self) -> MergeInsertBuilder:
        """Delete rows whose key the data has."""
        return self._with(matched="delete")

    def when_matched_fail(self) -> MergeInsertBuilder:
        """Raise InvalidInput, and change nothing, when a row of the table has a key of the data."""
        return self._with(matched="fail")

    def when_not_matched_insert_all(self) -> MergeInsertBuilder:
        """Add the rows of the data whose key the table lacks; columns that the data lacks are null."""
        return self._with(insert=True)

    def when_not_matched_by_source_delete(self, expr: Filter = None) -> MergeInsertBuilder:
        """Delete the rows of the table whose key the data lacks. expr: only those that pass this filter."""
        return self._with(by_source=True if expr is None else expr)

    def conflict_retries(self, max_retries: int) -> MergeInsertBuilder:
        """How often it is made again when other writers are first; 10."""
        self._retries = max_retries
        return self

    def retry_timeout(self, timeout: timedelta) -> MergeInsertBuilder:
        """How long it is tried when other writers are first; 30 seconds."""
        self._timeout_s = timeout.total_seconds()
        return self

    def use_index(self, use_index: bool) -> MergeInsertBuilder:
        """Whether indexes of the key columns are asked for the rows, where that reads less; they change no result."""
        return self._with(use_index=use_index)

    def write_mode(self, mode: str) -> MergeInsertBuilder:
        """Accepted: what is written, rows or columns, is chosen by the fewer bytes."""
        if mode not in ("auto", "rewrite_rows", "rewrite_columns"):
            raise InvalidInput(f"mode={mode!r}: expected 'auto', 'rewrite_rows' or 'rewrite_columns'")
        return self

    def data_storage_version(self, version: str) -> MergeInsertBuilder:
        """Accepted: files are written in the one version of the format that there is."""
        return self

    def execute(self, data_obj: Data, *, schema: pa.Schema | None = None) -> ExecuteResult:
        """Merge rows and move the dataset to the new version. data_obj: as in `write_dataset`; schema: its types.

        Returns {"num_inserted_rows", "num_updated_rows", "num_deleted_rows"}.
        Raises InvalidInput (a key twice in the data, data that does not fit), Conflict.
        """
        self._rules.check()
        stream = as_stream(data_obj, schema)
        return self._dataset._merge(self._rules, stream, self._retries, self._timeout_s).told()

    def execute_uncommitted(
        self, data_obj: Data, *, schema: pa.Schema | None = None
    ) -> tuple[Transaction, ExecuteResult]:
        """Write what `execute` would write, for somebody else to commit with `LanceDataset.commit`.

        Returns the transaction, made for the newest version, and the counts. Raises InvalidInput. When other writers
        are first with rows or keys of it, its commit raises Conflict, and it is to be executed again.
        """
        self._rules.check()
        transaction, stats = self._dataset._plan_merge(self._rules, as_stream(data_obj, schema))
        return transaction, stats.told()

    def explain_plan(self, schema: pa.Schema | None = None, verbose: bool = False) -> str:
        """What the merge will do, as text.

        schema: of the data; None: that of the table. verbose: also into how many rows.
        Raises InvalidInput for a merge that would change nothing, or data without a key. Cost: no data is read.
        """
        self._rules.check()
        names = self._dataset.schema.names if schema is None else schema.names
        if lacking := [name for name in self._rules.on if name not in names]:
            raise InvalidInput(f"the data lacks the key column {lacking[0]!r}")
        lines = [_heading(self._rules), *_details(self._dataset, self._rules, names)]
        if verbose:
            held = self._dataset._manifest
            lines.append(f"Table: {held.live_rows:,} rows in {held.tree.count:,} fragments of version {held.version}")
        return _text(lines)

    def analyze_plan(self, data_obj: Data, *, schema: pa.Schema | None = None) -> str:
        """Merge rows into this version without a commit, and say what that read and wrote, which is removed again.

        data_obj, schema: as in `execute`. Raises as `execute`, but for conflicts.
        """
        self._rules.check()
        dataset, manifest = self._dataset, self._dataset._manifest
        store = CountingStore(dataset._session.store)
        session = dataset._session.through(store)
        began = time.perf_counter()
        with counting_segments(store):
            stream = conform_some(as_stream(data_obj, schema), manifest.schema.to_arrow())
            change, stats = run_merge(session, self._rules, stream, lambda merge: merge(manifest))
        step = Step()
        step.add(time.perf_counter() - began, store.counts)
        files = [file.path for file in new_files(change)]
        discard(dataset._session.store, files)
        told = {**stats.told(), "num_files_written": len(files), "bytes_written": store.counts.bytes_written}
        metrics = ", ".join(f"{name}={count}" for name, count in told.items())
        details = _details(dataset, self._rules, stream.schema.names)
        return _text([_heading(self._rules), *details, f"Run: {step}", f"metrics=[{metrics}]"])

    def _with(self, **changes: Any) -> MergeInsertBuilder:
        self._rules = replace(self._rules, **changes)
        return self


def _keys_of(schema: LanceSchema) -> tuple[str, ...]:
    """The key columns of a table that says which they are. Raises InvalidInput where it does not."""
    names = tuple(field.name() for field in schema.unenforced_primary_key())
    if not names:
        raise InvalidInput(
            "no key columns are named, and the table has no primary key",
            hint='pass on=..., or give fields the metadata "lance-schema:unenforced-primary-key": "true"',
        )
    return names


def _text(lines: Sequence[str]) -> str:
    return "\n  ".join(lines) + "\n"


def _heading(rules: Rules) -> str:
    matched = "UpdateIf" if rules.matched == "update" and rules.condition is not None else _WORDS[rules.matched]
    deleted = "Keep" if rules.by_source is None else "Delete" if rules.by_source is True else "DeleteIf"
    told = {
        "on": f"[{', '.join(rules.on)}]",
        "when_matched": matched,
        "when_not_matched": "InsertAll" if rules.insert else "DoNothing",
        "when_not_matched_by_source": deleted,
    }
    return f"MergeInsert: {', '.join(f'{name}={text}' for name, text in told.items())}"


def _details(dataset: LanceDataset, rules: Rules, names: Sequence[str]) -> Iterator[str]:
    """What the first line leaves out. names: the columns of the data."""
    if rules.condition is not None:
        yield f"Update where: {rules.condition}"
    if rules.by_source is not None and rules.by_source is not True:
        yield f"Delete where: {rules.by_source}"
    if rules.matched == "update":
        yield f"Changed columns: {', '.join(name for name in names if name not in rules.on) or 'none'}"
    null = [name for name in dataset.schema.names if name not in names]
    if rules.insert and null:
        yield f"Null where inserted: {', '.join(null)}"
    yield f"Keys: a scan of {', '.join(rules.on)}, within the least and the greatest key of the data"
    if rules.use_index:
        manifest, indexes = dataset._manifest, dataset._session.indexes
        for name in rules.on:
            for entry in indexes.of_field(manifest, manifest.schema.find((name,)).id, "filter"):
                yield f"  Index {entry.name} ({entry.kind}): asked where that reads less"


__all__ = ["MergeInsertBuilder"]
