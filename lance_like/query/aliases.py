"""Functions of other dialects that pylance's users write, as macros of DuckDB.

Where DuckDB has a function of the same name, that one counts: examples/sql.md has the table of what differs.
"""

from __future__ import annotations

import re

_JSON_ITEM = "coalesce(json_extract(document, key), json_extract(document, TRY_CAST(key AS BIGINT)))"
_JSON_TEXT = f"({_JSON_ITEM} ->> '$')"

_JSON_FOUND = (
    "len(list_filter(json_extract(document, path || '[*]'),"
    " lambda item: (item ->> '$') = CAST(value AS VARCHAR) OR CAST(item AS VARCHAR) = CAST(value AS VARCHAR))) > 0"
)

MACROS = {
    "regexp_like": "(text, pattern, flags := '') AS regexp_matches(text, pattern, flags)",
    "regexp_match": "(text, pattern, flags := '') AS"
    " CASE WHEN regexp_matches(text, pattern, flags) THEN [regexp_extract(text, pattern, 0, flags)] END",
    "regexp_count": "(text, pattern) AS len(regexp_extract_all(text, pattern))",
    "json_get": f"(document, key) AS {_JSON_ITEM}",
    "json_get_string": f"(document, key) AS {_JSON_TEXT}",
    "json_get_int": f"(document, key) AS TRY_CAST({_JSON_TEXT} AS BIGINT)",
    "json_get_float": f"(document, key) AS TRY_CAST({_JSON_TEXT} AS DOUBLE)",
    "json_get_bool": f"(document, key) AS TRY_CAST({_JSON_TEXT} AS BOOLEAN)",
    "json_array_contains": f"(document, path, value) AS {_JSON_FOUND}",
    "make_array": "(a) AS [a], (a, b) AS [a, b], (a, b, c) AS [a, b, c], (a, b, c, d) AS [a, b, c, d]",
    "array_min": "(list) AS list_min(list)",
    "array_max": "(list) AS list_max(list)",
    "get_field": "(struct, name) AS struct_extract(struct, name)",
    "nvl": "(value, other) AS coalesce(value, other)",
    "nvl2": "(value, is_there, is_null) AS CASE WHEN value IS NULL THEN is_null ELSE is_there END",
    "nanvl": "(value, other) AS CASE WHEN isnan(value) THEN other ELSE value END",
    "iszero": "(value) AS value = 0",
    "signum": "(value) AS CASE WHEN isnan(CAST(value AS DOUBLE)) THEN CAST('nan' AS DOUBLE)"
    " ELSE CAST(sign(value) AS DOUBLE) END",
    "find_in_set": "(text, list) AS coalesce(list_position(string_split(list, ','), text), 0 * length(text || list))",
    "substr_index": "(text, mark, count) AS CASE WHEN mark = '' THEN left(text, 0)"
    " WHEN count < 0 THEN array_to_string(string_split(text, mark)[count:], mark)"
    " ELSE array_to_string(string_split(text, mark)[:count], mark) END",
    "to_char": "(moment, format) AS strftime(moment, format)",
    "date_format": "(moment, format) AS strftime(moment, format)",
    "to_unixtime": "(moment) AS CAST(floor(epoch(moment)) AS BIGINT)",
    "from_unixtime": "(seconds) AS make_timestamp(CAST(seconds AS BIGINT) * 1000000)",
    "to_timestamp_seconds": "(number) AS make_timestamp(CAST(number AS BIGINT) * 1000000)",
    "to_timestamp_millis": "(number) AS make_timestamp(CAST(number AS BIGINT) * 1000)",
    "to_timestamp_micros": "(number) AS make_timestamp(CAST(number AS BIGINT))",
    "array_element": "(list, place) AS list_extract(list, place)",
    "array_any_value": "(list) AS list_filter(list, lambda item: item IS NOT NULL)[1]",
    "array_positions": "(list, item) AS"
    " list_filter(range(1, len(list) + 1), lambda place: list[place] IS NOT DISTINCT FROM item)",
    "array_remove_all": "(list, item) AS list_filter(list, lambda other: other IS DISTINCT FROM item)",
    "array_replace_all": "(list, item, other) AS"
    " list_transform(list, lambda one: CASE WHEN one IS NOT DISTINCT FROM item THEN other ELSE one END)",
    "array_repeat": "(item, count) AS list_transform(range(count), lambda _: item)",
    "list_to_string": "(list, mark) AS array_to_string(list, mark)",
    "array_empty": "(list) AS len(list) = 0",
    "empty": "(list) AS len(list) = 0",
    "btrim": "(text) AS trim(text), (text, letters) AS trim(text, letters)",
    "to_date": "(text) AS CAST(text AS DATE)",
    "date_bin": "(stride, moment) AS time_bucket(stride, moment, TIMESTAMP '1970-01-01')",
}
"""Name -> what follows it in CREATE TEMP MACRO."""

_NAMES = re.compile(rf"\b({'|'.join(MACROS)})\b", re.IGNORECASE)


def named_in(sql: str) -> set[str]:
    """Name the macros that SQL may call."""
    return {name.lower() for name in _NAMES.findall(sql)}


__all__ = ["MACROS", "named_in"]
