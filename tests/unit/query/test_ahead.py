"""Work done ahead: in order, within its limits, on as many threads as was said, and nothing goes on behind it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lance_like.query.ahead import Job, _Work, default_threads, in_order

LARGE = 1 << 40


def jobs_of(works: list[Callable[[], Any]], nbytes: int = 1) -> Iterator[Job[Any]]:
    return (Job(work, nbytes) for work in works)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_results_come_in_order_whatever_finishes_first(threads: int) -> None:
    later_done = threading.Event()

    def first() -> int:
        # With one thread nothing can come before it.
        assert threads == 1 or later_done.wait(10)
        return 0

    def second() -> int:
        later_done.set()
        return 1

    works = [first, second, *(lambda n=n: n for n in range(2, 40))]
    assert list(in_order(jobs_of(works), threads=threads, budget_nbytes=LARGE)) == list(range(40))


def test_the_first_light_jobs_are_done_by_the_caller_and_the_others_by_threads_too() -> None:
    here, both = threading.get_ident(), threading.Barrier(2, timeout=10)

    def late() -> int:
        both.wait()
        return threading.get_ident()

    few = [Job(threading.get_ident, 1, light=True)] * 8
    assert set(in_order(iter(few), threads=2, budget_nbytes=LARGE)) == {here}
    found = list(in_order(iter([*few, *[Job(late, 1, light=True)] * 2]), threads=2, budget_nbytes=LARGE))
    assert found[:8] == [here] * 8
    assert len(set(found[8:])) == 2


@pytest.mark.parametrize("threads", [2, 4])
def test_so_many_jobs_run_side_by_side_as_there_are_threads(threads: int) -> None:
    together = threading.Barrier(threads, timeout=10)
    works = [together.wait] * (3 * threads)
    assert len(list(in_order(jobs_of(works), threads=threads, budget_nbytes=LARGE))) == 3 * threads


def test_one_thread_does_each_job_when_its_result_is_asked_for() -> None:
    begun: list[int] = []
    results = in_order(jobs_of([lambda n=n: begun.append(n) for n in range(3)]), threads=1, budget_nbytes=LARGE)
    next(results)
    assert begun == [0]


def test_one_job_starts_no_thread() -> None:
    names = list(in_order(jobs_of([lambda: threading.current_thread().name]), threads=4, budget_nbytes=LARGE))
    assert names == [threading.current_thread().name]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_error_comes_after_the_results_before_it(threads: int) -> None:
    works = [lambda: 0, lambda: 1, lambda: 1 // 0, lambda: 3]
    results = in_order(jobs_of(works), threads=threads, budget_nbytes=LARGE)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_of_what_makes_the_jobs_comes_after_their_results(threads: int) -> None:
    def jobs() -> Iterator[Job[int]]:
        yield Job(lambda: 0, 1)
        yield Job(lambda: 1, 1)
        raise LookupError

    results = in_order(jobs(), threads=threads, budget_nbytes=LARGE)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(LookupError):
        next(results)


def test_closing_drops_what_has_not_begun_and_waits_for_what_has() -> None:
    go_on, begun, ended = threading.Event(), threading.Event(), []

    def work(n: int) -> int:
        if n == 1:
            begun.set()
            go_on.wait(10)
        ended.append(n)
        return n

    works = [lambda n=n: work(n) for n in range(100)]
    results = in_order(jobs_of(works), threads=2, budget_nbytes=LARGE)
    assert next(results) == 0
    assert begun.wait(10)
    threading.Timer(0.02, go_on.set).start()
    results.close()
    assert ended == [0, 1]


def test_an_error_behind_what_was_read_is_dropped_with_it() -> None:
    begun = threading.Event()

    def fail() -> None:
        begun.set()
        raise LookupError

    results = in_order(jobs_of([lambda: None, fail]), threads=2, budget_nbytes=LARGE)
    next(results)
    assert begun.wait(10)
    results.close()


def test_a_job_may_close_the_scan_that_it_belongs_to() -> None:
    closed, go_on = threading.Event(), threading.Event()

    def close() -> None:
        go_on.wait(10)
        work.close()
        closed.set()

    # As when the garbage collector finds an abandoned scan while a thread works for it.
    work = _Work(jobs_of([lambda: None, close]), 2, LARGE, None)
    assert work.fill(2)
    work.take()
    go_on.set()
    assert closed.wait(10)


def test_threads_are_used_again() -> None:
    idents: set[int] = set()
    for _ in range(20):
        together = threading.Barrier(3, timeout=10)

        def work(together: threading.Barrier = together) -> None:
            together.wait()
            idents.add(threading.get_ident())

        list(in_order(jobs_of([work] * 3), threads=3, budget_nbytes=LARGE))
    assert len(idents) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_starts_threads_of_its_own() -> None:
    def both() -> list[int]:
        together = threading.Barrier(2, timeout=10)
        return list(in_order(jobs_of([together.wait] * 2), threads=2, budget_nbytes=LARGE))

    assert sorted(both()) == [0, 1]
    child = os.fork()
    if child == 0:
        os._exit(0 if sorted(both()) == [0, 1] else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("limits", "most"),
    [({"budget_nbytes": 30}, 3), ({"budget_nbytes": LARGE, "most_ahead": 2}, 2), ({"budget_nbytes": LARGE}, 4)],
)
def test_no_more_is_begun_ahead_than_the_limits_allow(limits: dict[str, int], most: int) -> None:
    made: list[int] = []

    def jobs() -> Iterator[Job[int]]:
        for n in range(40):
            made.append(n)
            yield Job(lambda n=n: n, 10)

    for result in in_order(jobs(), threads=2, **limits):
        assert len(made) <= result + 1 + most
    assert len(made) == 40


def test_a_job_above_the_budget_is_done_all_the_same() -> None:
    works = [lambda n=n: n for n in range(5)]
    assert list(in_order(jobs_of(works, nbytes=LARGE), threads=2, budget_nbytes=1)) == list(range(5))


def test_nothing_ahead_is_possible() -> None:
    begun: list[int] = []
    works = [lambda n=n: begun.append(n) for n in range(5)]
    results = in_order(jobs_of(works), threads=4, budget_nbytes=LARGE, most_ahead=0)
    next(results)
    assert begun == [0]


def test_a_patient_caller_gets_more_ahead_the_longer_it_asks() -> None:
    made: list[int] = []

    def jobs() -> Iterator[Job[int]]:
        for n in range(40):
            made.append(n)
            yield Job(lambda n=n: n, 1)

    ahead = [len(made) - 1 - result for result in in_order(jobs(), threads=2, budget_nbytes=LARGE, patient=True)]
    assert ahead[:8] == [0, 1, 2, 3, 4, 4, 4, 4]


def test_the_default_is_the_cores_this_process_may_use_and_eight_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, threads in [(1, 1), (2, 2), (16, 8)]:
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert default_threads() == threads
