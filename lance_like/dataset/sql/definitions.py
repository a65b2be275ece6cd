"""CREATE TABLE … AS, DROP TABLE and ALTER TABLE of datasets."""

from __future__ import annotations

import pyarrow as pa

from lance_like.dataset.drop import drop
from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.opening import write_dataset
from lance_like.dataset.sql.changes import Counted
from lance_like.dataset.sql.edits import Reading, spelled
from lance_like.dataset.sql.scope import Scope
from lance_like.dataset.sql.tables import BYTES
from lance_like.errors import AlreadyExists, InvalidInput, NotFound, Unsupported
from lance_like.query.names import fold
from lance_like.query.statement_text import Text, outside
from lance_like.query.statements_duckdb import Connection, words
from lance_like.table.schema import join_path


def create(text: Text, scope: Scope) -> int:
    """CREATE TABLE 'path' AS a query. Returns how many rows it has."""
    reading = Reading(text, words(text))
    reading.take("CREATE")
    replace = reading.take("OR") and reading.take("REPLACE")
    if not reading.take("TABLE"):
        raise Unsupported(
            f"CREATE {reading.words[reading.at].text.upper()} is not supported: nothing outlives the statement",
            kind="sql",
            hint="WITH names a query within a statement",
        )
    if_missing = reading.take("IF")
    reading.at += 2 if if_missing else 0  # NOT EXISTS
    name = reading.name()
    if not reading.take("AS"):
        raise Unsupported("CREATE TABLE needs AS and a query", kind="sql", hint="CREATE TABLE 'path' AS SELECT …")
    body, reading.at = reading.cut(reading.at, reading.end), reading.end
    known = scope.find(name.name)
    target = scope.dataset(name.name) if known is not None else name.name
    if known is None and name.text[0] not in "\"'":
        raise InvalidInput(f"{name.text} is no place", kind="sql", hint="CREATE TABLE 'path/to/table' AS …")
    if known is not None and not replace:
        if if_missing:
            return 0
        raise AlreadyExists(f"the dataset {name.name!r} already exists", kind="sql")
    connection = Connection()
    bound, values = scope.showing(BYTES).bind(connection, body)
    counted = Counted(connection.reader(bound, values))
    try:
        if isinstance(target, LanceDataset):
            target.insert(counted.reader(), mode="overwrite")
        else:
            write_dataset(counted.reader(), target, mode="overwrite" if replace else "create")
    except AlreadyExists:
        if not if_missing:
            raise
    return counted.rows


def drop_table(text: Text, scope: Scope) -> int:
    """DROP TABLE of a path, or a handle: all versions go."""
    reading = Reading(text, words(text))
    reading.take("DROP")
    if not reading.take("TABLE"):
        raise Unsupported(f"DROP {reading.words[reading.at].text.upper()} is not supported", kind="sql")
    missing_ok = reading.take("IF")
    reading.at += 1 if missing_ok else 0  # EXISTS
    name = reading.name()
    reading.finish()
    known = scope.find(name.name)
    if known is None and name.text[0] not in "\"'":
        raise NotFound(f"there is no dataset {name.text}", kind="sql", hint="a path is written in quotes")
    drop(name.name if known is None else scope.dataset(name.name).uri, ignore_not_found=missing_ok)
    return 0


def alter(text: Text, scope: Scope) -> int:
    """ALTER TABLE: ADD, DROP, RENAME and ALTER of a column."""
    reading = Reading(text, words(text))
    reading.take("ALTER")
    if not reading.take("TABLE"):
        raise Unsupported(f"ALTER {reading.words[reading.at].text.upper()} is not supported", kind="sql")
    if reading.take("IF"):
        reading.at += 1  # EXISTS
    table = scope.dataset(reading.name().name)
    verb = reading.words[reading.at].text.upper()
    reading.at += 1
    reading.take("COLUMN")
    if verb not in _ALTERATIONS or (verb == "RENAME" and reading.words[reading.at].is_("TO")):
        raise Unsupported(f"ALTER TABLE … {verb} is not supported", kind="sql")
    _ALTERATIONS[verb](reading, table)
    reading.finish()
    return 0


_CONSTRAINTS = ("NOT", "NULL", "CHECK", "UNIQUE", "PRIMARY", "REFERENCES", "USING", "COLLATE", "GENERATED")


def _add(reading: Reading, table: LanceDataset) -> None:
    if reading.take("IF"):
        reading.at += 2  # NOT EXISTS
        if fold(reading.words[reading.at].name) in map(fold, table.schema.names):
            reading.at = reading.end
            return
    name = reading.words[reading.at].name
    start = reading.at + 1
    default = outside(reading.words, start, "DEFAULT", *_CONSTRAINTS)
    value = Text.words("NULL")
    reading.at = default
    if reading.take("DEFAULT"):
        value, reading.at = reading.cut(reading.at, reading.end), reading.end
    table.add_columns({name: f"CAST(({value}) AS {reading.cut(start, default)})"})


def _drop_column(reading: Reading, table: LanceDataset) -> None:
    missing_ok = reading.take("IF")
    reading.at += 1 if missing_ok else 0  # EXISTS
    name = reading.words[reading.at].name
    reading.at += 1
    reading.take("CASCADE", "RESTRICT")
    if not missing_ok or fold(name) in map(fold, table.schema.names):
        table.drop_columns([join_path((spelled(name, table.schema.names),))])


def _rename(reading: Reading, table: LanceDataset) -> None:
    name = spelled(reading.words[reading.at].name, table.schema.names)
    reading.at += 2  # TO
    table.alter_columns({"path": join_path((name,)), "name": reading.words[reading.at].name})
    reading.at += 1


def _alter_column(reading: Reading, table: LanceDataset) -> None:
    path = join_path((spelled(reading.words[reading.at].name, table.schema.names),))
    reading.at += 1
    sets, drops = reading.take("SET"), reading.take("DROP")
    if (sets or drops) and reading.take("NOT"):
        reading.take("NULL")
        table.alter_columns({"path": path, "nullable": drops})
        return
    reading.take("DATA")
    if drops or not reading.take("TYPE"):
        raise Unsupported("ALTER COLUMN … DEFAULT is not supported", kind="sql")
    kind, reading.at = reading.cut(reading.at, reading.end), reading.end
    if outside(words(kind), 0, "USING") < len(words(kind)):
        raise Unsupported("ALTER COLUMN … USING is not supported", kind="sql", hint="UPDATE a new column")
    table.alter_columns({"path": path, "data_type": _arrow_type(kind)})


def _arrow_type(kind: Text) -> pa.DataType:
    """The type of pyarrow that DuckDB gives values of a type in."""
    return Connection().reader("SELECT CAST(NULL AS " + kind + ")", {}).schema.field(0).type


_ALTERATIONS = {"ADD": _add, "DROP": _drop_column, "RENAME": _rename, "ALTER": _alter_column}

__all__ = ["alter", "create", "drop_table"]
