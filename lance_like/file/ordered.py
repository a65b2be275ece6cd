"""Work on threads whose results come back in the order in which it was handed out, within a budget of bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class OrderedWork(Generic[T]):
    """A queue of jobs. Jobs begin in the order of submission, so one may wait for those before it.

    threads: how many run side by side; with 1, none is started and `submit` runs the job.
    budget_nbytes: `ready` waits for results while `nbytes` is over it.
    nbytes: of the submitted jobs whose results were not taken yet.
    """

    def __init__(self, *, threads: int, budget_nbytes: int) -> None:
        self._threads = threads
        self._budget = budget_nbytes
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[tuple[Future[T], int]] = deque()
        self.nbytes = 0

    @property
    def started(self) -> bool:
        """Whether there are threads."""
        return self._pool is not None

    def submit(self, job: Callable[[], T], nbytes: int, *, inline: bool = False) -> None:
        """Add a job that holds some bytes. inline: run it here and now."""
        if self._threads == 1 or inline:
            future: Future[T] = Future()
            future.set_result(job())
        else:
            self._pool = self._pool or ThreadPoolExecutor(self._threads, "lance_like-write")
            future = self._pool.submit(job)
        self._waiting.append((future, nbytes))
        self.nbytes += nbytes

    def ready(self) -> Iterator[T]:
        """The results that are there, in order; waits while the budget is exceeded. Raises what a job raised."""
        while self._waiting and (self.nbytes > self._budget or self._waiting[0][0].done()):
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
        for future, _ in self._waiting:
            # A later job may have failed already: the rest would be written in vain.
            if future.done():
                future.result()
        future, nbytes = self._waiting.popleft()
        result = future.result()
        self.nbytes -= nbytes
        return result
