"""Writing an object of an object store only if its key is free (format_spec/commit.md, "Object stores").

Only stores whose put is one step for all writers are trusted with it, and each is asked to prove it before the first
such write of a process: a server that does not know the condition would write all the same.
"""

from __future__ import annotations

import random
import time
from typing import Any

from lance_like.errors import Unsupported
from lance_like.io.store import TEMPORARY

PROBE = TEMPORARY + "conditional"

# The filesystems whose pipe_file(mode="create") is a conditional request, not a look and then a write.
_CONDITIONAL = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
_TAKEN = frozenset({"PreconditionFailed", "412"})
# Another request for this key is under way, and this one was not carried out: S3 asks to repeat it.
_BUSY = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4)

_PROVEN: set[tuple[str, str]] = set()


def put_if_absent(system: Any, path: str, data: bytes) -> None:
    """Write an object unless it is there, in one step.

    system: of fsspec; `prove` was called. Raises FileExistsError; after any other error the object may be there.
    """
    for pause_s in (*_PAUSES_S, None):
        try:
            system.pipe_file(path, data, mode="create")
            return
        except Exception as error:
            code = code_of(error)
            if isinstance(error, FileExistsError) or code in _TAKEN:
                raise FileExistsError(path) from error
            if code not in _BUSY or pause_s is None:
                raise
            time.sleep(random.uniform(0, pause_s))


def prove(system: Any, root: str, uri: str) -> None:
    """Make sure that a store refuses to write to a key that is taken. root: the folder of the table there.

    Raises Unsupported. Cost: one request for each process and table, two for the first of a table.
    """
    protocol = system.protocol if isinstance(system.protocol, str) else system.protocol[0]
    known = str(getattr(system, "_fs_token", id(system))), root
    if known in _PROVEN:
        return
    refused = False
    if protocol in _CONDITIONAL:
        for _ in range(2):
            try:
                put_if_absent(system, f"{root}/{PROBE}", b"")
            except FileExistsError:
                refused = True
                break
    if not refused:
        raise Unsupported(
            f"this store ({protocol}) cannot write an object only if its key is free, so that of two writers one "
            "would undo the other's commit",
            kind="conditional-put",
            where=uri,
            hint="pass commit_lock, a function from a version to a context manager that one writer at a time is in",
        )
    _PROVEN.add(known)


def code_of(error: BaseException) -> str:
    """What an S3 server called an error; empty if it was not one."""
    for found in (error, error.__cause__):
        response = getattr(found, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


__all__ = ["PROBE", "prove", "put_if_absent"]
