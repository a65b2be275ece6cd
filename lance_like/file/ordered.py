"""Work on threads whose results come back in the order in which it was handed out, within a budget of bytes.

The caller counts as a thread: where it would wait for a job that nobody has begun, it does the job.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class _Job(Generic[T]):
    """A job that holds some bytes. No thread has it until `give`."""

    def __init__(self, run: Callable[[], T], nbytes: int) -> None:
        self.nbytes = nbytes
        self._run = run
        self._future: Future[T] | None = None

    @property
    def done(self) -> bool:
        return self._future is not None and self._future.done()

    def give(self, pool: ThreadPoolExecutor) -> None:
        """Let a thread do it, if none has it."""
        if self._future is None:
            self._future = pool.submit(self._run)

    def do(self) -> None:
        """Do it here, if no thread has it."""
        if self._future is None:
            future: Future[T] = Future()
            future.set_result(self._run())
            self._future = future

    def result(self) -> T:
        """What it gives or raises; it is done here unless it has begun."""
        if self._future is None or self._future.cancel():
            return self._run()
        return self._future.result()


class OrderedWork(Generic[T]):
    """A queue of jobs. Jobs begin in the order of submission, so one may wait for those before it.

    threads: how many run beside the caller; with 1, none is started and `submit` runs the job. None is started for a
    single job.
    budget_nbytes: `ready` waits for results while `nbytes` is over it.
    nbytes: of the submitted jobs whose results were not taken yet.
    """

    def __init__(self, *, threads: int, budget_nbytes: int) -> None:
        self._threads = threads
        self._budget = budget_nbytes
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[_Job[T]] = deque()
        self.nbytes = 0

    @property
    def started(self) -> bool:
        """Whether there are threads."""
        return self._pool is not None

    def submit(self, job: Callable[[], T], nbytes: int, *, inline: bool = False) -> None:
        """Add a job that holds some bytes. inline: run it here and now, after those that no thread has."""
        self._waiting.append(_Job(job, nbytes))
        self.nbytes += nbytes
        if self._threads == 1 or inline:
            for waiting in self._waiting:
                waiting.do()
        elif len(self._waiting) > 1 or self._pool is not None:
            self._pool = self._pool or ThreadPoolExecutor(self._threads, "lance_like-write")
            for waiting in self._waiting:
                waiting.give(self._pool)

    def ready(self) -> Iterator[T]:
        """The results that are there, in order; waits while the budget is exceeded. Raises what a job raised."""
        while self._waiting and (self.nbytes > self._budget or self._waiting[0].done):
            yield self._take()

    def rest(self) -> Iterator[T]:
        """All results that were not taken yet, in order. Raises what a job raised."""
        while self._waiting:
            yield self._take()

    def close(self) -> None:
        """Drop the jobs that have not begun, and wait for the others."""
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _take(self) -> T:
        for job in self._waiting:
            # A later job may have failed already: the rest would be written in vain.
            if job.done:
                job.result()
        job = self._waiting.popleft()
        result = job.result()
        self.nbytes -= job.nbytes
        return result
