"""Models of pydantic as schemas of tables, and vectors as fields of models.

| field | column |
|---|---|
| `int`, `float`, `str`, `bool`, `bytes`, `date` | int64, double, string, bool, binary, date32 |
| `datetime` | timestamp[us] |
| `datetime` with `Field(json_schema_extra={"tz": "UTC"})` | timestamp[us] of this zone |
| `list[T]`, `tuple[T, …]` | list |
| another model | struct |
| an `Enum` of texts; of other values of one type | dictionary of texts; that type |
| `Vector(n)`; `MultiVector(n)` | fixed-size list of float32; list of these |
| `T | None` | as T, nullable; other fields are not |
"""

from __future__ import annotations

import inspect
import re
import types
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from typing import Any, Union, get_args, get_origin

import pyarrow as pa

from lance_like._lazy import need
from lance_like.errors import InvalidInput, WrongType

need("pydantic")  # says what to install when it is missing
import pydantic  # noqa: E402

_PLAIN = {
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    date: pa.date32(),
}


class FixedSizeListMixin(ABC):
    """The type of a field that is a vector, or several."""

    @staticmethod
    @abstractmethod
    def dim() -> int:
        """The numbers of a vector."""

    @staticmethod
    @abstractmethod
    def value_arrow_type() -> pa.DataType:
        """The type of a number."""

    @staticmethod
    @abstractmethod
    def nullable() -> bool:
        """Whether its column may have nulls."""

    @staticmethod
    def is_multi_vector() -> bool:
        """Whether a field holds several."""
        return False


def Vector(dim: int, value_type: pa.DataType | None = None, nullable: bool = True) -> type[FixedSizeListMixin]:
    """The type of a field that is a vector of `dim` numbers, float32 by default."""
    return _vectors("Vector", dim, value_type or pa.float32(), nullable, several=False)


def MultiVector(dim: int, value_type: pa.DataType | None = None, nullable: bool = True) -> type[FixedSizeListMixin]:
    """The type of a field that is a list of vectors of `dim` numbers."""
    return _vectors("MultiVector", dim, value_type or pa.float32(), nullable, several=True)


def _vectors(name: str, dim: int, kind: pa.DataType, nullable: bool, *, several: bool) -> type[FixedSizeListMixin]:
    class Vectors(list, FixedSizeListMixin):
        def __repr__(self) -> str:
            return f"{name}(dim={dim})"

        @staticmethod
        def dim() -> int:
            return dim

        @staticmethod
        def value_arrow_type() -> pa.DataType:
            return kind

        @staticmethod
        def nullable() -> bool:
            return nullable

        @staticmethod
        def is_multi_vector() -> bool:
            return several

        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
            core = need("pydantic_core.core_schema")
            vector = core.list_schema(core.float_schema(), min_length=dim, max_length=dim)
            return core.no_info_after_validator_function(cls, core.list_schema(vector) if several else vector)

    Vectors.__name__ = Vectors.__qualname__ = name
    return Vectors


def pydantic_to_schema(model: type[pydantic.BaseModel]) -> pa.Schema:
    """The schema of a table of a model's instances. Raises InvalidInput for a field of another type."""
    return pa.schema(_fields(model))


