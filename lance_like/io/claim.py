"""Giving a file its name unless that is taken, on a disk without hard links (format_spec/commit.md, "Without links").

A rename replaces what is there, so only who holds the claim of a name may rename to it:

    .tmp-<uuid>.d/.tmp-<uuid>          the file, in a folder of its own
    .tmp-claim-<name>/.tmp-<uuid>      that folder, renamed: the claim, held while a file is in it
    <name>                             the file, renamed out of the claim

A folder is not renamed over one that holds something, so one claim is held at a time. A holder that died is found out
by its claim staying the same; the claim is broken by removing the file in it, and then a holder that was only slow
finds nothing to rename.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress

from lance_like.io.store import TEMPORARY

# A claim is held for one look and one rename. Breaking one that is alive costs its holder another try, nothing else.
_BROKEN_AFTER_S = 2.0
_GIVE_UP_AFTER_S = 60.0
_PAUSE_S = 0.002
_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY})


def publish_by_claim(folder: int, temporary: str, name: str) -> bool:
    """Rename a file unless its new name is taken.

    folder: a descriptor of the folder that holds it. temporary: its name, which nobody else uses.
    Returns False if another writer broke the claim: the file is gone, and the name may be free or not.
    Raises FileExistsError if the name is taken, other OSErrors; then nothing temporary is left if that can be.
    """
    own, claim = f"{temporary}.d", f"{TEMPORARY}claim-{name}"
    os.mkdir(own, dir_fd=folder)
    try:
        os.rename(temporary, f"{own}/{temporary}", src_dir_fd=folder, dst_dir_fd=folder)
        _take(folder, own, claim, name)
        _check_free(folder, name)
        try:
            os.rename(f"{claim}/{temporary}", name, src_dir_fd=folder, dst_dir_fd=folder)
        except FileNotFoundError:
            return False
        return True
    finally:
        for place in (own, claim):
            with suppress(OSError):
                os.unlink(f"{place}/{temporary}", dir_fd=folder)
            # Left alone while the claim of another writer is in it.
            with suppress(OSError):
                os.rmdir(place, dir_fd=folder)


def remove_claim(folder: int, name: str) -> None:
    """Remove a claim, or a folder that was to become one, and with it a write that a process did not finish."""
    for holder in _names(folder, name):
        with suppress(FileNotFoundError):
            os.unlink(f"{name}/{holder}", dir_fd=folder)
    with suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=folder)


def _take(folder: int, own: str, claim: str, name: str) -> None:
    """Make a folder the claim of a name, when no other writer holds it."""
    seen: list[str] = []
    since = 0.0
    give_up = time.monotonic() + _GIVE_UP_AFTER_S
    while time.monotonic() < give_up:
        try:
            os.rename(own, claim, src_dir_fd=folder, dst_dir_fd=folder)
            return
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        _check_free(folder, name)
        holders = _names(folder, claim)
        if holders != seen:
            seen, since = holders, time.monotonic()
        elif time.monotonic() - since > _BROKEN_AFTER_S:
            for holder in holders:
                with suppress(FileNotFoundError):
                    os.unlink(f"{claim}/{holder}", dir_fd=folder)
        if not holders:
            # Some systems do not rename a folder over an empty one either.
            with suppress(OSError):
                os.rmdir(claim, dir_fd=folder)
        time.sleep(_PAUSE_S)
    raise OSError(errno.EBUSY, f"the claim of this name was not given up in {_GIVE_UP_AFTER_S:.0f} s")


def _check_free(folder: int, name: str) -> None:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


def _names(folder: int, claim: str) -> list[str]:
    """What lies in a claim; nothing if it is not there any more."""
    try:
        descriptor = os.open(claim, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return []
    try:
        return sorted(os.listdir(descriptor))
    finally:
        os.close(descriptor)


__all__ = ["publish_by_claim", "remove_claim"]
