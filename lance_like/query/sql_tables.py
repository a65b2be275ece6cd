"""The tables that a SELECT names, found in DuckDB's JSON tree: where they stand, and what they are called. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lance_like.query.names import fold
from lance_like.query.nodes import Node

_IMPLIED = 2**64 - 1


@dataclass(frozen=True, slots=True)
class TableName:
    """A table by name. place: the byte where it stands; None: DuckDB does not say.

    unit, moment: of an AT clause, "VERSION" or "TIMESTAMP" and its expression; None without one.
    """

    place: int | None
    name: str
    alias: str
    unit: str | None
    moment: Node


@dataclass(frozen=True, slots=True)
class TableCall:
    """A table function. arguments: expressions by position; named: the others."""

    place: int | None
    name: str
    alias: str
    arguments: tuple[Node, ...]
    named: dict[str, Node]


def tables_in(tree: Node) -> Iterator[TableName | TableCall]:
    """The tables of a statement, but for the names of its own common table expressions."""
    return _below(tree, frozenset())


def _below(node: Node, own: frozenset[str]) -> Iterator[TableName | TableCall]:
    if isinstance(node, list):
        for child in node:
            yield from _below(child, own)
    if not isinstance(node, dict):
        return
    tables = node.get("cte_map")
    if isinstance(tables, dict):
        for entry in tables.get("map") or []:
            named = own | {fold(entry["key"])}
            # A table may be named like what it is made from, unless it is made from itself.
            recursive = any(part.get("type") == "RECURSIVE_CTE_NODE" for part in _objects(entry["value"]))
            yield from _below(entry["value"], named if recursive else own)
            own = named
    kind = node.get("type")
    if kind == "BASE_TABLE" and "table_name" in node:
        found = _table(node)
        if found is not None and fold(found.name) not in own:
            yield found
    elif kind == "TABLE_FUNCTION" and isinstance(node.get("function"), dict):
        yield _call(node)
    for key, child in node.items():
        if key != "cte_map":
            yield from _below(child, own)


def _objects(node: Node) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from _objects(child)


def _place(node: Node) -> int | None:
    place = node.get("query_location", _IMPLIED)
    return None if place == _IMPLIED else place


def _table(node: Node) -> TableName | None:
    if node.get("schema_name") or node.get("catalog_name"):
        return None
    clause = node.get("at_clause")
    unit, moment = (clause["unit"], clause["expr"]) if clause else (None, None)
    return TableName(_place(node), node["table_name"], node.get("alias", ""), unit, moment)


def _call(node: Node) -> TableCall:
    function = node["function"]
    if "arguments" in function:
        given = [(one.get("name") or "", one["expression"]) for one in function["arguments"]]
    else:  # DuckDB 1
        given = [(child.get("alias") or "", child) for child in function["children"]]
    return TableCall(
        _place(node),
        function["function_name"],
        node.get("alias", ""),
        tuple(value for name, value in given if not name),
        {name: value for name, value in given if name},
    )


__all__ = ["TableCall", "TableName", "tables_in"]
