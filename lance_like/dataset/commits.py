"""Committing changes as values, and what was committed: the part of `LanceDataset` for engines that write in many
processes and commit in one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, cast

import pyarrow as pa

from lance_like.dataset.arguments import check_table_hints
from lance_like.dataset.bound import BoundVersion
from lance_like.dataset.clone import deep_clone, shallow_clone
from lance_like.dataset.delta import DatasetDelta, VersionDiff, delta_of, diff_of
from lance_like.dataset.index_build import check_segment_files
from lance_like.dataset.inputs import Stream, conform_some
from lance_like.dataset.merge import MergeStats, Rules, run_merge
from lance_like.dataset.operations import LANCE_COMMIT_MESSAGE_KEY, LanceOperation, Transaction
from lance_like.dataset.place import CommitLock, open_place, open_target
from lance_like.dataset.planned import action_of, update_of
from lance_like.dataset.recorded import transaction_at
from lance_like.errors import Corrupt, InvalidInput, NotFound, Unsupported
from lance_like.file.columns import flatten
from lance_like.file.session import LanceFileSession
from lance_like.io.store import Store
from lance_like.io.uri import options_beside
from lance_like.query.session import Session
from lance_like.table.actions import (
    Action,
    AddColumns,
    Append,
    Create,
    NewFile,
    Overwrite,
    SetIndexes,
    new_files,
)
from lance_like.table.bases import StorageOptions, with_bases
from lance_like.table.commit import commit, committed
from lance_like.table.fragment import DataFile
from lance_like.table.history import Reference, locate, newest_if_any, resolve
from lance_like.table.layout import FOLDERS
from lance_like.table.lines import main_line
from lance_like.table.manifest import Manifest
from lance_like.table.snapshot import list_versions, read_manifest
from lance_like.typing_ import whole

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

RETRIES = 20
COMMIT_TIMEOUT = timedelta(minutes=30)


class BulkCommitResult(TypedDict):
    """What `commit_batch` gives: the new version, and the one transaction that it made of all."""

    dataset: LanceDataset
    merged: Transaction


class DatasetCommits(BoundVersion):
    """The methods of `LanceDataset` about changes as values and the difference of versions."""

    @classmethod
    def commit(
        cls,
        base_uri: str | os.PathLike[str] | LanceDataset,
        operation: LanceOperation.BaseOperation | Transaction,
        read_version: int | None = None,
        commit_lock: CommitLock | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
        detached: bool = False,
        max_retries: int = RETRIES,
        commit_message: str | None = None,
        commit_timeout: timedelta | None = COMMIT_TIMEOUT,
        base_store_params: StorageOptions | None = None,
        **hints: Any,
    ) -> LanceDataset:
        """Make a change whose files are written the next version, and return a handle on it.

        operation: what changed; with a `Transaction`, read_version and commit_message are in it, and committing the
        same one twice changes the table once. read_version: the version that the change was made for, needed but for
        Overwrite and Restore. commit_lock, storage_options, base_store_params, hints: as in `write_dataset`.
        max_retries, commit_timeout: how often and how long it is brought onto newer versions (None: without end); with
        max_retries=0 it follows read_version directly or raises Conflict.
        The files of new fragments must be there, whole, and of the types of the schema: each is opened. Files that are
        written and not committed belong to nobody; a cleanup keeps them for 7 days.
        Raises Conflict (`retryable`), NotFound, InvalidInput for what does not fit that version, CommitUnknown.
        """
        check_table_hints(hints, "commit")
        store, options = open_target(
            base_uri, storage_options=storage_options, commit_lock=commit_lock, base_store_params=base_store_params
        )
        transaction = _as_transaction(operation, read_version, commit_message)
        if detached:
            raise Unsupported("commits apart from the history of a table are not supported", kind="detached")
        if commit_timeout is not None and commit_timeout <= timedelta(0):
            raise InvalidInput(f"commit_timeout={commit_timeout}: expected more than 0, or None")
        manifest = _commit(
            store,
            transaction,
            is_named=isinstance(operation, Transaction),
            retries=max_retries,
            timeout_s=float("inf") if commit_timeout is None else commit_timeout.total_seconds(),
        )
        return cast("LanceDataset", cls(store, manifest, **options))

    @classmethod
    def commit_batch(
        cls,
        dest: str | os.PathLike[str] | LanceDataset,
        transactions: Sequence[Transaction],
        commit_lock: CommitLock | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
        max_retries: int = RETRIES,
        commit_timeout: timedelta | None = COMMIT_TIMEOUT,
        base_store_params: StorageOptions | None = None,
        **hints: Any,
    ) -> BulkCommitResult:
        """Commit several appends as one version. Options as in `commit`.

        Returns {"dataset": a handle on it, "merged": the one transaction}. Raises InvalidInput for other operations.
        """
        appends = [one.operation for one in transactions if isinstance(one.operation, LanceOperation.Append)]
        if not appends or len(appends) < len(transactions):
            raise InvalidInput("commit_batch takes transactions that append, one at least")
        properties = {key: text for one in transactions for key, text in one.transaction_properties.items()}
        merged = Transaction(
            read_version=min(one.read_version for one in transactions),
            operation=LanceOperation.Append([fragment for append in appends for fragment in append.fragments]),
            transaction_properties=properties,
        )
        made = cls.commit(
            dest,
            merged,
            commit_lock=commit_lock,
            storage_options=storage_options,
            max_retries=max_retries,
            commit_timeout=commit_timeout,
            base_store_params=base_store_params,
            **hints,
        )
        return {"dataset": made, "merged": merged}

    def _plan_merge(self, rules: Rules, stream: Stream) -> tuple[Transaction, MergeStats]:
        """A merge into the newest version as a transaction."""
        newest = read_manifest(self._store, resolve(self._store), known=self._manifest)
        stream = conform_some(stream, newest.schema.to_arrow())
        change, stats = run_merge(self._session, rules, stream, lambda merge: merge(newest))
        return Transaction(newest.version, update_of(change, newest)), stats

    def read_transaction(self, version: int) -> Transaction:
        """The commit that made a version. Raises NotFound."""
        return transaction_at(version, self._version)

    def get_transactions(self, recent_transactions: int = 10) -> list[Transaction]:
        """The commits that made this version and those before it, newest first."""
        known = [version for version in list_versions(self._store) if version <= self._manifest.version]
        chosen = known[len(known) - min(len(known), recent_transactions) :]
        return [transaction_at(version, self._version) for version in reversed(chosen)]

    def shallow_clone(
        self,
        target_path: str | os.PathLike[str],
        reference: Reference | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> LanceDataset:
        """Make a version another table that shares the data files of this one, and return a handle on it.

        reference: which one, as in `checkout_version`; None: that of this handle. The clone begins with the same
        version number, row ids and metadata, without indices; what is written to it goes to its own place.
        storage_options: of that place; None: as those of this table, where both belong to one service. Who opens the
        clone with others passes those of this table as `base_store_params`.
        It reads the files of this table for as long as it names them: tag the version here, so that a cleanup keeps
        them. Whoever opens a table that a stranger made reads, by its bases, files of lance_like from other places.
        Raises AlreadyExists, NotFound. Cost: the metadata.
        """
        return self._clone(shallow_clone, target_path, reference, storage_options)

    def deep_clone(
        self,
        target_path: str | os.PathLike[str],
        reference: Reference | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> LanceDataset:
        """As `shallow_clone`, with copies of the data files: the clone needs nothing of this table."""
        return self._clone(deep_clone, target_path, reference, storage_options)

    def _clone(
        self,
        clone: Callable[[Store, Manifest, Store], Manifest],
        target: str | os.PathLike[str],
        reference: Reference | None,
        storage_options: Mapping[str, Any] | None,
    ) -> LanceDataset:
        line, manifest = self._store, self._manifest
        if reference is not None:
            line, version = locate(self._store, reference)
            manifest = read_manifest(line, version, known=self._manifest)
        source, options = main_line(line), self._options
        place = open_place(
            target,
            durability=options["durability"],
            storage_options=options_beside(source, target) if storage_options is None else storage_options,
            commit_lock=None,
            folders=FOLDERS[:2],
        )
        made = clone(with_bases(source, manifest.bases, options["base_store_params"]), manifest, place)
        # What the files of this table are read with, whatever the scheme of the clone.
        mine = options_beside(source, source.uri)
        known = {**({source.uri: mine} if mine else {}), **(options["base_store_params"] or {})}
        return cast("LanceDataset", type(self)(place, made, **{**options, "base_store_params": known or None}))

    @property
    def initial_storage_options(self) -> dict[str, Any] | None:
        """The storage options that the dataset was opened with; None without any."""
        store = main_line(self._store)
        return dict(options_beside(store, store.uri) or {}) or None

    def latest_storage_options(self) -> dict[str, Any] | None:
        """As `initial_storage_options`: credentials that change are the store's own to renew."""
        return self.initial_storage_options

    def new_file_session(self) -> LanceFileSession:
        """Reads and writes single files at the place of the dataset, with its storage options, as new ones in data/.

        What is written there belongs to the dataset when `commit` names it (`lance_like.fragment.DataFile.create`).
        """
        return LanceFileSession(self._store.uri, self.initial_storage_options)

    def delta(
        self,
        compared_against: int | None = None,
        *,
        begin_version: int | None = None,
        end_version: int | None = None,
    ) -> DatasetDelta:
        """The rows that changed between two versions: inserted and updated ones as streams, ids of deleted ones.

        compared_against: what changed from that version to this one; or begin_version and end_version: from one to
        the other. 0 stands for the empty table before the first version. Cost: nothing is read before it is asked for.
        """
        current = self._manifest.version
        return delta_of(self._session, self._version, current, compared_against, begin_version, end_version)

    def diff(self, other: int) -> VersionDiff:
        """What is other in this version than in another: columns, counts of rows, metadata. No data is read."""
        return diff_of(self._version(other), self._manifest)


