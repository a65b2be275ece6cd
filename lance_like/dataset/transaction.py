"""What a commit did, as a handle tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lance_like.table.manifest import Transaction as Record

LANCE_COMMIT_MESSAGE_KEY = "__lance_commit_message"
"""The property that holds the message of a commit."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One commit.

    read_version: the version it was made for, 0 for the first. operation: its kind (format_spec/commit.md, "Actions").
    uuid: its own. transaction_properties: the user's texts, and the message under `LANCE_COMMIT_MESSAGE_KEY`.
    """

    read_version: int
    operation: str
    uuid: str
    transaction_properties: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Record) -> Transaction:
        """The transaction that a record of the table describes."""
        message = {} if record.message is None else {LANCE_COMMIT_MESSAGE_KEY: record.message}
        return cls(record.read_version, record.kind, record.uuid, {**record.properties, **message})


__all__ = ["LANCE_COMMIT_MESSAGE_KEY", "Transaction"]
