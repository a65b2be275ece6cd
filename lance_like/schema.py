"""Schemas with the numbers of their fields, and as JSON."""

from __future__ import annotations

from lance_like.dataset.lance_schema import LanceField, LanceSchema
from lance_like.dataset.schema_json import json_to_schema, schema_to_json

__all__ = ["LanceField", "LanceSchema", "json_to_schema", "schema_to_json"]
