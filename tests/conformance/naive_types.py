"""Second reader, part 1 of 6: JSON, checksums and types (format_spec/types.md)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import xxhash

LIMIT = 1 << 53
MAX_VALUES = 1 << 24  # values and decompressed bytes of one file: this reader's own bound on what it allocates
FORMAT_VERSION = 0


class NaiveError(Exception):
    """The bytes must be refused. kind: a word of format_spec/README.md, "Errors"; family: the class beside it."""

    def __init__(self, kind: str, found: str, family: str = "Corrupt"):
        super().__init__(f"{family} {kind}: {found}")
        self.kind = kind
        self.family = family


def need(condition: bool, kind: str, found: str, family: str = "Corrupt") -> None:
    if not condition:
        raise NaiveError(kind, found, family)


def sum64(data: bytes) -> int:
    return xxhash.xxh3_64_intdigest(data)


def sum32(data: bytes) -> int:
    return sum64(data) & 0xFFFFFFFF


def cut(data: bytes, start: int, nbytes: int, kind: str = "truncated") -> bytes:
    need(min(start, nbytes) >= 0 and start + nbytes <= len(data), kind, f"no bytes [{start}, {start + nbytes})")
    return data[start : start + nbytes]


# ---------------------------------------------------------------------------------------------- JSON


def parse_json(data: bytes):
    def refuse(word: str):
        raise ValueError(word)

    def unique(pairs: list[tuple[str, object]]) -> dict:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key stands twice in one object")
        return dict(pairs)

    try:
        return json.loads(data.decode("utf-8"), parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise NaiveError("json", str(error)) from error


def is_int(low: int = 0, high: int = LIMIT - 1) -> Callable[[object], bool]:
    return lambda value: type(value) is int and low <= value <= high


def is_text(value: object) -> bool:
    return type(value) is str and not re.search("[\ud800-\udfff]", value)


def is_bool(value: object) -> bool:
    return type(value) is bool


def is_list(item: Callable[[object], bool] = lambda _: True) -> Callable[[object], bool]:
    return lambda value: type(value) is list and all(item(x) for x in value)


def is_pair(first: Callable[[object], bool], second: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: type(value) is list and len(value) == 2 and first(value[0]) and second(value[1])


def is_range(value: object) -> bool:
    return is_pair(is_int(), is_int())(value) and value[0] < value[1]


def is_base64(value: object) -> bool:
    if not is_text(value):
        return False
    try:
        return base64.b64encode(base64.b64decode(value, validate=True)).decode() == value
    except ValueError:
        return False


def member(obj: object, name: str, test: Callable[[object], bool], kind: str):
    need(type(obj) is dict and name in obj, kind, f"member {name!r} is missing")
    need(test(obj[name]), kind, f"member {name!r} is {str(obj[name])[:80]!r}")
    return obj[name]


def metadata_pairs(value: object) -> list[tuple[bytes, bytes]]:
    need(is_list(is_pair(is_base64, is_base64))(value), "metadata", "not a list of pairs in base64")
    return [(base64.b64decode(k), base64.b64decode(v)) for k, v in value]


# ---------------------------------------------------------------------------------------------- types.md

SIGNED = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "date32": 4, "date64": 8}
SIGNED |= {"time32": 4, "time64": 8, "timestamp": 8, "duration": 8}
UNSIGNED = {"uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8}
FLOATS = {"float16": 2, "float32": 4, "float64": 8}
DECIMALS = {"decimal32": 4, "decimal64": 8, "decimal128": 16, "decimal256": 32}
DIGITS = {"decimal32": 9, "decimal64": 18, "decimal128": 38, "decimal256": 76}
WIDTHS = SIGNED | UNSIGNED | FLOATS | DECIMALS | {"month_day_nano_interval": 16}
TEXT = {"string", "large_string", "string_view"}
VARIABLE = TEXT | {"binary", "large_binary", "binary_view"}
LISTS = {"list", "large_list", "list_view", "large_list_view"}
UNIONS = {"sparse_union", "dense_union"}
UNITS = {"time32": ("s", "ms"), "time64": ("us", "ns")} | dict.fromkeys(
    ("timestamp", "duration"), ("s", "ms", "us", "ns")
)
WITH_PARAMETERS = {*UNITS, *DECIMALS, *LISTS, *UNIONS, "fixed_size_binary", "map", "fixed_size_list", "struct"}
WITH_PARAMETERS |= {"dictionary", "run_end_encoded", "extension"}
WITHOUT_PARAMETERS = ({*WIDTHS, *VARIABLE, "null", "bool"}) - WITH_PARAMETERS


@dataclass(frozen=True)
class Type:
    """A type. size: of a fixed-size type, scale: of a decimal; inner: item, value or storage; fields: of a struct."""

    name: str
    params: tuple = ()
    size: int = 0
    inner: Type | None = None
    fields: tuple[Field, ...] = ()

    @property
    def storage(self) -> Type:
        return self.inner.storage if self.name == "extension" else self

    @property
    def width(self) -> int | None:
        """Bytes of a flat value, or None if the type is not flat."""
        if self.name in WIDTHS:
            return WIDTHS[self.name]
        if self.name == "fixed_size_binary":
            return self.size
        if self.name == "extension":
            return self.inner.width
        if self.name == "fixed_size_list" and self.inner.width is not None:
            return self.size * self.inner.width
        return None

    @property
    def shape(self) -> tuple:
        """What must be equal for two types to hold the same values: not extensions, names or nullability of items."""
        if self.inner is not None and self.name == "extension":
            return self.inner.shape
        return (self.name, self.params, self.inner and self.inner.shape, *(f.type.shape for f in self.fields))


@dataclass(frozen=True)
class Field:
    name: str
    type: Type
    nullable: bool
    metadata: tuple[tuple[bytes, bytes], ...] = ()


def parse_field(value: object, depth: int = 0) -> Field:
    name = member(value, "name", is_text, "field")
    nullable = member(value, "nullable", is_bool, "field")
    kind = parse_type(member(value, "type", lambda _: True, "field"), depth)
    return Field(name, kind, nullable, tuple(metadata_pairs(value.get("metadata", []))))


def parse_type(value: object, depth: int = 0) -> Type:
    need(depth <= 64, "limit", "types nested more than 64 deep")
    if type(value) is str and value in WITHOUT_PARAMETERS:
        return Type(value)
    name = value if type(value) is str else member(value, "t", is_text, "type")
    need(name in WITH_PARAMETERS | WITHOUT_PARAMETERS, "type", f"unknown type {name!r}", "Unsupported")
    need(type(value) is dict and name in WITH_PARAMETERS, "type", f"malformed type {name!r}")

    def get(key: str, test: Callable[[object], bool]):
        return member(value, key, test, "type")

    def inner(key: str) -> Type:
        return parse_type(get(key, lambda _: True), depth + 1)

    if name in UNITS:
        zone = get("tz", is_text) if name == "timestamp" and "tz" in value else None
        return Type(name, (get("unit", lambda u: u in UNITS[name]), zone))
    if name in DECIMALS:
        precision = get("precision", is_int(1, DIGITS[name]))
        return Type(name, (precision, get("scale", is_int(-(2**31), 2**31 - 1))))
    if name == "fixed_size_binary":
        size = get("size", is_int(0, 2**31 - 1))
        return Type(name, (size,), size)
    if name in LISTS:
        return Type(name, inner=parse_field(get("item", lambda _: True), depth + 1).type)
    if name == "fixed_size_list":
        size = get("size", is_int(0, 2**31 - 1))
        return Type(name, (size,), size, parse_field(get("item", lambda _: True), depth + 1).type)
    if name in ("struct", "map"):
        fields = tuple(parse_field(f, depth + 1) for f in get("fields", is_list()))
        need(name == "struct" or len(fields) == 2, "type", "a map has two fields")
        return Type(name, (get("sorted", is_bool),) if name == "map" else (), fields=fields)
    if name in UNIONS:
        fields = tuple(parse_field(f, depth + 1) for f in get("fields", is_list()))
        codes = get("codes", is_list(is_int(0, 127)))
        need(0 < len(fields) == len(codes) == len(set(codes)), "type", f"codes {codes} of {len(fields)} fields")
        return Type(name, tuple(codes), fields=fields)
    if name == "run_end_encoded":
        ends = inner("run_ends")
        need(ends.name in ("int16", "int32", "int64"), "type", f"run ends of the type {ends.name}")
        return Type(name, (ends.name,), inner=inner("value"))
    if name == "dictionary":
        index = inner("index")
        need(index.name in WIDTHS and re.fullmatch("u?int[0-9]+", index.name), "type", "index is no integer type")
        return Type(name, (index.name, get("ordered", is_bool)), inner=inner("value"))
    return Type(name, (get("name", is_text), get("data", is_base64)), inner=inner("storage"))
