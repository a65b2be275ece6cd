"""The error tree: one class for each thing a caller can do about a failure (format_spec/README.md, "Errors")."""

from __future__ import annotations


class LanceLikeError(Exception):
    """The root of every error that this package raises on purpose.

    kind: a stable word for programs, such as "checksum" or "limit".
    where: the place, such as a file, column, page or byte.
    hint: what to do next.
    """

    def __init__(self, message: str, *, kind: str = "", where: str = "", hint: str = "") -> None:
        self.message = message
        self.kind = kind
        self.where = where
        self.hint = hint
        text = message
        if where:
            text += f" (at {where})"
        if hint:
            text += f"; {hint}"
        super().__init__(text)

    def __reduce__(self):
        state = dict(self.__dict__)
        if isinstance(self, OSError):
            state["errno"] = self.errno  # no member of __dict__
        return _rebuild, (type(self), self.message, state)


def _rebuild(cls: type[LanceLikeError], message: str, state: dict[str, object]) -> LanceLikeError:
    error = cls.__new__(cls)
    LanceLikeError.__init__(error, message, kind=str(state["kind"]), where=str(state["where"]), hint=str(state["hint"]))
    for name, value in state.items():
        setattr(error, name, value)
    return error


class InvalidInput(LanceLikeError, OSError, ValueError):
    """The call cannot mean anything: fix the call.

    In pylance a ValueError of some calls and an OSError of others (`write_dataset`, `add_columns`, `take`).
    """


class OutOfRange(InvalidInput, IndexError):
    """A row or position lies outside the table."""


class WrongType(InvalidInput, TypeError):
    """A value of another kind than the call is for, such as a text for a vector. In pylance a TypeError."""


class NotFound(LanceLikeError, OSError, KeyError, ValueError, RuntimeError):
    """A dataset, version, tag, column, index or row that does not exist.

    In pylance a ValueError of a dataset, a KeyError of a column, an OSError of a version by its number, a RuntimeError
    of an index that is dropped.
    """


class AlreadyExists(LanceLikeError, FileExistsError, ValueError):
    """The name is taken: choose another name or mode. Of a table an OSError in pylance, of a tag a ValueError."""


class Conflict(LanceLikeError, OSError):
    """Another writer was first and nothing was changed: re-read and try again. An OSError, as in pylance."""

    retryable = True

    def __init__(
        self, message: str = "another writer was first", *, kind: str = "", where: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, kind=kind, where=where, hint=hint)


class IncompatibleChange(Conflict):
    """Another writer changed what this change stands on: trying again as it is cannot succeed."""

    retryable = False


class CommitUnknown(LanceLikeError):
    """The store's answer was lost and cannot be had: look for `transaction` before trying again."""

    def __init__(self, message: str, *, transaction: str, where: str = "", hint: str = "") -> None:
        super().__init__(message, kind="commit-unknown", where=where, hint=hint)
        self.transaction = transaction


class Corrupt(LanceLikeError, ValueError):
    """Stored bytes break the spec or do not match their checksum."""


class Unsupported(LanceLikeError, NotImplementedError):
    """A newer format, a missing plug-in, or a type that is not stored: the message names it."""


class MissingDependency(LanceLikeError, ImportError):
    """An optional library is not installed: the message names the extra that brings it."""


class StorageError(LanceLikeError, OSError):
    """The store failed; the cause is chained."""


__all__ = [
    "AlreadyExists",
    "CommitUnknown",
    "Conflict",
    "Corrupt",
    "IncompatibleChange",
    "InvalidInput",
    "LanceLikeError",
    "MissingDependency",
    "NotFound",
    "OutOfRange",
    "StorageError",
    "Unsupported",
    "WrongType",
]
