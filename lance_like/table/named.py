"""Named objects: each tag and each branch is a small object, whose key says its name (format_spec/table.md, "Tags").

Here: what both have in common. What a tag or a branch says is in their modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from lance_like.errors import AlreadyExists, InvalidInput, LanceLikeError, NotFound
from lance_like.file.layout import parse_json
from lance_like.io.store import Store, read_object
from lance_like.table import shape
from lance_like.table.envelope import MAX_OBJECT, pack_envelope, unpack_envelope
from lance_like.table.layout import is_branch_name
from lance_like.typing_ import Json


@dataclass(frozen=True, slots=True)
class NameKind:
    """A kind of named objects. word: what one is called; folder: where they are; rule: which names there are.

    key: from a name to a key; name_of: from the last part of a key to a name, None for what is none.
    """

    word: str
    magic: bytes
    folder: str
    key: Callable[[str], str]
    name_of: Callable[[str], str | None]
    is_name: Callable[[str], bool]
    rule: str

    def checked(self, name: str) -> str:
        """The name itself. Raises InvalidInput for what is none."""
        if not isinstance(name, str) or not self.is_name(name):
            raise InvalidInput(f"{name!r} is not a name for a {self.word}", kind=self.word, hint=self.rule)
        return name

    def names(self, store: Store) -> list[str]:
        """All there are, sorted. Cost: a listing."""
        found = (self.name_of(file) for file in store.list(f"{self.folder}/"))
        return sorted(name for name in found if name is not None)

    def read(self, store: Store, name: str) -> tuple[dict[str, Json], str]:
        """What the object of a name says, and its key. Raises NotFound, Corrupt."""
        key = self.key(self.checked(name))
        try:
            data = read_object(store, key, limit=MAX_OBJECT)
        except NotFound as error:
            raise self.missing(store, name) from error
        body = shape.mapping(parse_json(unpack_envelope(self.magic, data, key), key), key)
        if shape.text(body, "name", key) != name:
            shape.refuse(body["name"], f"the {self.word} {name!r}", key)
        return body, key

    def packed(self, body: Mapping[str, Json]) -> bytes:
        """The bytes of an object."""
        return pack_envelope(self.magic, shape.dump(dict(body)))

    def missing(self, store: Store, name: str) -> NotFound:
        """The error for a name that nothing has."""
        known = ", ".join(map(repr, self.names(store))) or "none"
        hint = f"known {self.folder.rpartition('/')[2]}: {known}"
        return NotFound(f"the {self.word} {name!r} does not exist", kind=self.word, where=store.uri, hint=hint)

    def taken(self, store: Store, name: str, hint: str) -> AlreadyExists:
        """The error for a name that something has."""
        return AlreadyExists(f"the {self.word} {name!r} already exists", kind=self.word, where=store.uri, hint=hint)


def branch_in(body: dict[str, Json], member: str, key: str) -> str | None:
    """The branch that an object names; None: the table itself. Raises Corrupt."""
    value = shape.member(body, member, key)
    if value is None or is_branch_name(shape.clean_text(value, f"{member!r}", key)):
        return value  # pyright: ignore[reportReturnType]
    return shape.refuse(value, "the name of a branch", key)


@contextmanager
def undoing(undo: Callable[[], None]) -> Iterator[None]:
    """Do a thing that may fail, and then undo another, if that is possible."""
    try:
        yield
    except BaseException:
        with suppress(LanceLikeError, OSError):
            undo()
        raise


def checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The texts that a user gives a tag or a branch. Raises InvalidInput."""
    if not isinstance(metadata, Mapping) or not all(isinstance(t, str) for pair in metadata.items() for t in pair):
        raise InvalidInput(f"metadata={metadata!r}: expected texts with texts for names")
    return dict(metadata)


__all__ = ["NameKind", "branch_in", "checked_metadata", "undoing"]
