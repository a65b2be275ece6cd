"""Removing old versions: what people say about it, and what they are told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from lance_like.errors import InvalidInput
from lance_like.io.store import Store
from lance_like.table.gc import Cleanup, Policy, clean, plan_cleanup
from lance_like.table.lines import branch_of
from lance_like.typing_ import whole

_DEFAULT_AGE = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class CleanupStats:
    """What a cleanup removed, or would. bytes_removed: of everything, manifests and unfinished writes too.

    failed_deletes: 0, as a failure is raised.
    """

    bytes_removed: int = 0
    old_versions: int = 0
    data_files_removed: int = 0
    transaction_files_removed: int = 0
    index_files_removed: int = 0
    deletion_files_removed: int = 0
    failed_deletes: int = 0


@dataclass(frozen=True, slots=True)
class CleanupCandidateFile:
    """A file that a cleanup would remove. unverified: no version of the history names it.

    kind: "manifest", "data", "transaction", "deletion", "metadata", "temporary" or "lease".
    """

    path: str
    kind: str
    unverified: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class CleanupExplanation:
    """What a cleanup would do. read_version: the newest, which stays. old_versions: those that would go.

    branches: with all_branches, those of each other branch that would go; None stands for the table itself.
    """

    read_version: int
    stats: CleanupStats
    old_versions: list[int]
    candidate_files: list[CleanupCandidateFile]
    candidate_files_truncated: bool
    candidate_file_limit: int
    branches: dict[str | None, list[int]] = field(default_factory=dict)


def policy_of(
    older_than: timedelta | None,
    retain_versions: int | None,
    versions: Sequence[int] | None,
    *,
    delete_unverified: bool,
    error_if_tagged_old_versions: bool,
    all_branches: bool,
) -> Policy:
    """The policy that a caller means. Raises InvalidInput."""
    if older_than is None and retain_versions is None and versions is None:
        older_than = _DEFAULT_AGE
    if older_than is not None and (not isinstance(older_than, timedelta) or older_than < timedelta()):
        raise InvalidInput(f"older_than={older_than!r}: expected a timedelta, not below 0")
    retain = whole(retain_versions, 1)
    if retain_versions is not None and retain is None:
        raise InvalidInput(f"retain_versions={retain_versions!r}: expected a number from 1 on")
    chosen = None if versions is None else [number for version in versions if (number := whole(version)) is not None]
    if versions is not None and chosen is not None and len(chosen) < len(versions):
        raise InvalidInput(f"versions={versions!r}: expected a list of numbers")
    if versions is not None and all_branches:
        raise InvalidInput("versions are those of one branch: all_branches does not go with them")
    return Policy(
        older_than_us=None if older_than is None else older_than // timedelta(microseconds=1),
        retain=retain,
        versions=None if chosen is None else tuple(chosen),
        delete_unverified=delete_unverified,
        error_if_tagged=error_if_tagged_old_versions,
        all_branches=all_branches,
    )


def run_cleanup(store: Store, policy: Policy) -> CleanupStats:
    """Remove what the policy lets go."""
    return _stats(clean(store, policy))


def explain_cleanup(store: Store, policy: Policy, *, include_files: bool, max_files: int) -> CleanupExplanation:
    """What `run_cleanup` would do by the clock of this machine. Nothing is written."""
    if whole(max_files, 1) is None:
        raise InvalidInput(f"max_files must be positive, not {max_files!r}")
    plan = plan_cleanup(store, policy, now_us=time.time_ns() // 1000)
    files = plan.files[:max_files] if include_files else ()
    return CleanupExplanation(
        read_version=plan.cuts[0].newest,
        stats=_stats(plan),
        old_versions=list(plan.cuts[0].versions),
        candidate_files=[CleanupCandidateFile(f.path, f.kind, f.unverified, f.nbytes) for f in files],
        candidate_files_truncated=include_files and len(files) < len(plan.files),
        candidate_file_limit=max_files,
        branches={branch_of(cut.line): list(cut.versions) for cut in plan.cuts[1:]},
    )


def _stats(plan: Cleanup) -> CleanupStats:
    kinds = [file.kind for file in plan.files]
    return CleanupStats(
        bytes_removed=sum(file.nbytes for file in plan.files),
        old_versions=sum(len(cut.versions) for cut in plan.cuts),
        data_files_removed=kinds.count("data"),
        transaction_files_removed=kinds.count("transaction"),
        deletion_files_removed=kinds.count("deletion"),
    )


__all__ = ["CleanupCandidateFile", "CleanupExplanation", "CleanupStats", "explain_cleanup", "policy_of", "run_cleanup"]