def schema_of_rows(model: type[pydantic.BaseModel], rows: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """The schema of a table of instances of a model, so that all of their values are kept.

    rows: what `model_dump` gives of them. A column that the model knows no type for, or that holds moments with time
    zones where it says none, has the type of its values.
    """
    names = dict.fromkeys([*model.model_fields, *(name for row in rows for name in row)])
    return pa.schema([_kept(name, model.model_fields.get(name), [row.get(name) for row in rows]) for name in names])


def _kept(name: str, field: Any, values: list[Any]) -> pa.Field:
    if field is not None:
        try:
            kind = _type(_given(field.annotation), field)
        except InvalidInput:
            kind = None
        if kind is not None and not (_without_zone(kind) and any(map(_has_zone, values))):
            return pa.field(name, kind, is_nullable(field))
    return pa.field(name, pa.array(values).type)


def _without_zone(kind: pa.DataType) -> bool:
    """Whether values of a type are, or hold, moments without a time zone."""
    if pa.types.is_timestamp(kind):
        return kind.tz is None
    return any(_without_zone(kind.field(i).type) for i in range(kind.num_fields))


def _has_zone(value: Any) -> bool:
    if isinstance(value, datetime):
        return value.tzinfo is not None
    if isinstance(value, Mapping):
        return any(map(_has_zone, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_zone, value))


def check_instances(model: Any, data: Any) -> None:
    """Raise WrongType unless data is a list of instances of exactly this model, InvalidInput for an empty one."""
    if not (_is_class(model) and issubclass(model, pydantic.BaseModel)):
        raise WrongType(f"model_class={model!r}: expected a pydantic BaseModel subclass")
    if not isinstance(data, list):
        raise WrongType(f"the instances of {model.__name__} must be provided as a list")
    if not data:
        raise InvalidInput(f"the list of instances of {model.__name__} must be non-empty")
    wrong = next((i for i, item in enumerate(data) if type(item) is not model), None)
    if wrong is not None:
        raise WrongType(f"data[{wrong}] is of {type(data[wrong])}: expected exactly {model.__name__}")


def snake_case(name: str) -> str:
    """`user_record` of `UserRecord`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def get_extras(field: Any, key: str) -> Any:
    """What a field's `json_schema_extra` says; None for nothing."""
    extra = field.json_schema_extra
    return extra.get(key) if isinstance(extra, dict) else None


def is_nullable(field: Any) -> bool:
    """Whether the column of a field may have nulls: of `T | None`, and of a vector that says so."""
    kind = field.annotation
    if _is_class(kind) and issubclass(kind, FixedSizeListMixin):
        return kind.nullable()
    return type(None) in get_args(kind) and get_origin(kind) in (Union, types.UnionType)


def _fields(model: type[pydantic.BaseModel]) -> list[pa.Field]:
    return [
        pa.field(name, _type(_given(field.annotation), field), is_nullable(field))
        for name, field in model.model_fields.items()
    ]


def _given(kind: Any) -> Any:
    """T of `T | None`; others as they are."""
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    others = [one for one in get_args(kind) if one is not type(None)]
    return others[0] if len(others) == 1 else kind


def _type(kind: Any, field: Any) -> pa.DataType:
    if kind is datetime:
        return pa.timestamp("us", get_extras(field, "tz"))
    if kind in _PLAIN:
        return _PLAIN[kind]
    if get_origin(kind) in (list, tuple) and get_args(kind):
        item = get_args(kind)[0]
        return pa.list_(pa.field("item", _type(_given(item), field)))
    if _is_class(kind):
        return _type_of_class(kind, field)
    raise _unknown(kind)


def _is_class(kind: Any) -> bool:
    return inspect.isclass(kind) and get_origin(kind) is None  # in Python 3.10 list[int] is a class


def _type_of_class(kind: type, field: Any) -> pa.DataType:
    if issubclass(kind, pydantic.BaseModel):
        return pa.struct(_fields(kind))
    if issubclass(kind, FixedSizeListMixin):
        vector = pa.list_(kind.value_arrow_type(), kind.dim())
        return pa.list_(vector) if kind.is_multi_vector() else vector
    if issubclass(kind, Enum):
        values = {type(member.value) for member in kind}
        if len(values) != 1:
            return pa.string()
        [value] = values
        return pa.dictionary(pa.int32(), pa.string()) if value is str else _type(value, field)
    raise _unknown(kind)


def _unknown(kind: Any) -> InvalidInput:
    return InvalidInput(f"a field of type {kind} has no column: expected one that the module's table names")


__all__ = [
    "FixedSizeListMixin",
    "MultiVector",
    "Vector",
    "check_instances",
    "get_extras",
    "is_nullable",
    "pydantic_to_schema",
    "schema_of_rows",
    "snake_case",
]
