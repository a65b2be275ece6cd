"""How long a table takes to write and to open, and how many bytes it has on disk."""

import shutil

from benchmarks.tasks import Case, Clock, Row, interleaved, paused_gc
from benchmarks.tasks.pagecache import make_durable, read_fully

__all__ = ["run_bytes", "run_open", "run_write"]

# a write of 1 GB takes seconds, and says enough in few repetitions
MOST_WRITES = 5
# opens per peer and repetition
OPENS = 10
WRITE, OPEN = 21, 22


def run_write(case: Case) -> list[Row]:
    """Write from batches in memory until the bytes are durable: fsync of all files is timed for all peers."""
    clock = Clock(case.peers)
    batches = list(case.data.batches())
    writers = tuple({peer.stored_as: peer for peer in reversed(case.peers)}.values())
    for repetition, peers in interleaved(case, WRITE):
        if repetition == MOST_WRITES:
            break
        for peer in (peer for peer in peers if peer in writers):
            path = case.folder / f"write-{peer.name}"

            def write(peer=peer, path=path) -> None:
                peer.write(path, iter(batches), case.data.schema)
                make_durable(path)

            with paused_gc():
                clock.run(peer, write)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    return [
        Row("write", case.data.kind, "", "", peer.name, "ms", clock.wall[peer.name], clock.cpu[peer.name])
        for peer in writers
    ]


def run_open(case: Case) -> list[Row]:
    """Open a table; what a lazy open leaves for later is in the rows of `first_take` and `open_and_take`."""
    clock = Clock(case.peers)
    for peer in case.peers:
        read_fully(case.paths[peer.name])
        peer.open(case.paths[peer.name])
    for _, peers in interleaved(case, OPEN):
        for peer in peers:
            with paused_gc():
                for _ in range(OPENS):
                    clock.run(peer, lambda p=peer: p.open(case.paths[p.name]))
    return [
        Row("open", case.data.kind, "", "warm", peer.name, "ms", clock.wall[peer.name], clock.cpu[peer.name])
        for peer in case.peers
    ]


def run_bytes(case: Case) -> list[Row]:
    """Count the bytes of the stored table, metadata included."""
    return [
        Row("bytes", case.data.kind, "", "", peer.name, "MB", [peer.nbytes(case.paths[peer.name]) / 1e6])
        for peer in case.peers
    ]
