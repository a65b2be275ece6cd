"""Compaction as tasks that any process can execute: `Compaction.plan`, `task.execute`, `Compaction.commit`."""

from __future__ import annotations

from lance_like.dataset.optimize import (
    Compaction,
    CompactionMetrics,
    CompactionOptions,
    CompactionPlan,
    CompactionTask,
    RewriteResult,
)

__all__ = [
    "Compaction",
    "CompactionMetrics",
    "CompactionOptions",
    "CompactionPlan",
    "CompactionTask",
    "RewriteResult",
]
