"""Names on disk to encodings, and the calls that the file layer makes: encode an array, stack pages, read rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable

import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, Node
from lance_like.encodings.physical import (
    bitmap_of,
    flat_width,
    is_integer_like,
    is_variable,
    read_validity,
    storage_of,
    with_validity,
)
from lance_like.encodings.stack import Reading, Runs, Stack, shape_of, together
from lance_like.errors import Unsupported
from lance_like.registry import Registry

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


def shape(node: Node) -> Hashable:
    """What pages must share to be read together. Raises Unsupported for an unknown encoding."""
    return shape_of(node, lambda name: ENCODINGS.get(name).shape)


def read_node(stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
    """Rows of a stack as an array of a type, nulls included.

    Raises Unsupported for an unknown encoding, Corrupt when the nodes break its rules.
    """
    if isinstance(kind, pa.BaseExtensionType):
        storage = yield from read_node(stack, storage_of(kind), runs)
        return pa.ExtensionArray.from_storage(kind, storage)
    values = ENCODINGS.get(stack.encoding).read(stack, kind, runs)
    if stack.validity is None:
        return (yield from values)
    array, bitmap = yield from together([values, read_validity(stack, runs)])
    return with_validity(array, bitmap)
