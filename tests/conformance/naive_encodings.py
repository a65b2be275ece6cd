"""Second reader, part 2 of 6: values and encodings (format_spec/encodings/).

The reader was written from format_spec/ alone: it shares no code with the package and imports none of it. Whoever
follows the spec arrives here. Everything is read whole and eagerly, row by row; it is slow on purpose.

Values it hands out: None, bool, int (also dates, times, timestamps and durations, as stored), `Float` (a float that
knows its bytes), Decimal, (months, days, nanoseconds), bytes, str; a list as a list, a map as a list of (key, value)
tuples, a struct as a dict, or as a list of (name, value) tuples when names repeat. A dictionary type gives its
values, an extension type those of its storage.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate, pairwise

import zstandard
from naive_types import (
    DECIMALS,
    FLOATS,
    LISTS,
    MAX_VALUES,
    SIGNED,
    TEXT,
    UNIONS,
    UNSIGNED,
    VARIABLE,
    NaiveError,
    Type,
    cut,
    is_int,
    is_list,
    is_pair,
    is_text,
    member,
    need,
)

# ---------------------------------------------------------------------------------------------- values


class Float(float):
    """A float that keeps the bytes it was stored as, so that NaNs can be told apart. bits: little-endian."""

    __slots__ = ("bits",)

    def __new__(cls, bits: bytes):
        self = super().__new__(cls, struct.unpack({2: "<e", 4: "<f", 8: "<d"}[len(bits)], bits)[0])
        self.bits = bits
        return self


def flat_value(kind: Type, data: bytes):
    """Turn the bytes of one flat value into a Python value."""
    if kind.name in SIGNED or kind.name in UNSIGNED:
        return int.from_bytes(data, "little", signed=kind.name in SIGNED)
    if kind.name in FLOATS:
        return Float(data)
    if kind.name in DECIMALS:
        number = int.from_bytes(data, "little", signed=True)
        return Decimal((int(number < 0), tuple(int(d) for d in str(abs(number))), -kind.params[1]))
    if kind.name == "month_day_nano_interval":
        return struct.unpack("<iiq", data)
    if kind.name == "fixed_size_list":
        width = kind.inner.width
        return [flat_value(kind.inner.storage, data[i * width : (i + 1) * width]) for i in range(kind.size)]
    return data


def cell_value(kind: Type, data: bytes):
    """Turn the bytes of one cell of a variable type into a Python value."""
    if kind.name not in TEXT:
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NaiveError("page", f"text that is not UTF-8: {error}") from error


def struct_value(names: list[str], values: tuple):
    pairs = list(zip(names, values, strict=True))
    return dict(pairs) if len(set(names)) == len(names) else pairs


# ---------------------------------------------------------------------------------------------- encodings/


@dataclass(frozen=True)
class Node:
    name: str
    n: int
    validity: tuple[int, int] | None
    buffers: tuple[tuple[int, int], ...]
    children: tuple[Node, ...]
    params: dict


def parse_node(value: object, nbytes: int, depth: int = 0) -> Node:
    need(depth <= 160, "page", "nodes nested more than 160 below the root")
    name = member(value, "e", is_text, "page")
    n = member(value, "n", is_int(), "page")
    ranges = member({"b": [], **value}, "b", is_list(is_pair(is_int(), is_int())), "page")
    if "v" in value:
        ranges = [member(value, "v", is_pair(is_int(), is_int()), "page"), *ranges]
    for start, length in ranges:
        need(start + length <= nbytes, "page", f"range [{start}, {start + length}) is past the page's {nbytes} bytes")
    ranges = [tuple(r) for r in ranges]
    children = member({"c": [], **value}, "c", is_list(), "page")
    nodes = tuple(parse_node(child, nbytes, depth + 1) for child in children)
    split = 1 if "v" in value else 0
    return Node(name, n, ranges[0] if split else None, tuple(ranges[split:]), nodes, value)


class PageDecoder:
    """Decodes the tree of one page.

    shared: the shared blob of its column. budget: [int], values that may still be made; one for all pages of a file.
    """

    def __init__(self, page: bytes, shared: bytes, budget: list[int]):
        self.page = page
        self.shared = shared
        self.budget = budget

    def spend(self, count: int) -> None:
        self.budget[0] -= count
        need(self.budget[0] >= 0, "limit", f"more than {MAX_VALUES} values or bytes in one file")

    def decode(self, node: Node, kind: Type, visible: list[bool] | None = None) -> list:
        """Give the values of a node; None for nulls and for rows that are not visible, as those under a null are."""
        self.spend(node.n)
        visible = [True] * node.n if visible is None else visible
        if node.validity is not None:
            need(node.validity[1] >= (node.n + 7) // 8, "page", "a validity bitmap that is too short")
            bitmap = cut(self.page, *node.validity)
            visible = [seen and bit(bitmap, i) for i, seen in enumerate(visible)]
        method = getattr(self, "_" + node.name, None) if node.name in ENCODINGS else None
        need(method is not None, "plugin", f"unknown encoding {node.name!r}", "Unsupported")
        return method(node, kind.storage, visible)

    def buffer(self, node: Node, number: int, nbytes: int = 0) -> bytes:
        need(number < len(node.buffers), "page", f"{node.name}: buffer {number} is missing")
        data = cut(self.page, *node.buffers[number])
        need(len(data) >= nbytes, "page", f"{node.name}: buffer {number} has {len(data)} bytes, needs {nbytes}")
        return data

    def child(self, node: Node, number: int, n: int | None = None) -> Node:
        need(number < len(node.children), "page", f"{node.name}: child {number} is missing")
        found = node.children[number]
        need(n is None or found.n == n, "page", f"{node.name}: child {number} has {found.n} rows, needs {n}")
        return found

    def integers(self, node: Node, type_name: str) -> list[int]:
        """Codes and offsets: integers inside a tree, never null."""
        values = self.decode(node, Type(type_name))
        need(None not in values and node.validity is None, "page", "a code or an offset is null")
        return values

    def offsets(self, node: Node, number: int, count: int) -> list[int]:
        values = self.integers(self.child(node, number, count), "int64")
        need(values[0] == 0, "page", "the first offset is not 0")
        need(all(a <= b for a, b in pairwise(values)), "page", "offsets that descend")
        return values

    def _plain(self, node: Node, kind: Type, visible: list[bool]) -> list:
        if kind.name == "bool":
            bitmap = self.buffer(node, 0, (node.n + 7) // 8)
            return [bit(bitmap, i) if seen else None for i, seen in enumerate(visible)]
        w = kind.width
        need(w is not None, "page", f"plain cannot hold {kind.name}")
        data = self.buffer(node, 0, node.n * w)
        self.spend(node.n * items_of(kind))
        return [flat_value(kind, data[i * w : (i + 1) * w]) if seen else None for i, seen in enumerate(visible)]

    def _constant(self, node: Node, kind: Type, visible: list[bool]) -> list:
        x = member(node.params, "x", lambda v: v is None or is_text(v), "page")
        if x is None:
            need(node.validity is None, "page", "constant: nulls with a bitmap")
            return [None] * node.n
        need(re.fullmatch("([0-9a-fA-F]{2})*", x) is not None, "page", "constant: not hexadecimal")
        data = bytes.fromhex(x)
        if kind.name == "bool":
            need(data in (b"\0", b"\1"), "page", "constant: neither 00 nor 01")
            value = data == b"\1"
        elif kind.name in VARIABLE:
            value = cell_value(kind, data) if any(visible) else None
        else:
            need(kind.width is not None, "page", f"constant cannot hold a value of {kind.name}")
            need(len(data) == kind.width, "page", f"constant: {len(data)} bytes for {kind.name}")
            self.spend(items_of(kind))
            value = flat_value(kind, data)
        return [value if seen else None for seen in visible]

    def integer_like(self, node: Node, kind: Type) -> Callable[[int], int]:
        need(kind.name in SIGNED or kind.name in UNSIGNED, "page", f"{node.name} cannot hold {kind.name}")
        base = member(node.params, "base", is_text, "page")
        need(re.fullmatch("-?[0-9]+", base) is not None and len(base) <= 21, "page", f"{node.name}: base {base!r}")
        need(-(2**63) <= int(base) < 2**64, "page", f"{node.name}: base {base}")
        modulo = 1 << (8 * kind.width)

        def value(difference: int) -> int:
            unsigned = (int(base) + difference) % modulo
            return unsigned - modulo if kind.name in SIGNED and unsigned >= modulo // 2 else unsigned

        return value

    def _narrow(self, node: Node, kind: Type, visible: list[bool]) -> list:
        value = self.integer_like(node, kind)
        stride = member(node.params, "stride", is_int(1, 7), "page")
        data = self.buffer(node, 0, node.n * stride)
        numbers = (int.from_bytes(data[i * stride : (i + 1) * stride], "little") for i in range(node.n))
        return [value(number) if seen else None for number, seen in zip(numbers, visible, strict=True)]

    def _bitpack(self, node: Node, kind: Type, visible: list[bool]) -> list:
        value = self.integer_like(node, kind)
        width = member(node.params, "width", is_int(1, 63), "page")
        lanes = member(node.params, "lanes", is_int(1, 2**20), "page")
        size = 1 if width <= 8 else 2 if width <= 16 else 4 if width <= 32 else 8
        strips = 8 * size
        tiles = -(-node.n // (strips * lanes))
        data = self.buffer(node, 0, size * tiles * width * lanes)

        def difference(r: int) -> int:
            tile, within = divmod(r, strips * lanes)
            strip, lane = divmod(within, lanes)
            word, shift = divmod(strip * width, 8 * size)
            at = size * ((tile * width + word) * lanes + lane)
            bits = int.from_bytes(data[at : at + size], "little") >> shift
            if shift + width > 8 * size:
                at += size * lanes
                bits |= int.from_bytes(data[at : at + size], "little") << (8 * size - shift)
            return bits % (1 << width)

        return [value(difference(i)) if seen else None for i, seen in enumerate(visible)]

    def _patched(self, node: Node, kind: Type, visible: list[bool]) -> list:
        need(kind.name in SIGNED or kind.name in UNSIGNED, "page", f"patched cannot hold {kind.name}")
        text = member(node.params, "limit", is_text, "page")
        need(re.fullmatch("-?[0-9]+", text) is not None and len(text) <= 21, "page", f"patched: limit {text!r}")
        limit, w = int(text), kind.width
        need(-(2**63) <= limit < 2**63, "page", f"patched: limit {text}")
        exceptions = self.decode(self.child(node, 1), kind)

        def value(number: int) -> int:
            if number < limit:
                cut = (number % 2**64).to_bytes(8, "little")[:w]
                return int.from_bytes(cut, "little", signed=kind.name in SIGNED)
            need(number - limit < len(exceptions), "page", "a number past the last exception")
            need(exceptions[number - limit] is not None, "page", "an exception that is null")
            return exceptions[number - limit]

        numbers = self.integers(self.child(node, 0, node.n), "int64")
        return [value(number) if seen else None for number, seen in zip(numbers, visible, strict=True)]

    def _scaled(self, node: Node, kind: Type, visible: list[bool]) -> list:
        value = self.integer_like(node, kind)
        factor = member(node.params, "factor", is_text, "page")
        need(re.fullmatch("-?[0-9]+", factor) is not None and len(factor) <= 21, "page", f"scaled: factor {factor!r}")
        need(2 <= int(factor) < 2**63, "page", f"scaled: factor {factor}")
        numbers = self.integers(self.child(node, 0, node.n), "int64")
        return [value(number * int(factor)) if seen else None for number, seen in zip(numbers, visible, strict=True)]

    def _planes(self, node: Node, kind: Type, visible: list[bool]) -> list:
        value = self.integer_like(node, kind)
        stride = member(node.params, "stride", is_int(0, 7), "page")
        bits = member(node.params, "bits", is_int(1, 7), "page")
        need(8 * stride + bits <= 8 * kind.width, "page", f"planes: {8 * stride + bits} bits for {kind.name}")
        lows = self.buffer(node, 0, node.n * stride)
        planes = self.buffer(node, 1, -(-node.n // 8) * bits)

        def number(r: int) -> int:
            low = int.from_bytes(lows[r * stride : (r + 1) * stride], "little")
            above = sum((planes[r // 8 * bits + j] >> r % 8 & 1) << j for j in range(bits))
            return low + (above << 8 * stride)

        return [value(number(r)) if seen else None for r, seen in enumerate(visible)]

    def _linear(self, node: Node, kind: Type, visible: list[bool]) -> list:
        need(kind.name in SIGNED or kind.name in UNSIGNED, "page", f"linear cannot hold {kind.name}")
        stride = member(node.params, "stride", is_int(0, 7), "page")
        data = self.buffer(node, 0, -(-node.n // 256) * 16 + node.n * stride)

        def value(r: int) -> int:
            k, i = divmod(r, 256)
            block = k * (256 * stride + 16)
            residual = int.from_bytes(data[block + i * stride : block + (i + 1) * stride], "little")
            base, slope = struct.unpack_from("<qq", data, block + min(256, node.n - 256 * k) * stride)
            (rise,) = struct.unpack("<q", struct.pack("<Q", slope * i % 2**64))
            total = base + rise // 256 + residual
            return int.from_bytes(
                (total % 2**64).to_bytes(8, "little")[: kind.width], "little", signed=kind.name in SIGNED
            )

        return [value(r) if seen else None for r, seen in enumerate(visible)]

    def _alp(self, node: Node, kind: Type, visible: list[bool]) -> list:
        need(kind.name in ("float32", "float64"), "page", f"alp cannot hold {kind.name}")
        exponent = member(node.params, "exponent", is_int(0, 22), "page")
        numbers = self.integers(self.child(node, 0, node.n), "int64")
        limit, exceptions = None, []
        if len(node.children) > 1:
            limit = member(node.params, "limit", is_int(-(2**53), 2**53), "page")
            exceptions = self.decode(node.children[1], kind)
        layout = "<f" if kind.name == "float32" else "<d"

        def value(number: int) -> Float:
            if limit is None or number < limit:
                return Float(pack_float(layout, float(number) / float(10**exponent)))
            need(number - limit < len(exceptions), "page", "a number past the last exception")
            need(exceptions[number - limit] is not None, "page", "an exception that is null")
            return exceptions[number - limit]

        return [value(number) if seen else None for number, seen in zip(numbers, visible, strict=True)]

    def _decimal(self, node: Node, kind: Type, visible: list[bool]) -> list:
        need(kind.name in DECIMALS, "page", f"decimal cannot hold {kind.name}")
        numbers = self.integers(self.child(node, 0, node.n), "int64")
        most = 1 << (8 * kind.width - 1)
        need(all(-most <= number < most for number in numbers), "page", f"a number that is no {kind.name}")
        values = (flat_value(kind, number.to_bytes(kind.width, "little", signed=True)) for number in numbers)
        return [value if seen else None for value, seen in zip(values, visible, strict=True)]

    def _run_length(self, node: Node, kind: Type, visible: list[bool]) -> list:
        flat = kind.name == "bool" or kind.name in VARIABLE or kind.width is not None
        need(flat, "page", f"run_length cannot hold {kind.name}")
        lines = self.buffer(node, 0, 64 * -(-node.n // 480))
        values = self.decode(self.child(node, 0), kind)
        out, run = [], -1
        for r, seen in enumerate(visible):
            line, i = divmod(r, 480)
            if i == 0:
                (ones,) = struct.unpack_from("<I", lines, 64 * line)
                need(ones == run + 1, "page", "a line that counts other ones than there are")
            run += bit(lines[64 * line + 4 : 64 * line + 64], i)
            need(0 <= run < len(values), "page", "a row past the last run")
            need(values[run] is not None, "page", "a null among the values of runs")
            out.append(values[run] if seen else None)
        return out

    def _dictionary(self, node: Node, kind: Type, visible: list[bool]) -> list:
        nested = kind.name in ("null", "map", "fixed_size_list", "struct", *LISTS, *UNIONS)
        shares = kind.name in ("dictionary", "run_end_encoded")
        need(not nested, "page", f"dictionary cannot hold {kind.name}")
        codes = self.integers(self.child(node, 0, node.n), "uint32")
        values = self.child(node, 1)
        own = cut(self.page, *node.validity) if node.validity else b"\xff" * node.n
        empty = values.n == 0 and not any(bit(own, i) for i in range(node.n))
        need(empty or max(codes, default=-1) < values.n, "page", "a code past the end of the dictionary")
        cells = self.decode(values, kind.inner if shares else kind)
        need(shares or None not in cells, "page", "a null among the values of a dictionary")
        return [cells[code] if seen else None for code, seen in zip(codes, visible, strict=True)]

    def _variable(self, node: Node, kind: Type, visible: list[bool]) -> list:
        need(kind.name in VARIABLE, "page", f"variable cannot hold {kind.name}")
        offsets = self.offsets(node, 0, node.n + 1)
        data = self.buffer(node, 0, offsets[-1])
        return self.cells(kind, data, offsets, visible)

    def _alphabet(self, node: Node, kind: Type, visible: list[bool]) -> list:
        need(kind.name in VARIABLE, "page", f"alphabet cannot hold {kind.name}")
        bits = member(node.params, "bits", lambda v: type(v) is int and v in (1, 2, 4), "page")
        symbols = member(node.params, "symbols", is_text, "page")
        need(re.fullmatch("([0-9a-fA-F]{2})*", symbols) is not None, "page", f"alphabet: symbols {symbols!r}")
        need(len(symbols) == 2 << bits, "page", f"alphabet: symbols {symbols!r}")
        offsets = self.offsets(node, 0, node.n + 1)
        data = self.buffer(node, 0, -(-offsets[-1] * bits // 8))
        codes = [(data[i * bits // 8] >> i * bits % 8) % (1 << bits) for i in range(offsets[-1])]
        text = bytes(bytes.fromhex(symbols)[code] for code in codes)
        cells = [text[start:end] for start, end in pairwise(offsets)]
        if "template" in node.params:
            cells = [self.filled(cell, node) for cell in cells]
        return [cell_value(kind, cell) if seen else None for cell, seen in zip(cells, visible, strict=True)]

    @staticmethod
    def filled(stored: bytes, node: Node) -> bytes:
        """A cell from the bytes of it that have codes."""
        template = member(node.params, "template", is_text, "page")
        need(re.fullmatch(r"(\.\.|[0-9a-fA-F]{2})+", template) is not None, "page", f"alphabet: template {template!r}")
        pairs = [template[at : at + 2] for at in range(0, len(template), 2)]
        apart = pairs.count("..")
        need(0 < len(pairs) <= min(1024, 8 * apart), "page", f"alphabet: a template of {len(pairs)} bytes")
        need(len(stored) in (0, apart), "page", f"alphabet: {len(stored)} codes, not {apart}")
        rest = iter(stored)
        return bytes(next(rest) if pair == ".." else int(pair, 16) for pair in pairs) if stored else b""

    def _symbols(self, node: Node, kind: Type, visible: list[bool]) -> list:
        need(kind.name in VARIABLE, "page", f"symbols cannot hold {kind.name}")
        start, size = member(node.params, "d", is_pair(is_int(), is_int()), "page")
        table = cut(self.shared, start, size, "page")
        count = int.from_bytes(cut(table, 0, 2, "page"), "little")
        need(count <= 3840, "page", f"a table of {count} symbols")
        lengths = cut(table, 2, count, "page")
        need(all(1 <= length <= 16 for length in lengths), "page", f"symbols of {min(lengths)} to {max(lengths)} bytes")
        edges = [*accumulate(lengths, initial=2 + count)]
        need(edges[-1] == len(table), "page", f"symbols that end at byte {edges[-1]} of {len(table)}")
        symbols = [bytes([byte]) for byte in range(256)] + [table[first:last] for first, last in pairwise(edges)]
        offsets = self.offsets(node, 0, node.n + 1)
        data = self.buffer(node, 0, -(-offsets[-1] // 2) * 3)
        codes = [int.from_bytes(data[i // 2 * 3 :][:3], "little") >> 12 * (i % 2) & 4095 for i in range(offsets[-1])]
        need(max(codes, default=0) < len(symbols), "page", "a code without a symbol")
        cells = [b"".join(symbols[code] for code in codes[first:last]) for first, last in pairwise(offsets)]
        self.spend(sum(map(len, cells)))
        return [cell_value(kind, cell) if seen else None for cell, seen in zip(cells, visible, strict=True)]

    def cells(self, kind: Type, data: bytes, offsets: list[int], visible: list[bool]) -> list:
        runs = zip(pairwise(offsets), visible, strict=True)
        return [cell_value(kind, data[start:end]) if seen else None for (start, end), seen in runs]

    def _outlined(self, node: Node, kind: Type, visible: list[bool]) -> list:
        need(kind.name in VARIABLE, "page", f"outlined cannot hold {kind.name}")
        large = member(node.params, "rows", lambda v: type(v) is list, "page")
        need(all(is_int(0, node.n - 1)(row) for row in large), "page", "outlined: a large row that is none")
        need(all(a < b for a, b in pairwise(large)), "page", "outlined: large rows that do not ascend")
        need(node.n < 1 << 40, "page", "outlined: too many rows")
        small = [seen and row not in large for row, seen in enumerate(visible)]
        cells = self.apart(self.child(node, 0, node.n), kind, small)
        found = self.apart(self.child(node, 1, len(large)), kind, [visible[row] for row in large])
        for row, cell in zip(large, found, strict=True):
            cells[row] = cell
        return cells

    def apart(self, node: Node, kind: Type, visible: list[bool]) -> list:
        """Cells of a child without nulls."""
        null = node.name == "constant" and node.params.get("x", "") is None and node.n > 0
        need(node.validity is None and not null, "page", "outlined: a child with nulls")
        return self.decode(node, kind, visible)

    def _zstd(self, node: Node, kind: Type, visible: list[bool]) -> list:
        need(kind.name in VARIABLE, "page", f"zstd cannot hold {kind.name}")
        rows = member(node.params, "rows", is_int(1, 2**16), "page")
        stride = member(node.params, "stride", is_int(1, 4) if rows > 1 else is_int(0, 0), "page")
        places = self.offsets(node, 0, -(-node.n // rows) + 1)
        data = self.buffer(node, 0, places[-1])
        dictionary = None
        if "d" in node.params:
            start, size = member(node.params, "d", is_pair(is_int(), is_int()), "page")
            dictionary = cut(self.shared, start, size, "page")
        cells: list[bytes] = []
        for first, last in pairwise(places):
            frame = data[first:last]
            size = frame_size(frame)
            need(0 <= size <= 2**31, "page", f"a block that states {size} bytes")
            self.spend(size)
            block = decompress(frame, size, dictionary)
            if rows == 1:
                cells.append(block)
                continue
            need(size >= rows * stride, "page", "a block shorter than its lengths")
            lengths = [sum(block[plane * rows + i] << 8 * plane for plane in range(stride)) for i in range(rows)]
            edges = [*accumulate(lengths, initial=rows * stride)]
            need(edges[-1] == size, "page", f"lengths that end at byte {edges[-1]} of {size}")
            cells += [block[start:end] for start, end in pairwise(edges)]
        return [cell_value(kind, cell) if seen else None for cell, seen in zip(cells, visible, strict=False)]

    def _list(self, node: Node, kind: Type, visible: list[bool]) -> list:
        need(kind.name in (*LISTS, "map"), "page", f"list cannot hold {kind.name}")
        offsets = self.offsets(node, 0, node.n + 1)
        items = self.child(node, 1)
        need(items.n >= offsets[-1], "page", "an offset past the items")
        self.spend(items.n)
        shown = [False] * items.n
        runs = [(*run, seen) for run, seen in zip(pairwise(offsets), visible, strict=True)]
        for start, end, seen in runs:
            shown[start:end] = [seen] * (end - start)
        if kind.name == "map":
            need(items.name == "struct" and items.validity is None, "page", "map: entries that are no struct, or null")
            values = list(zip(*self.struct_fields(items, kind, shown), strict=True))
            keys = [key for (key, _), seen in zip(values, shown, strict=True) if seen]
            need(None not in keys, "page", "map: a null key")
        else:
            values = self.decode(items, kind.inner, shown)
        return [values[start:end] if seen else None for start, end, seen in runs]

    def _fixed_size_list(self, node: Node, kind: Type, visible: list[bool]) -> list:
        need(kind.name == "fixed_size_list", "page", f"fixed_size_list cannot hold {kind.name}")
        size = kind.size
        items = self.child(node, 0, node.n * size)
        self.spend(items.n)
        values = self.decode(items, kind.inner, [seen for seen in visible for _ in range(size)])
        return [values[i * size : (i + 1) * size] if seen else None for i, seen in enumerate(visible)]

    def _struct(self, node: Node, kind: Type, visible: list[bool]) -> list:
        if kind.name in UNIONS:
            return self.union(node, kind, visible)
        need(kind.name == "struct", "page", f"struct cannot hold {kind.name}")
        columns = self.struct_fields(node, kind, visible)
        rows = zip(*columns, strict=True) if columns else ((),) * node.n
        names = [f.name for f in kind.fields]
        return [struct_value(names, row) if seen else None for row, seen in zip(rows, visible, strict=True)]

    def union(self, node: Node, kind: Type, visible: list[bool]) -> list:
        """Give (type code, value) a row."""
        need(len(node.children) == 1 + len(kind.fields), "page", "union: another number of children than 1 + fields")
        children = [self.child(node, i, node.n) for i in range(1 + len(kind.fields))]
        positions, *columns = (
            self.decode(child, inner, visible)
            for child, inner in zip(children, (Type("uint8"), *(f.type for f in kind.fields)), strict=True)
        )
        for position, seen in zip(positions, visible, strict=True):
            need(not seen or position is not None, "page", "union: a null position")
            need(not seen or position < len(kind.fields), "page", f"union: position {position}")
        rows = zip(positions, visible, strict=True)
        return [(kind.params[at], columns[at][row]) if seen else None for row, (at, seen) in enumerate(rows)]

    def struct_fields(self, node: Node, kind: Type, visible: list[bool]) -> list[list]:
        need(len(node.children) == len(kind.fields), "page", "struct: another number of children than fields")
        children = [self.child(node, i, node.n) for i in range(len(kind.fields))]
        return [self.decode(child, f.type, visible) for child, f in zip(children, kind.fields, strict=True)]


ENCODINGS = {"plain", "constant", "narrow", "bitpack", "dictionary", "variable", "zstd", "list", "fixed_size_list"}
ENCODINGS |= {"struct", "linear", "alp", "decimal", "scaled", "patched", "run_length", "outlined", "alphabet", "planes"}
ENCODINGS |= {"symbols"}


def bit(bitmap: bytes, i: int) -> bool:
    return bool((bitmap[i >> 3] >> (i & 7)) & 1)


def pack_float(layout: str, value: float) -> bytes:
    """The bytes of a float, rounded to the width of the layout; infinite where that is too narrow."""
    try:
        return struct.pack(layout, value)
    except OverflowError:
        return struct.pack(layout, float("inf") if value > 0 else -float("inf"))


def items_of(kind: Type) -> int:
    """Python values inside one flat value, for the budget."""
    return kind.size * (1 + items_of(kind.inner.storage)) if kind.name == "fixed_size_list" else 0


def frame_size(frame: bytes) -> int:
    """Read the content size that a zstd frame states, -1 if it states none."""
    need(frame[:4] == bytes.fromhex("28b52ffd"), "page", "a block that is no zstd frame")
    try:
        return zstandard.frame_content_size(frame)
    except zstandard.ZstdError as error:
        raise NaiveError("page", f"a block that is no zstd frame: {error}") from error


def decompress(frame: bytes, size: int, dictionary: bytes | None) -> bytes:
    """Decompress one block, which is exactly one zstd frame."""
    shared = None
    try:
        if dictionary is not None:
            trained = dictionary[:4] == bytes.fromhex("37a430ec")
            form = zstandard.DICT_TYPE_FULLDICT if trained else zstandard.DICT_TYPE_RAWCONTENT
            shared = zstandard.ZstdCompressionDict(dictionary, dict_type=form)
        out = zstandard.ZstdDecompressor(dict_data=shared).decompress(
            frame, max_output_size=size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise NaiveError("page", f"a block that does not decompress: {error}") from error
    need(len(out) == size, "page", f"a block of {len(out)} bytes, {size} expected")
    return out
