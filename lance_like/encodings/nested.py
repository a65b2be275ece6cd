"""Lists, fixed-size lists of anything, and structs inside them: child nodes in the same page
(format_spec/encodings/nested.md)."""

from __future__ import annotations

import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.physical import entries_of, offsets_of
from lance_like.encodings.registry import encode_array, read_node
from lance_like.encodings.stack import Reading, Runs, Stack, together
from lance_like.encodings.variable import encode_offsets, offsets_buffer, read_bounds
from lance_like.ranges import has_negative


class VariableList:
    """list, large_list and map. Child 0: num_rows + 1 offsets from 0; child 1: the items (a map's are structs)."""

    name = "list"
    shape: tuple[str, ...] = ()

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        offsets = offsets_of(array)
        items = entries_of(array) if pa.types.is_map(array.type) else array.values
        items = items.slice(offsets[0], offsets[-1] - offsets[0])
        children = (encode_offsets(offsets, hints), encode_array(items, hints, ranged=True, items=True))
        return Encoded(self.name, len(array), children=children)

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        if pa.types.is_map(kind):
            item_type = pa.struct([kind.key_field, kind.item_field])
        else:
            if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
                raise stack.corrupt(f"it is not a {kind}")
            item_type = kind.value_type
        offsets = stack.once("offsets", lambda: stack.child(0, stack.num_rows + 1))
        bounds = yield from read_bounds(offsets, runs)
        child = stack.child(1)
        stack.require(not has_negative(child.num_rows[runs.at] - bounds.ends), "its offsets pass its items")
        items = yield from read_node(child, item_type, Runs(runs.at, bounds.starts, bounds.ends))
        if pa.types.is_map(kind):
            # Arrow ends the process when it meets one.
            stack.require(items.null_count == 0 and items.field(0).null_count == 0, "a map entry or key is null")
        offsets = offsets_buffer(kind, bounds.lengths)
        return pa.Array.from_buffers(kind, len(bounds.lengths), [None, offsets], null_count=0, children=[items])


class FixedSizeList:
    """Child 0: num_rows x size items."""

    name = "fixed_size_list"
    shape: tuple[str, ...] = ()

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        size = array.type.list_size
        items = array.values.slice(array.offset * size, len(array) * size)
        return Encoded(self.name, len(array), children=(encode_array(items, hints, ranged=True, items=True),))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        if not pa.types.is_fixed_size_list(kind):
            raise stack.corrupt(f"it is not a {kind}")
        size = kind.list_size
        child = stack.once(("items", size), lambda: stack.child(0, stack.num_rows * size))
        items = yield from read_node(child, kind.value_type, runs.times(size))
        return pa.Array.from_buffers(kind, runs.count, [None], null_count=0, children=[items])


class Struct:
    """One child a field. As a column of its own it has none: its fields are columns (format_spec/file.md)."""

    name = "struct"
    shape: tuple[str, ...] = ()

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        children = tuple(encode_array(array.field(i), hints) for i in range(array.type.num_fields))
        return Encoded(self.name, len(array), children=children)

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        if not pa.types.is_struct(kind) or len(stack.children) != kind.num_fields:
            raise stack.corrupt(f"it has {len(stack.children)} children and is not a {kind}")
        reads = [read_node(stack.child(i, stack.num_rows), kind.field(i).type, runs) for i in range(kind.num_fields)]
        children = yield from together(reads)
        return pa.Array.from_buffers(kind, runs.count, [None], null_count=0, children=children)
