"""The end of an index file is brought by its first read, and asked for no more."""

import numpy as np
import pytest

from lance_like.index.kept_end import END_NBYTES, KeptEnd
from lance_like.typing_ import Spanning

DATA = np.random.default_rng(0).integers(0, 256, 3 * END_NBYTES).astype(np.uint8)


def _bytes_of(ask):
    return np.concatenate([np.empty(0, np.uint8), *(DATA[a:b] for a, b in zip(*ask, strict=True))])


def _asking(*rounds):
    """A conversation that asks for some ranges in rounds, and returns what it was sent."""
    found = []
    for asks in rounds:
        found += yield [(np.array(starts, np.int64), np.array(ends, np.int64)) for starts, ends in asks]
    return found


def _run(conversation):
    """The answer of a conversation, and the ranges that it asked for in each round."""
    log, answer = [], None
    try:
        while True:
            asks = next(conversation) if answer is None else conversation.send(answer)
            log.append([(a, b) for ask in asks for a, b in zip(*ask, strict=True)])
            answer = [_bytes_of(ask) for ask in asks]
    except StopIteration as stop:
        return stop.value, log


@pytest.mark.parametrize("nbytes", [10, END_NBYTES, len(DATA)])
def test_what_lies_in_the_end_is_asked_for_once(nbytes):
    end = KeptEnd(nbytes)
    assert end.nbytes == 0
    first = max(0, nbytes - 10)
    found, log = _run(end.answering(_asking([([first], [nbytes])], [([first + 2, first], [first + 4, first + 1])])))
    assert [part.tolist() for part in found] == [
        DATA[first:nbytes].tolist(),
        [*DATA[first + 2 : first + 4].tolist(), DATA[first]],
    ]
    assert log == [[(max(0, nbytes - END_NBYTES), nbytes)]]
    assert end.nbytes == min(nbytes, END_NBYTES)
    assert _run(end.answering(_asking([([first], [nbytes])])))[1] == []


def test_what_lies_before_the_end_is_asked_for_with_it():
    end = KeptEnd(len(DATA))
    last = len(DATA) - 5
    found, log = _run(
        end.answering(_asking([([0], [9]), ([last], [last + 5]), ([], [])], [([7, last], [8, last + 1])]))
    )
    assert log == [[(0, 9), (len(DATA) - END_NBYTES, len(DATA))], [(7, 8), (last, last + 1)]]
    assert [len(part) for part in found] == [9, 5, 0, 2]
    assert found[0].tolist() == DATA[:9].tolist()
    assert found[1].tolist() == DATA[last:].tolist()


def test_a_span_of_the_end_is_one_view():
    end = KeptEnd(len(DATA))
    _run(end.answering(_asking([([0], [1])])))
    start = len(DATA) - 100

    def conversation():
        [view] = yield [Spanning(np.array([start, start + 50]), np.array([start + 10, start + 60]))]
        return view

    found, log = _run(end.answering(conversation()))
    assert log == []
    assert found.tolist() == DATA[start : start + 60].tolist()
