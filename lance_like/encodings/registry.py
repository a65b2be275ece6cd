"""Names on disk to encodings, and the two calls that the file layer makes: encode an array, read a node."""

from __future__ import annotations

import dataclasses

import pyarrow as pa

from lance_like.encodings.base import Direct, Encoded, Hints, Node, together
from lance_like.encodings.physical import (
    bitmap_of,
    flat_width,
    is_integer_like,
    is_variable,
    read_validity,
    storage_of,
    with_validity,
)
from lance_like.errors import Unsupported
from lance_like.registry import Registry
from lance_like.typing_ import Conversation, Int64s

ENCODINGS = Registry(
    "lance_like.encodings",
    {
        "bitpack": "lance_like.encodings.bitpack:Bitpack",
        "constant": "lance_like.encodings.constant:Constant",
        "dictionary": "lance_like.encodings.dictionary:Dictionary",
        "fixed_size_list": "lance_like.encodings.nested:FixedSizeList",
        "list": "lance_like.encodings.nested:VariableList",
        "narrow": "lance_like.encodings.narrow:Narrow",
        "plain": "lance_like.encodings.plain:Plain",
        "struct": "lance_like.encodings.nested:Struct",
        "variable": "lance_like.encodings.variable:Variable",
        "zstd": "lance_like.encodings.zstd:Zstd",
    },
)


def candidates(kind: pa.DataType, *, ranged: bool) -> tuple[str, ...]:
    """The encodings to try for a type, best first; the last one takes every array of the type.

    ranged: the rows will be read in runs (list items, offsets), for which bit-packing is a poor fit.
    """
    t = pa.types
    if t.is_null(kind):
        return ("constant",)
    if t.is_struct(kind):
        return ("struct",)
    if t.is_list(kind) or t.is_large_list(kind) or t.is_map(kind):
        return ("list",)
    if t.is_dictionary(kind):
        return ("dictionary",)
    if is_variable(kind):
        return ("constant", "dictionary", "zstd", "variable")
    if is_integer_like(kind):
        return ("constant", "narrow", "plain") if ranged else ("constant", "bitpack", "narrow", "plain")
    if t.is_fixed_size_list(kind):
        return ("plain", "fixed_size_list") if flat_width(kind) is not None else ("fixed_size_list",)
    if t.is_boolean(kind) or flat_width(kind) is not None:
        return ("constant", "plain")
    raise Unsupported(f"the type {kind} cannot be stored yet", kind="type", hint="cast it to another type")


def encode_array(array: pa.Array, hints: Hints, *, ranged: bool = False) -> Encoded:
    """Encode an array with the first candidate that takes it. Raises Unsupported for an unknown type."""
    if isinstance(array, pa.ExtensionArray):
        return encode_array(array.storage, hints, ranged=ranged)
    names = candidates(array.type, ranged=ranged)
    if len(array) and array.null_count == len(array) and not pa.types.is_nested(array.type):
        names = ("constant",)
    for name in names:
        tree = ENCODINGS.get(name).encode(array, hints)
        if tree is not None:
            return tree if tree.is_null else dataclasses.replace(tree, validity=bitmap_of(array))
    raise Unsupported(f"no encoding takes a column of type {array.type}", kind="encoding")


def read_node(node: Node, kind: pa.DataType, starts: Int64s, ends: Int64s) -> Conversation[pa.Array]:
    """The rows of half-open ranges of a node as an array of a type, nulls included.

    Raises Unsupported for an unknown encoding, Corrupt when the node breaks its rules.
    """
    if isinstance(kind, pa.BaseExtensionType):
        storage = yield from read_node(node, storage_of(kind), starts, ends)
        return pa.ExtensionArray.from_storage(kind, storage)
    values = ENCODINGS.get(node.encoding).read(node, kind, starts, ends)
    if node.validity is None:
        return (yield from values)
    array, bitmap = yield from together([values, read_validity(node, starts, ends)])
    return with_validity(array, bitmap)


def direct_of(node: Node, kind: pa.DataType) -> Direct | None:
    """Where the values of a node lie if its encoding puts row r at a fixed stride; None otherwise."""
    encoding = ENCODINGS.get(node.encoding)
    return encoding.direct(node, storage_of(kind)) if hasattr(encoding, "direct") else None
