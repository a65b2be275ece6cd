"""Jobs done ahead and in order: while a caller uses one result, threads make the next ones.

The caller counts as a thread: when the result it waits for is not there, it does the next job that nobody has begun.
The other threads stay for the next scan, since starting them takes as long as reading some megabytes.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from lance_like.locks import lock_over_forks

T = TypeVar("T")

_MOST_THREADS = 8
# So many light jobs of a scan the caller does alone.
_FEW_LIGHT = 8
# Jobs that wait for each thread: one in work and one to go on with.
_JOBS_A_THREAD = 2

_LOCK = lock_over_forks()
_pools: dict[int, ThreadPoolExecutor] = {}
# A forked process has the pools and not their threads.
os.register_at_fork(after_in_child=_pools.clear)
# `is_worker` is there in threads of a pool.
_here = threading.local()


def default_threads() -> int:
    """The threads of one scan: the cores this process may use, 8 at most. So 2 on 2 cores and 8 on 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_THREADS)


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """One piece of work. nbytes: what its result holds, about. batches: how many it gives, at most.

    light: to give it to a thread pays where it is one of many.
    """

    run: Callable[[], T]
    nbytes: int
    batches: int = 1
    light: bool = False


def in_order(
    jobs: Iterator[Job[T]], *, threads: int, budget_nbytes: int, most_ahead: int | None = None, patient: bool = False
) -> Generator[T, None, None]:
    """The results of jobs, in order; what a job or the iterator raises comes in its place.

    threads: how many work side by side, the caller among them; with 1, none is started and nothing is done ahead.
    Callers that ask for as many at the same time share them, each beside its own.
    budget_nbytes: of results made ahead, apart from the one that the caller gets next; the last one may exceed it.
    most_ahead: batches made ahead, if that is less.
    patient: do nothing ahead at first, then ever more, for a caller who may need few results.
    Closing the iterator drops the jobs that have not begun and waits for the others.
    """
    if threads == 1 or most_ahead == 0:
        for job in jobs:
            yield job.run()
        return
    work = _Work(jobs, threads, budget_nbytes, most_ahead)
    try:
        most_jobs = 0 if patient else threads * _JOBS_A_THREAD
        while work.fill(most_jobs):
            yield work.take()
            most_jobs = min(most_jobs + 1, threads * _JOBS_A_THREAD)
    finally:
        work.close()


class _Begun(Generic[T]):
    """A job that a thread was given, or that waits for the caller."""

    def __init__(self, job: Job[T], pool: ThreadPoolExecutor | None) -> None:
        self.job = job
        self._future: Future[T] | None = None if pool is None else pool.submit(job.run)
        self.nbytes, self.batches = job.nbytes, job.batches

    @property
    def waits(self) -> bool:
        """Was it given to no thread, and not done here?"""
        return self._future is None

    @property
    def is_done(self) -> bool:
        return self._future is not None and self._future.done()

    def do_unless_begun(self) -> None:
        """Do it here, and keep the result or what it raised, if no thread has begun it."""
        if self._future is not None and not self._future.cancel():
            return
        self._future = Future()
        try:
            self._future.set_result(self.job.run())
        except Exception as error:
            self._future.set_exception(error)

    def result(self) -> T:
        assert self._future is not None
        return self._future.result()

    def cancel(self) -> bool:
        """See that it does not begin. False when it has."""
        return self._future is None or self._future.cancel()

    def wait(self) -> None:
        """Until it has ended, whatever came of it."""
        assert self._future is not None
        wait([self._future])


class _Work(Generic[T]):
    """The jobs that were begun or wait, oldest first."""

    def __init__(self, jobs: Iterator[Job[T]], threads: int, budget_nbytes: int, most_ahead: int | None) -> None:
        self._jobs, self._threads = jobs, threads
        self._budget, self._most_ahead = budget_nbytes, most_ahead
        self._queue: deque[_Begun[T]] = deque()
        self._nbytes_ahead = self._batches_ahead = 0
        self._light = 0
        self._over = False
        self._error: Exception | None = None

    def fill(self, most_jobs: int) -> bool:
        """Add jobs up to the limits, most_jobs ahead. False when there are none; raises what their iterator raised."""
        while not self._over and (not self._queue or self._has_room(most_jobs)):
            job = self._next()
            if job is None:
                self._over = True
                continue
            self._light += job.light
            if not self._queue:
                # The caller does it: no thread is started for a single job.
                self._queue.append(_Begun(job, None))
            else:
                alone = job.light and self._light <= _FEW_LIGHT
                self._queue.append(_Begun(job, None if alone else _pool(self._threads - 1)))
                self._nbytes_ahead += job.nbytes
                self._batches_ahead += job.batches
        if not self._queue and self._error is not None:
            raise self._error
        return bool(self._queue)

    def take(self) -> T:
        """The result of the oldest job."""
        oldest = self._queue[0]
        if len(self._queue) == 1 and oldest.waits:
            return self._queue.popleft().job.run()
        for begun in self._queue:
            if oldest.is_done:
                break
            begun.do_unless_begun()
        self._queue.popleft()
        if self._queue:
            self._nbytes_ahead -= self._queue[0].nbytes
            self._batches_ahead -= self._queue[0].batches
        return oldest.result()

    def close(self) -> None:
        # All first, so that none begins while another is waited for.
        running = [begun for begun in self._queue if not begun.cancel()]
        self._queue.clear()
        # The garbage collector may close an abandoned scan in a thread that does a job of that very scan.
        if not hasattr(_here, "is_worker"):
            for begun in running:
                begun.wait()

    def _has_room(self, most_jobs: int) -> bool:
        few = self._most_ahead is None or self._batches_ahead < self._most_ahead
        return few and len(self._queue) <= most_jobs and self._nbytes_ahead < self._budget

    def _next(self) -> Job[T] | None:
        try:
            return next(self._jobs, None)
        except Exception as error:
            # It comes after the results of the jobs before it.
            self._error = error
            return None


def _mark_worker() -> None:
    _here.is_worker = True


def _pool(workers: int) -> ThreadPoolExecutor:
    with _LOCK:
        if workers not in _pools:
            _pools[workers] = ThreadPoolExecutor(workers, "lance_like-scan", _mark_worker)
        return _pools[workers]


__all__ = ["Job", "default_threads", "in_order"]
