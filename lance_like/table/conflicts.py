"""Can my change follow theirs? One visible table (format_spec/commit.md, "Conflicts"). Pure.

Row = mine, which commits later; column = theirs, committed after the version I read.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from lance_like.table.actions import Action, AddColumns, Append, DropColumns, RenameColumns, missing_required
from lance_like.table.manifest import Manifest, Transaction


class Verdict(Enum):
    """commit: apply mine on the newest version. rerun: make mine again from it. stop: it cannot follow."""

    COMMIT = "commit"
    RERUN = "rerun"
    STOP = "stop"


C, R, X = Verdict.COMMIT, Verdict.RERUN, Verdict.STOP

Rule = Callable[[Action, Transaction, Manifest], Verdict]


def _schema_fits(mine: Action, theirs: Transaction, newest: Manifest) -> Verdict:
    """Append: stop if a field it wrote has gone; rerun if a new field may not be null."""
    assert isinstance(mine, Append) and mine.field_ids is not None
    written = set(mine.field_ids)
    if newest.schema.missing(written):
        return X
    return R if missing_required(newest.schema, written) else C


def _same_fragments(mine: Action, theirs: Transaction, newest: Manifest) -> Verdict:
    """Add columns: new rows have no values of them yet; columns that read as null need none."""
    assert isinstance(mine, AddColumns)
    return R if mine.files else C


def _inputs_remain(mine: Action, theirs: Transaction, newest: Manifest) -> Verdict:
    """Add columns: stop if a field it was computed from has gone."""
    assert isinstance(mine, AddColumns)
    return X if newest.schema.missing(mine.reads) else C


def _other_columns(mine: Action, theirs: Transaction, newest: Manifest) -> Verdict:
    """Drop or rename: stop if they dropped or renamed the same field."""
    assert isinstance(mine, DropColumns | RenameColumns)
    ids = mine.field_ids if isinstance(mine, DropColumns) else mine.names
    return X if newest.schema.missing(ids) or any(theirs.touches(field_id) for field_id in ids) else C


_THEIRS = (
    "append",
    "add_columns",
    "drop_columns",
    "rename_columns",
    "update_metadata",
    "overwrite",
    "restore",
)


def _row(*cells: Verdict | Rule) -> dict[str, Verdict | Rule]:
    return dict(zip(_THEIRS, cells, strict=True))


# Names that clash after a rebase (two writers add one name) are found by `apply`, which stops too.
# fmt: off
RULES: dict[str, dict[str, Verdict | Rule]] = {
    # mine             theirs: append           add_columns   drop_columns     rename_columns  metadata over restore
    "append":          _row(C,                  _schema_fits, _schema_fits,    C,              C,       X,   X),
    "add_columns":     _row(_same_fragments,    C,            _inputs_remain,  C,              C,       X,   X),
    "drop_columns":    _row(C,                  C,            _other_columns,  _other_columns, C,       X,   X),
    "rename_columns":  _row(C,                  C,            _other_columns,  _other_columns, C,       X,   X),
    "update_metadata": _row(C,                  C,            C,               C,              C,       C,   C),
    "overwrite":       _row(C,                  C,            C,               C,              C,       C,   C),
    "restore":         _row(C,                  C,            C,               C,              C,       C,   C),
}
# fmt: on


def judge(mine: Action, theirs: Transaction, newest: Manifest) -> Verdict:
    """Say how my change can follow theirs.

    mine: bound to the version it was made for. newest: the version it would follow, theirs included.
    A kind of change that the table does not know asks for a rerun: that is right after any change.
    """
    rule = RULES[mine.kind].get(theirs.kind, R)
    return rule if isinstance(rule, Verdict) else rule(mine, theirs, newest)
