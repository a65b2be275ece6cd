"""The driver of reads: the only code that runs conversations against a store.

A conversation asks for byte ranges of one object and is sent bytes, until it returns its answer. The
driver runs many side by side: in each round it collects what all of them ask, makes one `gather` an
object, and hands the bytes back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from lance_like.io.store import Store
from lance_like.typing_ import Bytes, Conversation, Ranges, T


def drive(store: Store, key: str, conversation: Conversation[T]) -> T:
    """Run one conversation about one object to its end. Cost: one `gather` a round."""
    try:
        ask = next(conversation)
        while True:
            ask = conversation.send(store.gather(key, ask))
    except StopIteration as stop:
        return stop.value


def drive_all(store: Store, conversations: Sequence[tuple[str, Conversation[Any]]]) -> list[Any]:
    """Run conversations side by side and return their answers in the same order.

    conversations: pairs of object key and conversation.
    Cost: one `gather` an object and round; as many rounds as the longest conversation needs.
    """
    if len(conversations) == 1:
        return [drive(store, *conversations[0])]
    answers: list[Any] = [None] * len(conversations)
    waiting: dict[int, list[Ranges]] = {}
    sent: dict[int, list[Bytes] | None] = dict.fromkeys(range(len(conversations)))
    while sent:
        for index, answer in sent.items():
            conversation = conversations[index][1]
            try:
                waiting[index] = next(conversation) if answer is None else conversation.send(answer)
            except StopIteration as stop:
                answers[index] = stop.value
        sent = {}
        by_key: defaultdict[str, list[int]] = defaultdict(list)
        for index in waiting:
            by_key[conversations[index][0]].append(index)
        for key, indices in by_key.items():
            answer = iter(store.gather(key, [ask for i in indices for ask in waiting[i]]))
            sent.update({i: [next(answer) for _ in waiting[i]] for i in indices})
        waiting = {}
    return answers


__all__ = ["drive", "drive_all"]
