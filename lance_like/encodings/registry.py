"""Names on disk to encodings, and the calls that the file layer makes: encode an array, stack pages, read rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable

import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, Node, parse_range
from lance_like.encodings.choice import COMPACT, NONE, PLAIN, ZSTD
from lance_like.encodings.physical import (
    bitmap_of,
    flat_width,
    is_integer_like,
    is_number,
    is_variable,
    read_validity,
    storage_of,
    with_validity,
)
from lance_like.encodings.stack import Reading, Runs, Stack, shape_of, together
from lance_like.errors import Unsupported
from lance_like.registry import Registry
from lance_like.typing_ import Json

ENCODINGS = Registry(
    "lance_like.encodings",
    {
        "alphabet": "lance_like.encodings.alphabet:Alphabet",
        "alp": "lance_like.encodings.alp:Alp",
        "bitpack": "lance_like.encodings.bitpack:Bitpack",
        "constant": "lance_like.encodings.constant:Constant",
        "decimal": "lance_like.encodings.decimal:Decimal",
        "dictionary": "lance_like.encodings.dictionary:Dictionary",
        "fixed_size_list": "lance_like.encodings.nested:FixedSizeList",
        "linear": "lance_like.encodings.linear:Linear",
        "list": "lance_like.encodings.nested:VariableList",
        "narrow": "lance_like.encodings.narrow:Narrow",
        "outlined": "lance_like.encodings.outlined:Outlined",
        "patched": "lance_like.encodings.patched:Patched",
        "planes": "lance_like.encodings.planes:Planes",
        "plain": "lance_like.encodings.plain:Plain",
        "run_length": "lance_like.encodings.run_length:RunLength",
        "scaled": "lance_like.encodings.scaled:Scaled",
        "struct": "lance_like.encodings.nested:Struct",
        "symbols": "lance_like.encodings.symbols:Symbols",
        "variable": "lance_like.encodings.variable:Variable",
        "zstd": "lance_like.encodings.zstd:Zstd",
    },
)

# Values as Arrow has them, found without decoding.
_AS_THEY_ARE = ("plain", "variable", "list", "fixed_size_list", "struct")
_NODE_NBYTES = 64
# Two blocks of the page cache: a take of numbers that fill less reads as much whatever encoding they have.
SMALL_NBYTES = 8192
# What the range of the values decides: it is known from the statistics of the column.
_BY_RANGE = ("constant", "bitpack", "narrow", "plain")
# Those that any number of columns are read with in one go.
_OF_BYTES = ("constant", "narrow", "plain")


def candidates(kind: pa.DataType, *, ranged: bool, items: bool = False) -> tuple[str, ...]:
    """The encodings to try for a type, best first; the last one takes every array of the type.

    ranged: the rows will be read in runs (list items, offsets), for which bit-packing is a poor fit.
    items: of lists; offsets are read before anything else, and are worth whole bytes.
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
        return ("constant", "dictionary", "outlined", "alphabet", "symbols", "zstd", "variable")
    if is_integer_like(kind):
        if ranged:
            return ("constant", "linear", *(("planes",) if items else ()), "narrow", "plain")
        return ("constant", "run_length", "scaled", "linear", "dictionary", "patched", "bitpack", "narrow", "plain")
    if t.is_fixed_size_list(kind):
        if flat_width(kind) is None:
            return ("fixed_size_list",)
        return ("plain", "fixed_size_list") if ranged else ("run_length", "plain", "fixed_size_list")
    if t.is_floating(kind):
        return ("constant", "alp", "plain") if ranged else ("constant", "run_length", "dictionary", "alp", "plain")
    if t.is_decimal(kind):
        return ("constant", "decimal", "plain")
    if t.is_boolean(kind):
        return ("constant", "plain")
    if flat_width(kind) is not None:
        return ("constant", "plain") if ranged else ("constant", "run_length", "plain")
    raise Unsupported(f"the type {kind} cannot be stored yet", kind="type", hint="cast it to another type")


def possible(kind: pa.DataType) -> frozenset[str]:
    """The encodings that a user may name for a type. Raises Unsupported for a type that cannot be stored."""
    kind = storage_of(kind)
    return frozenset((*candidates(kind, ranged=False), *candidates(kind, ranged=True, items=True)))


