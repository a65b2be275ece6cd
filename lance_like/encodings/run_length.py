"""Run-length: each run of equal rows once (format_spec/encodings/run_length.md).

buffer 0: a ranked bitmap of n bits, one where a run begins     child 0: the values of the runs
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.joining import joined
from lance_like.encodings.linear import forward_filled
from lance_like.encodings.physical import flat_array, flat_bytes, flat_width, is_variable, valid_of
from lance_like.encodings.rank import LINE_BITS, LINE_NBYTES, RunOfRanks, pack_ranked, read_ranks, read_run_of_ranks
from lance_like.encodings.registry import encode_array, read_node
from lance_like.encodings.sample import sampled_runs
from lance_like.encodings.sift import Flags, Sieve, read_judged
from lance_like.encodings.stack import LONG_RUN, Reading, Runs, Stack, together

_WIDTHS = (1, 2, 4, 8)
_BITMAP_BITS = 8 * LINE_NBYTES / LINE_BITS
# A take costs a second round: runs must save at least half.
_WORTH = 0.5


class RunLength:
    """For columns that keep a value for many rows: what a table was sorted by, states, codes of such text; and for wide
    cells, such as vectors, of which most are null."""

    name = "run_length"
    shape: tuple[str, ...] = ()

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        width = flat_width(array.type)
        data = flat_bytes(array) if width and array.null_count < len(array) else None
        if width is None or data is None:
            return None
        found = _runs(data.view(f"<u{width}"), array) if width in _WIDTHS else _present(data.reshape(-1, width), array)
        if found is None:
            return None
        begins, kept = found
        child = encode_array(flat_array(array.type, kept.view(np.uint8).reshape(-1), len(kept)), hints)
        return Encoded(self.name, len(array), buffers=(pack_ranked(begins),), children=(child,))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        fits = flat_width(kind) is not None or pa.types.is_boolean(kind) or is_variable(kind)
        stack.require(fits, f"it cannot hold the type {kind}")
        child = stack.child(0)
        if len(runs.at) == 1 and runs.count > LINE_BITS:
            return (yield from _read_run(stack, child, kind, runs))
        if runs.long(LONG_RUN):
            return joined((yield from together([self.read(stack, kind, run) for run in runs.apart()])))
        at, _ = runs.rows()
        ranks = (yield from read_ranks(stack, 0, runs)) - 1
        stack.require(bool(((ranks >= 0) & (ranks < child.num_rows[at])).all()), "a row is past its last run")
        values = yield from read_node(child, kind, Runs.of_rows(at, ranks))
        stack.require(values.null_count == 0, "a value is null")
        return values

    def judge(self, stack: Stack, kind: pa.DataType, runs: Runs, test: Sieve) -> Reading[Flags]:
        """Test the value of each run once."""
        if runs.count <= LINE_BITS:
            return test.of_values((yield from self.read(stack, kind, runs)))
        places, ranks = yield from _runs_of(stack, stack.child(0), runs)
        return ranks.spread((yield from read_judged(stack.child(0), kind, places, test)))


def _runs_of(stack: Stack, child: Stack, runs: Runs) -> Reading[tuple[Runs, RunOfRanks]]:
    """The values that one long run of rows has, as rows of the child, and which of them each row has."""
    ranks = yield from read_run_of_ranks(stack, 0, runs)
    # Without a one at the first row, its value is that of a run which began before.
    first, last = ranks.before + int(ranks.begins) - 1, ranks.before + ranks.inside
    stack.require(first >= 0 and last <= int(child.num_rows[runs.at[0]]), "a row is past its last run")
    return Runs(runs.at, np.array([first]), np.array([last])), ranks


def _read_run(stack: Stack, child: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
    """One long run of rows: a run of values, each repeated."""
    places, ranks = yield from _runs_of(stack, child, runs)
    values = yield from read_node(child, kind, places)
    stack.require(values.null_count == 0, "a value is null")
    width = flat_width(kind)
    if width not in _WIDTHS or pa.types.is_nested(kind):
        return values.take(pa.array(ranks.spread(np.arange(len(values)))))
    stored = np.frombuffer(values.buffers()[1] or b"", f"<u{width}", len(values), values.offset * width)
    return flat_array(kind, ranks.spread(stored).view(np.uint8), runs.count)


def _runs(values: np.ndarray, array: pa.Array) -> tuple[np.ndarray, np.ndarray] | None:
    """Where runs of equal numbers begin, bool[rows], and the value of each; None where that does not pay."""
    if not _pays(sampled_runs(values)):
        return None
    if array.null_count:
        values = forward_filled(values, valid_of(array))
    begins = np.empty(len(values), bool)
    begins[0] = True
    np.not_equal(values[1:], values[:-1], out=begins[1:])
    kept = values[begins]
    return (begins, kept) if len(kept) <= _WORTH * len(values) else None


def _present(cells: np.ndarray, array: pa.Array) -> tuple[np.ndarray, np.ndarray] | None:
    """As `_runs` of wide cells, such as vectors, where most are null: a run for each that is there."""
    if len(array) - array.null_count > _WORTH * len(array):
        return None
    begins = valid_of(array)
    kept = cells[begins]
    # Nulls before the first cell that is there belong to its run.
    begins[begins.argmax()] = False
    begins[0] = True
    return begins, kept


def _pays(sample: np.ndarray) -> bool:
    """Whether runs take at most half the bits of differences from one base, by runs of neighbouring rows."""
    rows = sample.shape[1]
    if rows < 2:
        return False
    changes = (sample[:, 1:] != sample[:, :-1]).mean()
    bits = int(sample.max() - sample.min()).bit_length()
    return _BITMAP_BITS + changes * bits <= _WORTH * bits
