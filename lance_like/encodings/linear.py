"""Linear: integers near a straight line, a line for every 256 rows (format_spec/encodings/linear.md).

    ... | stride x rows: residuals | i64 base | i64 slope | ...     a block of 256 rows; the last one may have fewer

value of row i of a block = base + floor(slope * i / 256) + residual, modulo the type's width. A line stands behind
the residuals of its block, in the same checksum block as most of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, int_param
from lance_like.encodings.joining import joined
from lance_like.encodings.narrow import check_integer_like, store
from lance_like.encodings.physical import flat_array, flat_bytes, integer_dtype, is_integer_like, valid_of
from lance_like.encodings.pool import allocate
from lance_like.encodings.sample import sampled_runs
from lance_like.encodings.stack import LONG_RUN, Ask, Reading, Runs, Stack, ask, expand, together
from lance_like.kernels import lines, widen
from lance_like.typing_ import Bytes, Int64s

BLOCK_ROWS = 256
_SLOPE_BITS = 8
_LINE_NBYTES = 16
_LINE_DTYPE = np.dtype("<i8")
# A read is a little slower than one of differences from one base: lines must save at least this share of the bytes.
_WORTH = 0.85
# Blocks that are worked on at a time: 2 MiB of values. With fewer, which stay in a nearer cache, two threads that read
# wait longer for the GIL than memory takes.
_BATCH_BLOCKS = 1024
# Slopes beyond would wrap within a block; nothing with such steps lies near a line.
_MAX_SLOPE = float(1 << 54)
# No value of a progression may wrap.
_MOST = 1 << 62
# Lines that are checked with that of a row: those of a block of checksums.
_LINES_A_ROW = 4096 // _LINE_NBYTES
_NEVER = -1
_LEARNT_AT_ONCE = 8
_STEPS = np.arange(BLOCK_ROWS, dtype=np.int64)


class Linear:
    """For ids, timestamps and offsets: what grows at a rate that changes slowly."""

    name = "linear"
    shape = ("stride",)

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if array.null_count == len(array) or array.type.bit_width < 32:
            return None
        data = flat_bytes(array)
        assert data is not None
        values = data.view(integer_dtype(array.type))
        if array.null_count:
            valid = valid_of(array)
            if not _may_pay(values, valid):
                return None
            values = forward_filled(values, valid)
        slopes = _choose_slopes(values)
        if slopes is None:
            return None
        bases, residuals = _fit(as_int64(values), slopes)
        stride = (int(residuals.max()).bit_length() + 7) // 8
        if not _pays(len(values), stride, int(values.max()) - int(values.min())):
            return None
        return Encoded(self.name, len(array), {"stride": stride}, (_pack(residuals, bases, slopes, stride),))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        check_integer_like(stack, kind)
        stride, start, end, has_empty = stack.once("opened", lambda: self._opened(stack))
        if has_empty:
            # A page without rows has no line that could be asked for.
            kept = stack.num_rows[runs.at] > 0
            runs = Runs(runs.at[kept], runs.starts[kept], runs.ends[kept], each=runs.each)
        block_nbytes = BLOCK_ROWS * stride + _LINE_NBYTES
        if len(runs.starts) == 1 and runs.count > BLOCK_ROWS:
            # A long run: whole blocks with the lines behind them.
            first, last = int(runs.starts[0]) // BLOCK_ROWS, -(-int(runs.ends[0]) // BLOCK_ROWS)
            page = runs.at[0]
            low = start[page] + first * block_nbytes
            high = min(start[page] + last * block_nbytes, end[page])
            (data,) = yield [(np.array([low]), np.array([high]), stack.slots[runs.at])]
            num_rows = min(last * BLOCK_ROWS, int(stack.num_rows[page])) - first * BLOCK_ROWS
            skip = int(runs.starts[0]) - first * BLOCK_ROWS
            values = allocate(num_rows, np.int64)
            lines(data, stride, values)
            return _integers(kind, values[skip : skip + runs.count])
        if runs.long(LONG_RUN):
            return joined((yield from together([self.read(stack, kind, run) for run in runs.apart()])))
        pieces = _within_blocks(runs)
        at, rows = pieces.places
        within, each, slots = rows & (BLOCK_ROWS - 1), pieces.each, stack.slots[at]
        block = start[at] + (rows >> 8) * block_nbytes
        # Of a stride of 0 there are lines alone.
        line = np.minimum(block + BLOCK_ROWS * stride, end[at] - _LINE_NBYTES) if stride else block
        asks = [ask(block + within * stride, (each or pieces.lengths) * stride, slots)] if stride else []
        *data, found = yield [*asks, ask(line, _LINE_NBYTES, slots)]
        table, within = found.view(_LINE_DTYPE).reshape(-1, 2), within.reshape(-1)
        if each == 1:
            values = table[:, 0] + (table[:, 1] * within >> _SLOPE_BITS)
        else:
            if each:
                steps = within[:, None] + _STEPS[:each]
            else:
                lengths = pieces.lengths
                steps, table = expand(within, within + lengths)[:, None], np.repeat(table, lengths, axis=0)
            values = (table[:, :1] + (table[:, 1:] * steps >> _SLOPE_BITS)).reshape(-1)
        if stride:
            residuals = np.empty(len(values), np.int64)
            widen(data[0], stride, 0, residuals.view(np.uint64))
            values += residuals
        return _integers(kind, values)

    def progression(self, stack: Stack, runs: Runs) -> Reading[tuple[int, int] | None]:
        """The first of the 64-bit integers of one run, and the step from each to the next, both from 0 on; None where
        there is no such step, or the lines alone do not tell."""
        stride, start, _, _ = stack.once("opened", lambda: self._opened(stack))
        if stride:
            return None
        known = _lines_of(stack)
        page, begin, end = int(runs.at[0]), int(runs.starts[0]), int(runs.ends[0])
        if known.is_one[page]:
            step = int(known.steps[page])
            return int(known.bases[page]) + begin * step, step
        rows = int(stack.num_rows[page])
        if 2 * (end - begin) > rows:
            # Most of a page is read as the whole of it, and what it says is kept.
            begin_read, end_read = 0, rows
        else:
            begin_read, end_read = begin, end
        first, last = begin_read // BLOCK_ROWS, -(-end_read // BLOCK_ROWS)
        low = start[runs.at]
        (data,) = yield [(low + first * _LINE_NBYTES, low + last * _LINE_NBYTES, stack.slots[runs.at])]
        line = known.learn(page, data) if end_read - begin_read == rows else _one_line(data)
        if line is None:
            return None
        base, step = line
        return base + (begin - first * BLOCK_ROWS) * step, step

    @staticmethod
    def _opened(stack: Stack) -> tuple[int, Int64s, Int64s, bool]:
        """The stride, where the blocks of each page begin and end, and whether a page has none."""
        stride = int_param(stack.node, "stride", 0, 7)
        nbytes = -(-stack.num_rows // BLOCK_ROWS) * _LINE_NBYTES + stack.num_rows * stride
        start = stack.place(0, nbytes)
        return stride, start, start + nbytes, not stack.num_rows.all()


class _Lines:
    """What the lines of the pages of a stack turned out to be, whose stride is 0: of some one line, int64[p] each."""

    def __init__(self, num_rows: Int64s) -> None:
        # A page without rows is on any line.
        self.is_one = num_rows == 0
        self.bases, self.steps = np.zeros(len(num_rows), np.int64), np.zeros(len(num_rows), np.int64)
        # How many rows are asked for before all lines of a page are read, and how many are left; _NEVER: they were.
        self.first = -(-num_rows // (BLOCK_ROWS * _LINES_A_ROW))
        self.left = self.first.copy()

    def learn(self, page: int, data: Bytes) -> tuple[int, int] | None:
        """Take all lines of a page. Returns as `_one_line`."""
        line = _one_line(data)
        self.left[page] = _NEVER
        if line is not None:
            self.bases[page], self.steps[page] = line
            self.is_one[page] = True
        return line


class Progression(NamedTuple):
    """A column of integers that are on one line in each page.

    fences: the first row of each page but the first. bases, steps: int64[p], of row 0 of the column if it lay on the
    line of each page, and from each row to the next.
    """

    fences: Int64s
    bases: Int64s
    steps: Int64s

    def read(self, kind: pa.DataType, rows: Int64s) -> Reading[pa.Array]:
        """The integers of rows of the column. Cost: no bytes."""
        yield from ()
        if len(self.bases) == 1:
            return _integers(kind, rows * self.steps + self.bases)
        pages = self.fences.searchsorted(rows, "right")
        return _integers(kind, rows * self.steps[pages] + self.bases[pages])


def may_be_progression(stack: Stack) -> bool:
    """May reads find, if they did not yet, that pages are on one line each?"""
    if stack.encoding != Linear.name or stack.validity is not None or stack.node.params.get("stride") != 0:
        return False
    known = _lines_of(stack)
    return bool((known.is_one | (known.left != _NEVER)).all())


def progression_of(stack: Stack, kind: pa.DataType, fences: Int64s, places: Int64s) -> Progression | None:
    """What reads found a column to be whose pages are all in one stack; None where they did not, or not yet.

    fences: int64[p + 1], the first row of each page, and how many rows there are. places: int64[p], of each page in the
    stack.
    """
    if not may_be_progression(stack) or not is_integer_like(kind):
        return None
    known = _lines_of(stack)
    if not known.is_one.all():
        return None
    steps = known.steps[places]
    return Progression(fences[1:-1], known.bases[places] - fences[:-1] * steps, steps)


def _lines_of(stack: Stack) -> _Lines:
    return stack.once("lines", lambda: _Lines(stack.num_rows))


def lines_to_learn(stack: Stack, at: Int64s) -> list[tuple[int, Ask]]:
    """Pages of whose rows many were asked for, some at most, and where all their lines are.

    at: of each row that is asked for, its page.
    """
    if not may_be_progression(stack):
        return []
    known = _lines_of(stack)
    pages, counts = np.unique(at, return_counts=True)
    pages, counts = pages[known.left[pages] != _NEVER], counts[known.left[pages] != _NEVER]
    known.left[pages] -= np.minimum(known.left[pages], counts)
    wanted = pages[known.left[pages] == 0][:_LEARNT_AT_ONCE]
    known.left[wanted] = known.first[wanted]
    _, start, end, _ = stack.once("opened", lambda: Linear._opened(stack))
    return [(int(page[0]), (start[page], end[page], stack.slots[page])) for page in wanted[:, np.newaxis]]


def learn_lines(stack: Stack, wanted: Sequence[tuple[int, Ask]]) -> Reading[None]:
    """Read the lines that `lines_to_learn` said."""
    found = yield [ask for _, ask in wanted]
    for (page, _), data in zip(wanted, found, strict=True):
        _lines_of(stack).learn(page, data)


def _one_line(data: Bytes) -> tuple[int, int] | None:
    """The first integer of blocks and the step from each to the next, both from 0 on, where it is one for all; the
    blocks have nothing but lines."""
    bases, slopes = data.view(_LINE_DTYPE).reshape(-1, 2).T
    base, slope = int(bases[0]), int(slopes[0])
    step, rest = divmod(slope, 1 << _SLOPE_BITS)
    if rest or base < 0 or step < 0 or base + step * BLOCK_ROWS * len(bases) >= _MOST:
        return None
    alike = (slopes == slope).all() and (bases == base + step * BLOCK_ROWS * np.arange(len(bases))).all()
    return (base, step) if alike else None


def _within_blocks(runs: Runs) -> Runs:
    """The same rows as runs that do not leave their block."""
    if runs.single:
        return runs
    if runs.each:
        _, rows = runs.places
        if not np.count_nonzero((rows & (BLOCK_ROWS - 1)) > BLOCK_ROWS - runs.each):
            return runs
    first, last = runs.starts >> 8, np.maximum(runs.ends - 1, runs.starts) >> 8
    if (first == last).all():
        return runs
    count = last - first + 1
    block = expand(first, last + 1) * BLOCK_ROWS
    starts = np.maximum(np.repeat(runs.starts, count), block)
    return Runs(np.repeat(runs.at, count), starts, np.minimum(np.repeat(runs.ends, count), block + BLOCK_ROWS))


def _choose_slopes(values: np.ndarray) -> Int64s | None:
    """A slope a block, the same for all where that is as good; None when lines do not pay, judged by a sample."""
    sample = sampled_runs(values)
    spread = int(sample.max()) - int(sample.min())
    steps = max(1, len(values) - 1)
    common = (int(values[-1]) - int(values[0]) << _SLOPE_BITS) // steps
    fitted_width = common_width = 64
    # Of values without order the first runs show that lines do not pay: with more runs residuals only grow.
    for runs in (as_int64(sample[:2]), as_int64(sample)):
        fitted_width = _width(runs, _least_squares(runs))
        common_width = _width(runs, np.full(len(runs), common)) if abs(common) < _MAX_SLOPE else 64
        if not _pays(len(values), (min(fitted_width, common_width) + 7) // 8, spread):
            return None
    blocks = -(-len(values) // BLOCK_ROWS)
    if (common_width + 7) // 8 <= (fitted_width + 7) // 8:
        return np.full(blocks, common)
    whole = len(values) // BLOCK_ROWS * BLOCK_ROWS
    slopes = _least_squares(as_int64(values[:whole]).reshape(-1, BLOCK_ROWS))
    return slopes if whole == len(values) else np.append(slopes, _least_squares(as_int64(values[None, whole:])))


def _may_pay(values: np.ndarray, valid: np.ndarray) -> bool:
    """Whether lines pay for a sample of values of which some are null: those are not filled in for nothing."""
    present = sampled_runs(valid)
    runs = forward_filled(sampled_runs(values), present)[present.any(axis=1)]
    if not len(runs):
        return True
    width = _width(as_int64(runs), _least_squares(as_int64(runs)))
    return _pays(len(values), (width + 7) // 8, int(runs.max()) - int(runs.min()))


def _nbytes(num_rows: int, stride: int) -> int:
    return num_rows * stride + -(-num_rows // BLOCK_ROWS) * _LINE_NBYTES


def _pays(num_rows: int, stride: int, spread: int) -> bool:
    """Whether residuals of a stride take less than differences from one base, which span `spread`."""
    return stride < 8 and _nbytes(num_rows, stride) <= _WORTH * num_rows * ((spread.bit_length() + 7) // 8)


def _least_squares(runs: Int64s) -> Int64s:
    """The slopes of the lines nearest to runs of neighbouring rows: int64[k, m] -> int64[k], in 1/256 a row."""
    rows = runs.shape[1]
    if rows == 1:
        return np.zeros(len(runs), np.int64)
    steps = np.arange(rows) - (rows - 1) / 2
    rise = (runs - runs[:, :1]).astype(np.float64) @ (steps / (steps @ steps))
    return np.rint(np.clip(rise * (1 << _SLOPE_BITS), -_MAX_SLOPE, _MAX_SLOPE)).astype(np.int64)


def _width(runs: Int64s, slopes: Int64s) -> int:
    """The bits of the largest residual."""
    off = runs - (slopes[:, None] * _STEPS[: runs.shape[1]] >> _SLOPE_BITS)
    return int((off - off.min(axis=1, keepdims=True)).view(np.uint64).max()).bit_length()


def _fit(values: Int64s, slopes: Int64s) -> tuple[Int64s, np.ndarray]:
    """Bases of lines with the given slopes below all values, and uint64[n] residuals, modulo 2^64."""
    bases = np.empty(len(slopes), np.int64)
    residuals = allocate(len(values), np.int64)
    for part, rows in _parts(len(values)):
        here = values[rows].reshape(part.stop - part.start, -1)
        line = slopes[part, None] * _STEPS[: here.shape[1]]
        line >>= _SLOPE_BITS
        off = np.subtract(here, line, out=residuals[rows].reshape(here.shape))
        off.min(axis=1, out=bases[part])
        off -= bases[part, None]
    return bases, residuals.view(np.uint64)


def _parts(num_rows: int) -> list[tuple[slice, slice]]:
    """Slices of blocks, and of their rows, to work on at a time; a short last block is a part of its own."""
    whole = num_rows // BLOCK_ROWS
    parts = [slice(block, min(block + _BATCH_BLOCKS, whole)) for block in range(0, whole, _BATCH_BLOCKS)]
    if num_rows % BLOCK_ROWS:
        parts.append(slice(whole, whole + 1))
    return [(part, slice(part.start * BLOCK_ROWS, min(part.stop * BLOCK_ROWS, num_rows))) for part in parts]


def _pack(residuals: np.ndarray, bases: Int64s, slopes: Int64s, stride: int) -> Bytes:
    out = allocate(_nbytes(len(residuals), stride), np.uint8)
    block_nbytes = BLOCK_ROWS * stride + _LINE_NBYTES
    for part, rows in _parts(len(residuals)):
        cells = residuals[rows].reshape(part.stop - part.start, -1)
        here = out[part.start * block_nbytes :]
        store(cells, stride, here, (block_nbytes, stride))
        lines = np.ndarray((len(cells), 2), _LINE_DTYPE, here, cells.shape[1] * stride, (block_nbytes, 8))
        lines[:, 0], lines[:, 1] = bases[part], slopes[part]
    return out


def _integers(kind: pa.DataType, values: Int64s) -> pa.Array:
    """An integer-like array from values modulo 2^64."""
    width = kind.bit_width // 8
    if width < 8:
        values = values.astype(f"<i{width}")
    return flat_array(kind, values.view(np.uint8), len(values))


def as_int64(values: np.ndarray) -> Int64s:
    """Integers modulo 2^64."""
    return values.view(np.int64) if values.dtype.itemsize == 8 else values.astype(np.int64)


def forward_filled(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Values with each null replaced by the one before it, the first ones by the first value that is there.

    values, valid: [..., rows]; without a value a row of rows stays as it is.
    """
    places = np.maximum.accumulate(np.where(valid, np.arange(values.shape[-1]), 0), axis=-1)
    np.maximum(places, valid.argmax(axis=-1)[..., None], out=places)
    return np.take_along_axis(values, places, axis=-1)
