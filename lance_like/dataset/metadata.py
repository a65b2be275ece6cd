"""The texts that a table carries: the part of `LanceDataset` that reads and changes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lance_like.dataset.bound import BoundVersion
from lance_like.dataset.lance_schema import LanceSchema, shown
from lance_like.errors import InvalidInput
from lance_like.table.actions import Replacement, TextChange, UpdateMetadata

Updates = Mapping[str, str | None]


class DatasetMetadata(BoundVersion):
    """The methods of `LanceDataset` about metadata and configuration. Each change is one commit.

    Where a method takes updates, a key gets the text it is given, and None removes it; with replace=True these are all
    texts there will be, whatever others write meanwhile.
    """

    @property
    def metadata(self) -> dict[str, str]:
        """The table's own texts."""
        return dict(self._manifest.metadata)

    @property
    def schema_metadata(self) -> dict[str, str]:
        """The metadata of the schema, as texts; bytes that are no UTF-8 are shown by their numbers."""
        return {shown(key): shown(value) for key, value in self._manifest.schema.metadata.items()}

    @property
    def lance_schema(self) -> LanceSchema:
        """The columns with the numbers of their fields, blobs as bytes."""
        return LanceSchema(self._manifest.schema)

    @property
    def max_field_id(self) -> int:
        """The greatest number of a field of the table's history; -1: it never had one."""
        return self._manifest.next_field_id - 1

    @property
    def has_stable_row_ids(self) -> bool:
        """True: the id of a row stays, whatever is changed, deleted or compacted around it."""
        return True

    def config(self) -> dict[str, str]:
        """How the table is to be kept: texts for the programs that do it."""
        return dict(self._manifest.config)

    def update_metadata(self, values: Updates, *, replace: bool = False) -> dict[str, str]:
        """Change the table's own texts. Returns all of them."""
        self._commit(UpdateMetadata(_change(values, replace)))
        return self.metadata

    def update_config(self, values: Updates, *, replace: bool = False) -> dict[str, str]:
        """Change the configuration. Returns all of it."""
        self._commit(UpdateMetadata(config=_change(values, replace)))
        return self.config()

    def delete_config_keys(self, keys: Sequence[str]) -> None:
        """Remove keys from the configuration; those that are not there are no error."""
        if isinstance(keys, str):
            raise InvalidInput(f"keys={keys!r} is one text: expected a list of keys")
        self.update_config(dict.fromkeys(keys))

    def update_schema_metadata(self, values: Updates, *, replace: bool = False) -> dict[str, str]:
        """Change the metadata of the schema. Returns all of it. No file changes."""
        self._commit(UpdateMetadata(schema=_change(values, replace)))
        return self.schema_metadata

    def replace_schema_metadata(self, new_metadata: Mapping[str, str]) -> None:
        """Give the schema other metadata in the place of all it has; `update_schema_metadata` with replace=True."""
        self.update_schema_metadata(new_metadata, replace=True)

    def update_field_metadata(self, field_updates: Mapping[str, Updates], *, replace: bool = False) -> None:
        """Change the metadata of fields, by name or dotted path. No file changes. Raises NotFound."""
        if not isinstance(field_updates, Mapping):
            raise InvalidInput(f"{field_updates!r}: expected the updates of each field by its path")
        find = self._manifest.schema.find
        changes = {find(path).id: _change(values, replace) for path, values in field_updates.items()}
        self._commit(UpdateMetadata(fields=changes))

    def replace_field_metadata(self, field_name: str, new_metadata: Mapping[str, str]) -> None:
        """Give a field other metadata in the place of all it has; `update_field_metadata` with replace=True."""
        self.update_field_metadata({field_name: new_metadata}, replace=True)


def _change(values: Updates, replace: bool) -> TextChange:
    if not isinstance(values, Mapping):
        raise InvalidInput(f"{values!r}: expected texts by their keys")
    for key, value in values.items():
        if not _is_text(key) or not (value is None or _is_text(value)):
            raise InvalidInput(f"{key!r}: {value!r}: expected texts of valid Unicode, or None to remove a key")
    if replace:
        return Replacement({key: value for key, value in values.items() if value is not None})
    return dict(values)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not any("\ud800" <= mark <= "\udfff" for mark in value)


__all__ = ["DatasetMetadata"]
