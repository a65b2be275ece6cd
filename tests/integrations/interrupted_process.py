"""A process that runs a statement until it is interrupted, and then goes on. Started by test_interrupts.py.

python interrupted_process.py FOLDER STATEMENT: writes a line when the statement runs, and one with what came of it.
"""

from __future__ import annotations

import sys
import threading
import time

import pyarrow as pa

import lance_like


def running() -> bool:
    """Whether a thread of a statement is there."""
    return any(thread.name == "lance_like sql" for thread in threading.enumerate())


def tell_when_running() -> None:
    """Write a line once a statement has run for a moment."""
    while not running():
        time.sleep(0.01)
    time.sleep(0.2)
    print("running", flush=True)


def main(folder: str, statement: str) -> None:
    ds = lance_like.write_dataset(pa.table({"x": range(100_000)}), folder)
    threading.Thread(target=tell_when_running, daemon=True).start()
    try:
        answer = lance_like.sql(statement, ds=ds)
        print("ended", answer.fetchall(), flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    after = lance_like.sql("SELECT count(*), sum(x) FROM ds WHERE x < 10", ds=ds).fetchall()
    ds.insert(pa.table({"x": [1]}))
    print(after, ds.count_rows(), ds.version, running(), flush=True)


main(*sys.argv[1:])