def encode_array(array: pa.Array, hints: Hints, *, ranged: bool = False, items: bool = False) -> Encoded:
    """Encode an array as its rule says (format_spec/encodings/README.md, "How a writer chooses").

    Raises Unsupported for an unknown type.
    """
    if isinstance(array, pa.ExtensionArray):
        return encode_array(array.storage, hints, ranged=ranged, items=items)
    names = candidates(array.type, ranged=ranged, items=items)
    nested = pa.types.is_nested(array.type)
    # A dictionary keeps its values also where no row names one.
    keeps_more = nested or pa.types.is_dictionary(array.type)
    if len(array) and array.null_count == len(array) and not keeps_more:
        names = ("constant",)
    else:
        names = _chosen(names, hints, small=is_small(array))
    inside = hints if nested else hints.inside
    trees = (ENCODINGS.get(name).encode(array, inside) for name in names)
    found = (tree for tree in trees if tree is not None)
    tree = min(found, key=nbytes_of, default=None) if hints.choice.encoding == COMPACT else next(found, None)
    if tree is None:
        raise Unsupported(f"no encoding takes a column of type {array.type}", kind="encoding")
    if array.null_count == 0 or tree.is_null:
        return tree
    return dataclasses.replace(tree, validity=bitmap_of(array))


def is_small(array: pa.Array) -> bool:
    """True for numbers that fill at most two blocks, for which few encodings are tried."""
    kind = array.type
    return is_number(kind) and len(array) * kind.bit_width <= 8 * SMALL_NBYTES


def _chosen(names: tuple[str, ...], hints: Hints, *, small: bool) -> tuple[str, ...]:
    """The candidates that hints leave, in the order in which they are tried."""
    choice = hints.choice
    if choice.encoding is None and small:
        return tuple(name for name in names if name in (_OF_BYTES if hints.wide else _BY_RANGE))
    if choice.encoding == PLAIN:
        return tuple(name for name in names if name in _AS_THEY_ARE) or names
    if choice.compression == NONE:
        names = tuple(name for name in names if name not in ("alphabet", "symbols", ZSTD))
    elif choice.compression == ZSTD and ZSTD in names:
        names = tuple(name for name in names if name not in ("dictionary", "outlined", "alphabet", "symbols"))
    if choice.level is not None and choice.encoding != COMPACT:
        # Who names a level of zstd wants zstd.
        names = tuple(name for name in names if name != "symbols")
    if choice.encoding not in (None, COMPACT):
        return (choice.encoding, *(name for name in names if name != choice.encoding))
    return names


def check_blob_ranges(node: Node, blob_nbytes: int) -> None:
    """Raise Corrupt when a node, or one below it, names bytes past the end of the shared blob.

    Raises Unsupported for an unknown encoding.
    """
    for name in _in_blob(node.encoding):
        if node.params.get(name) is not None:
            parse_range(node.params[name], blob_nbytes)
    for child in node.children:
        check_blob_ranges(child, blob_nbytes)


def with_blob_moved(description: Json, by: int) -> Json:
    """The description of a page whose shared blob begins so many bytes later. description: of sound nodes."""
    moved = dict(description)
    for name in _in_blob(description["e"]):
        if description.get(name) is not None:
            start, length = description[name]
            moved[name] = [start + by, length]
    if "c" in description:
        moved["c"] = [with_blob_moved(child, by) for child in description["c"]]
    return moved


def _in_blob(encoding: str) -> tuple[str, ...]:
    """The parameters that are ranges of the shared blob."""
    return getattr(ENCODINGS.get(encoding), "in_blob", ())


def nbytes_of(tree: Encoded) -> int:
    """About what a tree takes in a file: the text that describes a node counts as much as its parameters do."""
    own = sum(map(len, tree.buffers)) + len(tree.validity if tree.validity is not None else ())
    return own + _NODE_NBYTES + len(str(tree.params)) + sum(map(nbytes_of, tree.children))


def shape(node: Node) -> Hashable:
    """What pages must share to be read together. Raises Unsupported for an unknown encoding."""
    return shape_of(node, lambda name: ENCODINGS.get(name).shape)


def read_node(stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
    """Rows of a stack as an array of a type, nulls included.

    Raises Unsupported for an unknown encoding, Corrupt when the nodes break its rules.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return _read_extension(stack, kind, runs)
    values = ENCODINGS.get(stack.encoding).read(stack, kind, runs)
    return values if stack.validity is None else _read_with_nulls(stack, values, runs)


def _read_extension(stack: Stack, kind: pa.BaseExtensionType, runs: Runs) -> Reading[pa.Array]:
    storage = yield from read_node(stack, storage_of(kind), runs)
    return pa.ExtensionArray.from_storage(kind, storage)


def _read_with_nulls(stack: Stack, values: Reading[pa.Array], runs: Runs) -> Reading[pa.Array]:
    array, bitmap = yield from together([values, read_validity(stack, runs)])
    return with_validity(array, bitmap)
