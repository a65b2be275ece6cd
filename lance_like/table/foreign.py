"""Places where no dataset is: what is there instead, by its names only."""

from __future__ import annotations

from lance_like.errors import NotFound
from lance_like.io.store import Store
from lance_like.table.layout import VERSIONS

# What `lance_like.convert` reads.
CONVERTIBLE = ("Delta Lake", "Lance", "Parquet")


def no_dataset(store: Store) -> NotFound:
    """The error of a place without a version. Cost: a few listings."""
    foreign = foreign_format(store)
    if foreign is not None:
        convert = f'lance_like.convert({store.uri!r}, "a new place") copies it into one'
        return NotFound(
            f"this is a {foreign} table, not a lance_like dataset",
            kind="foreign-format",
            where=store.uri,
            hint=convert if foreign in CONVERTIBLE else "read it with its own library and pass it to write_dataset",
        )
    what = "no version was ever committed here" if store.list("") else "nothing is here"
    return NotFound(
        f"the dataset was not found: {what}", kind="dataset", where=store.uri, hint="write_dataset makes one"
    )


def foreign_format(store: Store) -> str | None:
    """The name of another format that a folder is of; None if it is of none that is known. Cost: a few listings."""
    top = store.list("")
    if "_delta_log/" in top:
        return "Delta Lake"
    if "_latest.manifest" in top or _ends(store.list(f"{VERSIONS}/"), ".manifest"):
        return "Lance"
    if "metadata/" in top and _ends(store.list("metadata/"), ".metadata.json"):
        return "Iceberg"
    for name, suffix in (("Parquet", ".parquet"), ("Lance", ".lance"), ("Vortex", ".vortex")):
        if _ends(top, suffix):
            return name
    return "Parquet" if _is_partitioned(store) else None


def _is_partitioned(store: Store) -> bool:
    """Is it a folder of folders `column=value` with Parquet files below? Looks into the first at each level."""
    folder = ""
    while folders := [name for name in store.list(folder) if "=" in name and name.endswith("/")]:
        folder += folders[0]
    return folder != "" and _ends(store.list(folder), ".parquet")


def _ends(names: list[str], suffix: str) -> bool:
    return any(name.endswith(suffix) for name in names)


__all__ = ["foreign_format", "no_dataset"]
