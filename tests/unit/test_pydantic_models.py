"""Models of pydantic as schemas of tables, and what is written of them."""

from __future__ import annotations

from datetime import date, datetime, timezone
from enum import Enum
from typing import Any, Optional

import pyarrow as pa
import pytest

import lance_like
from lance_like.errors import InvalidInput, WrongType

pydantic = pytest.importorskip("pydantic")

from lance_like.pydantic import MultiVector, Vector, pydantic_to_schema  # noqa: E402


class Color(str, Enum):
    RED = "red"
    BLUE = "blue"


class Level(Enum):
    LOW = 1
    HIGH = 2


INNER = pydantic.create_model("Inner", x=(int, ...), y=(str | None, None))
MODEL = pydantic.create_model(
    "Model",
    n=(int, ...),
    score=(float | None, None),
    text=(str, ...),
    flag=(bool, True),
    raw=(bytes, ...),
    day=(date, ...),
    at=(datetime, ...),
    at_utc=(datetime, pydantic.Field(json_schema_extra={"tz": "UTC"})),
    tags=(list[str], ...),
    maybe=(list[int | None], ...),
    pair=(tuple[float, ...], ...),
    inner=(INNER, ...),
    many=(Optional[list[INNER]], None),  # noqa: UP045
    color=(Color, ...),
    vector=(Vector(3), ...),
    whole=(Vector(2, pa.float16(), nullable=False), ...),
    several=(MultiVector(2), ...),
)
INNER_TYPE = pa.struct([pa.field("x", pa.int64(), False), pa.field("y", pa.string())])
SCHEMA = pa.schema(
    [
        pa.field("n", pa.int64(), False),
        pa.field("score", pa.float64()),
        pa.field("text", pa.string(), False),
        pa.field("flag", pa.bool_(), False),
        pa.field("raw", pa.binary(), False),
        pa.field("day", pa.date32(), False),
        pa.field("at", pa.timestamp("us"), False),
        pa.field("at_utc", pa.timestamp("us", "UTC"), False),
        pa.field("tags", pa.list_(pa.string()), False),
        pa.field("maybe", pa.list_(pa.int64()), False),
        pa.field("pair", pa.list_(pa.float64()), False),
        pa.field("inner", INNER_TYPE, False),
        pa.field("many", pa.list_(INNER_TYPE)),
        pa.field("color", pa.dictionary(pa.int32(), pa.string()), False),
        pa.field("vector", pa.list_(pa.float32(), 3)),
        pa.field("whole", pa.list_(pa.float16(), 2), False),
        pa.field("several", pa.list_(pa.list_(pa.float32(), 2))),
    ]
)


def row(**changed: Any) -> Any:
    given = {
        "n": 1,
        "text": "a",
        "raw": b"x",
        "day": date(2020, 1, 2),
        "at": datetime(2020, 1, 2),
        "at_utc": datetime(2020, 1, 2, tzinfo=timezone.utc),
        "tags": ["t"],
        "maybe": [1, None],
        "pair": (0.5, 1.5),
        "inner": {"x": 1},
        "color": "red",
        "vector": [1, 2, 3],
        "whole": [0.5, 0.25],
        "several": [[1, 2], [3, 4]],
    }
    return MODEL(**(given | changed))


def test_fields_become_columns() -> None:
    assert pydantic_to_schema(MODEL) == SCHEMA


def test_rows_are_written_with_the_schema_of_their_model() -> None:
    ds = lance_like.write_dataset([row(), row(n=2, many=[{"x": 5}])], "memory://", schema=pydantic_to_schema(MODEL))
    assert ds.schema == SCHEMA
    first, second = ds.to_table().to_pylist()
    assert first["score"] is None and first["many"] is None and second["many"] == [{"x": 5, "y": None}]
    assert (first["color"], first["vector"], first["several"]) == ("red", [1, 2, 3], [[1, 2], [3, 4]])
    found = ds.to_table(["n"], nearest={"column": "vector", "q": [1, 2, 3], "k": 1})
    assert found["_distance"].to_pylist() == [0]


@pytest.mark.parametrize("wrong", [{"vector": [1, 2]}, {"several": [[1, 2], [3]]}, {"vector": ["a", 1, 2]}])
def test_vectors_are_checked_by_the_model(wrong: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        row(**wrong)


def test_other_enums_have_the_type_of_their_values() -> None:
    model = pydantic.create_model("M", level=(Level, ...), mixed=(Enum("Mixed", {"A": 1, "B": "b"}), ...))
    assert pydantic_to_schema(model).types == [pa.int64(), pa.string()]


@pytest.mark.parametrize("kind", [dict[str, int], list, complex, int | str, set[int]])
def test_a_field_of_another_type_is_refused(kind: Any) -> None:
    with pytest.raises(InvalidInput, match="no column"):
        pydantic_to_schema(pydantic.create_model("M", field=(kind, ...)))


def test_a_new_table_of_models_has_their_schema_without_a_word_of_it() -> None:
    ds = lance_like.write_dataset([row(), row(n=2)], "memory://")
    assert ds.schema == SCHEMA
    ds.insert([row(n=3, score=0.5)])
    assert ds.to_table()["score"].to_pylist() == [None, None, 0.5]
    ds.insert([INNER(x=1)], mode="overwrite")
    assert ds.schema == pa.schema(list(INNER_TYPE))


def test_columns_that_the_model_has_no_type_for_have_that_of_the_values() -> None:
    at = datetime(2020, 1, 2, tzinfo=timezone.utc)
    inner = pydantic.create_model("Moment", at=(datetime, ...))
    model = pydantic.create_model("M", at=(datetime, ...), inner=(inner, ...), mixed=(int | str, ...))
    model.model_config["extra"] = "allow"
    model.model_rebuild(force=True)
    ds = lance_like.write_dataset([model(at=at, inner=inner(at=at), mixed=1, more=1)], "memory://")
    assert ds.to_table().to_pylist() == [{"at": at, "inner": {"at": at}, "mixed": 1, "more": 1}]


def test_a_table_is_made_of_a_model_and_its_instances(tmp_path, monkeypatch) -> None:
    class UserRecord(pydantic.BaseModel):
        name: str
        tag: str | None = None

    class Older(UserRecord):
        age: int = 0

    rows = [UserRecord(name="a"), UserRecord(name="b")]
    ds = lance_like.LanceDataset.from_pydantic_model(UserRecord, rows, tmp_path / "a", max_rows_per_file=1)
    assert ds.schema == pa.schema([pa.field("name", pa.string(), False), pa.field("tag", pa.string())])
    assert len(ds.get_fragments()) == 2
    monkeypatch.chdir(tmp_path)
    assert len(lance_like.LanceDataset.from_pydantic_model(UserRecord, rows)) == 2
    assert len(lance_like.dataset("user_record")) == 2
    for wrong in (iter(rows), [rows[0], Older(name="c")], [rows[0], {"name": "c"}]):
        with pytest.raises(WrongType, match=r"as a list|data\[1\].*exactly UserRecord"):
            lance_like.LanceDataset.from_pydantic_model(UserRecord, wrong, tmp_path / "b")
    with pytest.raises(InvalidInput, match="non-empty"):
        lance_like.LanceDataset.from_pydantic_model(UserRecord, [], tmp_path / "b")
    with pytest.raises(WrongType, match="BaseModel subclass"):
        lance_like.LanceDataset.from_pydantic_model(dict, [{"a": 1}], tmp_path / "b")
