"""Locks for what forked processes go on using."""

from __future__ import annotations

import os
import threading


def lock_over_forks() -> threading.Lock:
    """A lock that a forked process never finds held by a thread it does not have. Make it once, for a whole module.

    Code that holds it takes no other lock and waits for nothing: a fork takes all of these locks first.
    """
    lock = threading.Lock()
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock


__all__ = ["lock_over_forks"]
