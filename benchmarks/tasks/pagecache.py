"""What the operating system holds of a file: read it in, drop it, count what the disk delivered."""

import os
from pathlib import Path

from benchmarks.peers import files_below

__all__ = ["disk_nbytes_read", "drop", "make_durable", "read_fully"]


def read_fully(path: Path) -> None:
    """Read every byte of a table's files into the page cache; some kernels reclaim pages that were idle."""
    buffer = bytearray(4 << 20)
    for file in files_below(path):
        with open(file, "rb", buffering=0) as source:
            while source.readinto(buffer):
                pass


def drop(path: Path) -> None:
    """Drop a table's files from the page cache; pages that some mapping still uses stay."""
    for file in files_below(path):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def make_durable(path: Path) -> None:
    """Call fsync on a table's files and folders, the one above included."""
    folders = {path.parent}
    for file in files_below(path):
        folders.add(file.parent)
        _fsync(file)
    for folder in folders:
        _fsync(folder)


def disk_nbytes_read() -> int | None:
    """Count the bytes this process made the disk deliver so far, or None where the system does not tell."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes:")), None)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
