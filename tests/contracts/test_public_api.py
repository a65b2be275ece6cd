"""The public names: what is there, what it is, and that nothing else crept in."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import lance_like
from lance_like import errors

NAMES = {
    *("Expression", "col", "expr", "func", "lit", "when"),
    *("json_to_schema", "schema_to_json"),
    *("FtsToken", "Marking", "highlight", "tokenize"),
    *("SqlQuery", "SqlQueryBuilder", "sql"),
    *("CleanupCandidateFile", "CleanupExplanation", "CleanupStats", "DataStatistics", "FieldStatistics"),
    *("Index", "IndexFile", "IndexProgress", "MergeInsertBuilder"),
    *("ScanStatistics", "Session", "vector"),
    "BatchUDF",
    *("Blob", "BlobArray", "BlobColumn", "arrow", "blob", "udf"),
    "BlobFile",
    "batch_udf",
    "blob_array",
    "blob_field",
    "FragmentMetadata",
    "LanceDataset",
    "LanceFragment",
    "LanceOperation",
    "LanceScanner",
    "SqlQuery",
    "SqlQueryBuilder",
    "Transaction",
    "WriteProgress",
    "__version__",
    "convert",
    "dataset",
    "commit",
    "errors",
    "file",
    "optimize",
    "progress",
    "query",
    "rerankers",
    "sampler",
    "schema",
    "fragment",
    "indices",
    "sql",
    *("Expression", "col", "expr", "func", "lit", "when"),
    "torch",
    "write_dataset",
}

# Of LanceDataset, without what pyarrow.dataset.Dataset has and this format has not.
DATASET = {
    *("uri", "version", "latest_version", "schema", "metadata", "tags", "optimize", "stats"),
    *("all_files", "tracked_files"),
    *(
        "scanner",
        "sql",
        "to_table",
        "to_batches",
        "to_pandas",
        "head",
        "count_rows",
        "take",
        "take_blobs",
        "read_blobs",
        "read_blob_ranges",
        "slice",
        "sample",
        "max_field_id",
        "has_stable_row_ids",
        "find_duplicates",
        "find_near_duplicate_pairs",
        "find_near_duplicates",
        "get_fragments",
        "get_fragment",
        "minhash_search",
    ),
    *(
        "branch",
        "branches",
        "create_branch",
        "data_storage_version",
        "versions",
        "version_refs",
        "get_version",
        "read_transaction",
        "get_transactions",
    ),
    *("checkout_version", "checkout_latest", "restore"),
    *("schema_metadata", "config", "update_metadata", "update_config", "delete_config_keys"),
    *("update_schema_metadata", "replace_schema_metadata", "update_field_metadata", "replace_field_metadata"),
    *("insert", "delete", "update", "merge_insert", "truncate_table"),
    *("from_pydantic_model", "add_columns", "drop_columns", "alter_columns", "merge", "delta", "diff", "fragment_ids"),
    *("commit", "commit_batch", "shallow_clone", "deep_clone"),
    *("create_index", "create_scalar_index", "drop_index", "has_index", "list_indices", "describe_indices"),
    *("index_statistics", "prewarm_index", "create_index_uncommitted", "commit_existing_index_segments"),
    *("cleanup_old_versions", "explain_cleanup_old_versions", "lease", "stats", "validate", "drop"),
    *("accepts", "one_shot", "pull_under_gil", "rows", "schema_is_stable", "stream", "view"),
    *("data_storage_version", "sql", "lance_schema", "max_field_id", "has_stable_row_ids", "sample"),
    *("search", "tune_index", "session", "new_file_session"),
    *("initial_storage_options", "latest_storage_options", "centroids", "get_ivf_model"),
    "merge_existing_index_segments",
}
NOT_HERE = {"filter", "join", "join_asof", "partition_expression", "replace_schema", "sort_by"}

ERRORS = {
    *(
        "LanceLikeError",
        "InvalidInput",
        "OutOfRange",
        "WrongType",
        "NotFound",
        "AlreadyExists",
        "Conflict",
        "IncompatibleChange",
    ),
    *("CommitUnknown", "Corrupt", "Unsupported", "MissingDependency", "StorageError"),
}


def test_the_package_has_these_names() -> None:
    assert set(lance_like.__all__) == NAMES - {"torch"}
    assert set(dir(lance_like)) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES - {"torch"}))
def test_every_name_is_there(name: str) -> None:
    assert getattr(lance_like, name) is getattr(lance_like, name)


@pytest.mark.slow
def test_the_torch_module_is_there_when_torch_is() -> None:
    pytest.importorskip("torch")
    assert isinstance(lance_like.torch, ModuleType)
    assert inspect.isclass(lance_like.torch.LanceDataset)


def test_a_star_import_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from lance_like import *; print(callable(dataset), 'torch' in vars())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True False\n"


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        lance_like.no_such_name  # noqa: B018
    assert not hasattr(lance_like, "numpy")


def test_the_dataset_has_these_methods() -> None:
    public = {name for name in dir(lance_like.LanceDataset) if not name.startswith("_")}
    assert public == DATASET | NOT_HERE


OWNERS = ["LanceDataset", "LanceFragment", "LanceScanner", "SqlQuery", "SqlQueryBuilder"]


@pytest.mark.parametrize("owner", [getattr(lance_like, name) for name in OWNERS])
def test_every_public_method_says_what_it_does(owner: type) -> None:
    for name, member in inspect.getmembers(owner):
        if not name.startswith("_") and not isinstance(member, bool):
            assert (member.__doc__ or "").strip().partition("\n")[0].endswith("."), name


def test_the_errors_are_these() -> None:
    assert set(errors.__all__) == ERRORS
    assert all(issubclass(getattr(errors, name), errors.LanceLikeError) for name in ERRORS)


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("InvalidInput", ValueError),
        ("InvalidInput", OSError),
        ("OutOfRange", IndexError),
        ("WrongType", TypeError),
        ("NotFound", KeyError),
        ("NotFound", ValueError),
        ("NotFound", OSError),
        ("NotFound", RuntimeError),
        ("Corrupt", ValueError),
        ("Unsupported", NotImplementedError),
        ("MissingDependency", ImportError),
        ("StorageError", OSError),
        ("AlreadyExists", FileExistsError),
        ("AlreadyExists", ValueError),
        ("Conflict", OSError),
    ],
)
def test_errors_are_also_those_of_python(name: str, builtin: type) -> None:
    assert issubclass(getattr(errors, name), builtin)


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_errors_show_their_place_and_hint_and_pickle(name: str) -> None:
    kind = getattr(errors, name)
    extra = {"transaction": "7f"} if name == "CommitUnknown" else {"kind": "a-kind"}
    error = kind("what was found", where="the place", hint="what to do", **extra)
    copy = pickle.loads(pickle.dumps(error))
    for found in (error, copy):
        assert type(found) is kind
        assert str(found) == "what was found (at the place); what to do"
        assert (found.message, found.where, found.hint) == ("what was found", "the place", "what to do")
        assert found.kind
    if name == "CommitUnknown":
        assert copy.transaction == "7f"
    if name in ("Conflict", "IncompatibleChange"):
        assert copy.retryable == (name == "Conflict")
    if name == "StorageError":
        error.errno = 28
        assert pickle.loads(pickle.dumps(error)).errno == 28


def test_no_method_is_left_to_be_written() -> None:
    package = Path(inspect.getfile(lance_like)).parent
    assert [path.name for path in package.rglob("*.py") if "raise NotImplementedError" in path.read_text()] == []