def _as_transaction(
    operation: LanceOperation.BaseOperation | Transaction, read_version: int | None, message: str | None
) -> Transaction:
    if isinstance(operation, Transaction):
        if read_version is not None or message is not None:
            raise InvalidInput(
                "a Transaction has its own read_version and message",
                hint=f"the message is the property {LANCE_COMMIT_MESSAGE_KEY!r}",
            )
        return operation
    if not isinstance(operation, LanceOperation.BaseOperation):
        raise InvalidInput(f"{operation!r:.80} is no LanceOperation and no Transaction")
    if read_version is None and not isinstance(operation, LanceOperation.Overwrite | LanceOperation.Restore):
        raise InvalidInput("read_version is needed but for Overwrite and Restore")
    properties = {} if message is None else {LANCE_COMMIT_MESSAGE_KEY: message}
    return Transaction(read_version or 0, operation, transaction_properties=properties)


def _commit(store: Store, transaction: Transaction, *, is_named: bool, retries: int, timeout_s: float) -> Manifest:
    """Commit a transaction. is_named: the caller made it, and may have committed it before."""
    name = _uuid(transaction.uuid)
    base = _base(store, transaction)
    if is_named and base is not None and transaction.read_version == 0:
        earlier = committed(store, name, 0, base.version)
        if earlier is not None:
            return earlier
    action = action_of(transaction.operation, base, partial(read_manifest, store, known=base))
    _check_files(store, action)
    properties = dict(transaction.transaction_properties)
    message = properties.pop(LANCE_COMMIT_MESSAGE_KEY, None)
    return commit(
        store,
        base,
        action,
        message=message,
        properties=properties,
        retries=retries,
        timeout_s=timeout_s,
        transaction=name if is_named else None,
        strict=retries == 0,
    )


