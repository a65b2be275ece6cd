"""The door to faiss: how it is loaded, pointed at memory and kept to the threads it is given.

faiss spreads over OpenMP's threads, which spin while they wait and do not survive a fork. So searches use one thread of
OpenMP each and many of Python's (faiss lets go of the interpreter's lock); builds use OpenMP in a thread of their own,
whose pool of threads ends with it. What OpenMP is told counts only for the thread that tells it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like._lazy import need
from lance_like.locks import lock_over_forks
from lance_like.typing_ import T

_LOCK = lock_over_forks()
_POOLS: dict[int, ThreadPoolExecutor] = {}
_WAITING = "OMP_WAIT_POLICY"


@lru_cache(maxsize=1)
def faiss() -> Any:
    """The library. Raises MissingDependency."""
    # Read once, when its OpenMP is loaded: threads that spin cost another search ten times its own work.
    chosen = os.environ.get(_WAITING)
    os.environ.setdefault(_WAITING, "passive")
    try:
        return need("faiss")
    finally:
        if chosen is None:
            os.environ.pop(_WAITING, None)


def pointer(array: np.ndarray) -> Any:
    """Where an array begins, for faiss. The caller keeps the array while faiss uses it; it must be contiguous."""
    return faiss().swig_ptr(array)


def alone() -> Any:
    """The library, its OpenMP kept to the calling thread."""
    library = faiss()
    library.omp_set_num_threads(1)
    return library


def spread(work: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    """What work makes of each item, by the threads of all cores; each of them keeps faiss to itself."""
    items = list(items)
    if len(items) == 1:
        return [work(items[0])]
    return list(_pool().map(work, items))


def cores() -> int:
    """How many threads work at a time."""
    return pa.cpu_count()


def _pool() -> ThreadPoolExecutor:
    """The threads of this process: a forked one makes its own."""
    process = os.getpid()
    pool = _POOLS.get(process)
    if pool is None or pool._max_workers != cores():
        with _LOCK:
            _POOLS.clear()
            pool = _POOLS[process] = ThreadPoolExecutor(cores(), "lance_like-vectors")
    return pool


def apart(work: Callable[[], T], threads: int | None) -> T:
    """Do what uses OpenMP's threads in a thread of its own, and wait for it. threads: None for all cores."""
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            faiss().omp_set_num_threads(threads or cores())
            found.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="lance_like-build")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


__all__ = ["alone", "apart", "cores", "faiss", "pointer", "spread"]
