"""A process that changes a table until it is killed, and says of each change when it begins and how it went."""

from __future__ import annotations

import random
from multiprocessing.connection import Connection
from pathlib import Path

from operations import OPERATIONS

from lance_like.errors import AlreadyExists, InvalidInput, NotFound
from lance_like.io.local import LocalStore
from lance_like.table.layout import FOLDERS

REFUSED = (AlreadyExists, InvalidInput, NotFound)


def write_until_killed(folder: Path, seed: int, told: Connection) -> None:
    """Run operations on the table in a folder.

    Sends (name, number) before each one and True, or False if the table was not one for it, after it returned.
    """
    choice = random.Random(seed)
    number = 1000 * seed
    while True:
        number += 1
        name = choice.choice(sorted(OPERATIONS))
        told.send((name, number))
        try:
            OPERATIONS[name].run(LocalStore(str(folder), folders=FOLDERS), number)
        except REFUSED:
            told.send(False)
        else:
            told.send(True)