def _base(store: Store, transaction: Transaction) -> Manifest | None:
    """The version that a transaction was made for; the newest, where none is needed and none is named."""
    version = whole(transaction.read_version)
    if version is None:
        raise InvalidInput(f"read_version={transaction.read_version!r}: expected the number of a version")
    version = version or newest_if_any(store)
    return None if version is None else read_manifest(store, version)


def _uuid(text: str) -> str:
    try:
        return uuid.UUID(text).hex
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidInput(f"{text!r:.80} is no uuid of a transaction") from error


def _check_files(store: Store, action: Action) -> None:
    """Raise InvalidInput unless the new files of an action are there, whole, as described and of its schema's types."""
    files = [_described(file) for file in new_files(action)]
    if isinstance(action, SetIndexes):
        check_segment_files(store, [new.entry for new in action.made])
    session = Session(store)
    try:
        readers = dict(zip((file.key for file in files), session.open(files), strict=True))
        session.drive([(path, readers[path].check_types(kinds)) for path, kinds in _kinds(action)])
    except (Corrupt, NotFound) as error:
        raise InvalidInput(f"a file of the change cannot be used: {error.message}", where=error.where) from error


def _kinds(action: Action) -> Iterator[tuple[str, list[pa.DataType]]]:
    """The files whose columns are those of a schema, and the types of the columns of each."""
    if isinstance(action, AddColumns):
        groups = list((action.files or {}).values())
    elif isinstance(action, Create | Append | Overwrite):
        groups = [fragment.files for fragment in action.fragments]
    else:
        return
    kinds = [column.type for column in flatten(action.schema)]
    for files in groups:
        if sum(file.columns for file in files) != len(kinds):
            continue  # `apply` says so
        first = 0
        for file in files:
            yield file.path, kinds[first : first + file.columns]
            first += file.columns


def _described(file: NewFile) -> DataFile:
    return DataFile(file.path, file.nbytes, file.tail, file.rows, ((0, file.columns),))


__all__ = ["BulkCommitResult", "DatasetCommits"]
