"""What concerns commits: `CommitConflictError`, whose `retryable` says whether trying again can help."""

from __future__ import annotations

from lance_like.dataset.place import CommitLock
from lance_like.errors import Conflict

CommitConflictError = Conflict

__all__ = ["CommitConflictError", "CommitLock"]
