"""Alphabet: text of few different bytes, such as hexadecimal digits, in 1, 2 or 4 bits each
(format_spec/encodings/alphabet.md).

    a UUID    8 digits - 4 digits - 4 digits - 4 digits - 12 digits
    stored    32 codes of 4 bits; the template knows where the dashes are
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from math import gcd

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.base import Encoded, Hints, Node, corrupt_unless, int_param
from lance_like.encodings.joining import taken
from lance_like.encodings.physical import buffer_bytes, check_variable, offsets_of
from lance_like.encodings.pool import allocate
from lance_like.encodings.sample import spread
from lance_like.encodings.sift import Beginning, Flags, Sieve
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.encodings.variable import Bounds, array_of_length, encode_offsets, read_bounds, variable_array
from lance_like.errors import Corrupt
from lance_like.kernels import spell
from lance_like.ranges import gather_from_groups, has_negative
from lance_like.typing_ import Bytes, Int64s, Json

_BITS = (1, 2, 4)
_SYMBOLS, _TEMPLATE = re.compile("([0-9a-fA-F]{2})+"), re.compile(r"(\.\.|[0-9a-fA-F]{2})+")
_MOST_SYMBOLS = 16
# Cells that fill less than a block are read as fast whatever they shrink to.
_SMALLEST_PAGE = 4096
_LONGEST_TEMPLATE = 1024
# Bytes of a template for each that is stored: what few bytes on the disk may become in memory has a limit.
_MOST_FIXED = 8
_SAMPLED_CELLS = 64
_SAMPLES, _SAMPLE_NBYTES = 8, 2048
# Zstd reads at a tenth of the speed: it must take less than this share of what the codes do.
_AS_GOOD = 0.8
# Up to this many bytes numpy looks symbols up before a kernel has started.
_FEW = 512


class Alphabet:
    """Parameters bits: of a code; symbols: the bytes that codes stand for; template, when there: of all cells that are
    not empty. Child 0: offsets of the cells in codes; buffer 0: the codes."""

    name = "alphabet"
    shape = ("bits", "symbols", "template")

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        offsets = offsets_of(array)
        data = buffer_bytes(array.buffers()[2])[offsets[0] : offsets[-1]]
        if len(data) < _SMALLEST_PAGE:
            return None
        template = _template_of(data, np.diff(offsets))
        params: dict[str, Json] = {}
        if template is not None:
            data, offsets = template.cut(data), (offsets - offsets[0]) // len(template.fixed) * template.stored
            params["template"] = template.text
        symbols = _symbols_of(data)
        if symbols is None or _compresses(data, _bits_for(symbols)):
            return None
        bits = _bits_for(symbols)
        params = {"bits": bits, "symbols": symbols.ljust(1 << bits, symbols[:1]).hex(), **params}
        return Encoded(self.name, len(array), params, (_pack(data, symbols, bits),), (encode_offsets(offsets, hints),))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        found = yield from self._found(stack, kind, runs)
        return found.array(stack, kind, None)

    def choose(self, stack: Stack, kind: pa.DataType, runs: Runs, rows: Int64s) -> Reading[pa.Array]:
        """Of cells of one length only the chosen ones are spelled."""
        found = yield from self._found(stack, kind, runs)
        return found.array(stack, kind, rows)

    def judge(self, stack: Stack, kind: pa.DataType, runs: Runs, test: Sieve) -> Reading[Flags]:
        """What cells of one length begin with is compared as codes: no cell is made."""
        found = yield from self._found(stack, kind, runs)
        if test.beginning is None or not found.is_even or len(runs.starts) > 1:
            return test.of_values(found.array(stack, kind, None))
        return found.begin_with(test.beginning)

    def _found(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[_Found]:
        check_variable(stack, kind)
        opened = stack.once("opened", lambda: _Opened.of(stack))
        bounds = yield from read_bounds(opened.offsets, runs)
        stack.require(not has_negative(opened.codes[runs.at] - bounds.ends), "its offsets pass its codes")
        each, start = opened.each, opened.start[runs.at]
        (packed,) = yield [(start + bounds.starts // each, start - (-bounds.ends // each), stack.slots[runs.at])]
        return _Found(opened, bounds, packed)


@dataclass(frozen=True, slots=True)
class _Found:
    """The codes of runs of rows. packed: the bytes that hold them, end to end."""

    opened: _Opened
    bounds: Bounds
    packed: Bytes

    @property
    def is_even(self) -> bool:
        """Whether all cells are known to have one number of codes, and are not empty."""
        template, each = self.opened.template, self.bounds.each
        return each > 0 and (template is None or each == template.stored)

    def array(self, stack: Stack, kind: pa.DataType, rows: Int64s | None) -> pa.Array:
        """The cells. rows: those that are wanted of one run; None: all."""
        opened, bounds = self.opened, self.bounds
        template, length, lengths = opened.template, bounds.each, bounds.lengths
        if self.is_even and len(bounds.starts) == 1:
            cell, places = (bytes(length), np.arange(length, dtype=np.uint32)) if template is None else template.places
            data = allocate((len(lengths) if rows is None else len(rows)) * len(cell), np.uint8)
            skip = int(bounds.starts[0]) % opened.each
            spell(self.packed, 8 // opened.each, opened.symbols, skip, cell, places, rows, data)
            return array_of_length(kind, len(cell), data)
        unpacked = _unpack(self.packed, opened.table)
        data = gather_from_groups(unpacked, bounds.starts, bounds.ends, opened.each)
        if template is not None:
            filled = lengths != 0
            stored = np.where(filled, template.stored, 0)
            stack.require(bool((stored == lengths).all()), "its cells are not as long as its template")
            lengths, data = np.where(filled, len(template.fixed), 0), template.fill(data)
        array = variable_array(kind, lengths, data)
        return array if rows is None else taken(array, pa.array(rows))

    def begin_with(self, beginning: Beginning) -> Flags:
        """Which cells of one run, all of one length, begin with some bytes."""
        opened, length, count = self.opened, self.bounds.each, len(self.bounds.lengths)
        codes = opened.codes_of(beginning, length)
        if not codes:
            return np.full(count, codes is not None)
        packed = self.packed if opened.firsts is None else _look_up(opened.firsts, self.packed)
        bits = 8 // opened.each
        wanted, mask = sum(code << bits * i for i, code in enumerate(codes)), (1 << bits * len(codes)) - 1
        passes = np.empty(count, bool)
        # Cells that begin at the same bit of a byte are compared together.
        period = 8 // gcd(length * bits, 8)
        for phase in range(min(period, count)):
            byte, shift = divmod((int(self.bounds.starts[0]) % opened.each + phase * length) * bits, 8)
            some = passes[phase::period]
            some[:] = _equal(packed[byte:], period * length * bits // 8, len(some), wanted << shift, mask << shift)
        return passes


@dataclass(frozen=True, slots=True)
class _Opened:
    """What reads of a stack need of it, checked.

    each: codes of a byte. symbols: of codes. table: those of each byte, an unsigned integer of as many bytes.
    firsts: uint8[256], each byte with the first code of every symbol; None: no symbol has several.
    offsets: of the cells. start, codes: int64[p], where the codes of each page begin in the file, and how many there
    are room for.
    """

    each: int
    symbols: bytes
    table: np.ndarray
    firsts: np.ndarray | None
    template: _Template | None
    offsets: Stack
    start: Int64s
    codes: Int64s

    @classmethod
    def of(cls, stack: Stack) -> _Opened:
        bits = int_param(stack.node, "bits", 1, 4)
        symbols = bytes.fromhex("".join(_pairs_of(stack.node, "symbols", _SYMBOLS)))
        corrupt_unless(bits in _BITS and len(symbols) == 1 << bits, stack.node, f"{len(symbols)} symbols, {bits} bits")
        each = 8 // bits
        offsets = stack.child(0, stack.num_rows + 1)
        template = _parsed_template(stack.node) if "template" in stack.node.params else None
        table, firsts = _table(symbols, bits), _firsts(symbols, bits)
        return cls(each, symbols, table, firsts, template, offsets, stack.place(0, 0), stack.sizes(0) * each)

    def codes_of(self, beginning: Beginning, length: int) -> list[int] | None:
        """The codes that cells with so many codes begin with, of every symbol the first; None: no cell does."""
        fixed = np.full(length, -1) if self.template is None else self.template.fixed
        count = len(beginning.value)
        if count > len(fixed) or (beginning.whole and count < len(fixed)):
            return None
        asked, fixed = np.frombuffer(beginning.value, np.uint8), fixed[:count]
        codes = [self.symbols.find(byte) for byte in asked[fixed < 0].tolist()]
        return codes if -1 not in codes and (asked == fixed)[fixed >= 0].all() else None


@dataclass(frozen=True, slots=True)
class _Template:
    """Cells of one length, of which some bytes are always the same.

    fixed: int16[length], those bytes, -1 where cells differ.
    """

    fixed: np.ndarray

    @property
    def stored(self) -> int:
        """The bytes of a cell that are stored."""
        return int((self.fixed < 0).sum())

    @property
    def places(self) -> tuple[bytes, np.ndarray]:
        """A cell, and where its bytes are stored: uint32[stored]."""
        return self.fixed.astype(np.uint8).tobytes(), np.flatnonzero(self.fixed < 0).astype(np.uint32)

    @property
    def text(self) -> str:
        """As a parameter: two hexadecimal digits a fixed byte, two dots for others."""
        return "".join([".." if byte < 0 else f"{byte:02x}" for byte in self.fixed.tolist()])

    def cut(self, data: Bytes) -> Bytes:
        """The bytes of cells that are stored."""
        return data.reshape(-1, len(self.fixed))[:, self.fixed < 0].reshape(-1)

    def fill(self, data: Bytes) -> Bytes:
        """Whole cells from those bytes: the inverse of `cut`."""
        length, stored = len(self.fixed), self.stored
        count = len(data) // stored
        # One copy a cell, whatever the bytes: first of all of them, then of each stretch that is stored.
        out = allocate(count, f"V{length}")
        out[:] = self.fixed.astype(np.uint8).view(out.dtype)
        first = done = 0
        for fixed, group in groupby(self.fixed.tolist(), key=lambda byte: byte >= 0):
            last = first + len(list(group))
            if not fixed and count:
                one = f"V{last - first}"
                from_cells = np.ndarray((count,), one, data, done, (stored,))
                np.copyto(np.ndarray((count,), one, out, first, (length,)), from_cells)
                done += last - first
            first = last
        return out.view(np.uint8)


def _parsed_template(node: Node) -> _Template:
    """Raises Corrupt."""
    pairs = _pairs_of(node, "template", _TEMPLATE)
    template = _Template(np.array([-1 if pair == ".." else int(pair, 16) for pair in pairs], np.int16))
    fits = len(pairs) <= min(_LONGEST_TEMPLATE, _MOST_FIXED * template.stored)
    corrupt_unless(fits, node, f"of {len(pairs)} bytes of its template {template.stored} have codes")
    return template


def _pairs_of(node: Node, name: str, pattern: re.Pattern[str]) -> list[str]:
    """A parameter of two characters a byte. Raises Corrupt."""
    text = node.params.get(name)
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise Corrupt(f"encoding {node.encoding!r}: its {name} is {text!r:.40}", kind="page")
    return [text[at : at + 2] for at in range(0, len(text), 2)]


def _template_of(data: Bytes, lengths: Int64s) -> _Template | None:
    """The template of cells of one length, empty ones apart, if only that leaves few enough different bytes."""
    length = int(lengths.max())
    if length > _LONGEST_TEMPLATE or np.count_nonzero(lengths) * length != len(data):
        return None
    cells = data.reshape(-1, length)
    sampled = cells[spread(len(cells), _SAMPLED_CELLS)]
    fixed = (sampled == sampled[0]).all(axis=0)
    if not len(np.unique(sampled[:, ~fixed])) <= _MOST_SYMBOLS < len(np.unique(sampled)):
        return None
    fixed[fixed] = (cells[:, fixed] == cells[0, fixed]).all(axis=0)
    template = _Template(np.where(fixed, cells[0].astype(np.int16), -1))
    return template if length <= _MOST_FIXED * template.stored else None


def _symbols_of(data: Bytes) -> bytes | None:
    """The different bytes of cells, ascending; None if there are too many."""
    symbols = np.unique(_sampled(data)).tobytes()
    if len(symbols) > _MOST_SYMBOLS:
        return None
    symbols += bytes(set(data.tobytes().translate(None, symbols)))
    return bytes(sorted(symbols)) if len(symbols) <= _MOST_SYMBOLS else None


def _bits_for(symbols: bytes) -> int:
    return next(bits for bits in _BITS if len(symbols) <= 1 << bits)


def _compresses(data: Bytes, bits: int) -> bool:
    """Whether cells repeat so much that compression makes far less of them than codes do."""
    sampled = _sampled(data).tobytes()
    return len(zlib.compress(sampled, 1)) < _AS_GOOD * len(sampled) * bits / 8


def _sampled(data: Bytes) -> Bytes:
    """Stretches from all over the bytes, all of few."""
    if len(data) <= _SAMPLES * _SAMPLE_NBYTES:
        return data
    starts = spread(len(data) - _SAMPLE_NBYTES + 1, _SAMPLES)
    return np.concatenate([data[start : start + _SAMPLE_NBYTES] for start in starts.tolist()])


def _pack(data: Bytes, symbols: bytes, bits: int) -> Bytes:
    """The codes of bytes, the first in the lowest bits; the last byte is filled up with code 0."""
    each = 8 // bits
    whole = data if len(data) % each == 0 else np.append(data, np.full(-len(data) % each, symbols[0], np.uint8))
    codes = np.zeros(256, np.uint8)
    codes[list(symbols)] = np.arange(len(symbols))
    # Two bytes at a time: by the second, then by the first, as a little-endian integer of both has them.
    pairs = (codes[:, None] << bits | codes).reshape(-1).astype(np.uint8)
    packed, width = _look_up(pairs, whole.view("<u2")), 2 * bits
    while width < 8:
        packed = np.bitwise_or(packed[0::2], packed[1::2] << width, dtype=np.uint8)
        width *= 2
    return packed


def _unpack(packed: Bytes, table: np.ndarray) -> Bytes:
    """The symbols of bytes."""
    if len(packed) <= _FEW:
        return table[packed].view(np.uint8)
    return _look_up(table, packed).view(np.uint8)


def _look_up(table: np.ndarray, places: np.ndarray) -> np.ndarray:
    """table[places]: Arrow takes a fifth of the time of numpy, which makes 64-bit places first."""
    found = pc.take(pa.array(table), pa.array(places), boundscheck=False)
    return np.frombuffer(found.buffers()[1] or b"", table.dtype, count=len(places))


@lru_cache(maxsize=256)
def _table(symbols: bytes, bits: int) -> np.ndarray:
    """The symbols of each byte, as one little-endian integer."""
    every, each = np.arange(256), 8 // bits
    codes = every[:, None] >> bits * np.arange(each) & (1 << bits) - 1
    return np.frombuffer(symbols, np.uint8)[codes].view(f"<u{each}").reshape(-1)


@lru_cache(maxsize=256)
def _firsts(symbols: bytes, bits: int) -> np.ndarray | None:
    """uint8[256]: each byte of codes with the first code that stands for each symbol; None: it has the only one."""
    if len(set(symbols)) == len(symbols):
        return None
    first = np.array([symbols.index(symbol) for symbol in symbols], np.uint8)
    shifts = np.arange(0, 8, bits)
    codes = np.arange(256)[:, None] >> shifts & (1 << bits) - 1
    return np.bitwise_or.reduce(first[codes] << shifts, axis=1).astype(np.uint8)


def _equal(data: Bytes, step: int, count: int, wanted: int, mask: int) -> Flags:
    """bool[count]: which little-endian integers, `step` bytes from each other, are `wanted` under a mask.

    As many bytes as fit an integer of numpy are compared at a time, after the first only of those that are left.
    """
    left: Int64s | None = None
    at, nbytes = 0, -(-mask.bit_length() // 8)
    while at < nbytes:
        size = 1 << min(3, (nbytes - at).bit_length() - 1)
        word, every = np.dtype(f"<u{size}").type, (1 << 8 * size) - 1
        cells = np.ndarray((count,), word, data, at, (step,))
        part = mask >> 8 * at & every
        equal = (cells if left is None else cells[left]) & word(part) == word(wanted >> 8 * at & every)
        left = np.flatnonzero(equal) if left is None else left[equal]
        at += size
    flags = np.zeros(count, bool)
    flags[left] = True
    return flags
