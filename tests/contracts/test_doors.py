"""Each heavy library has one door: the module that owns it, which imports it on first use."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lance_like
from lance_like._lazy import need
from lance_like.errors import MissingDependency

PACKAGE = Path(lance_like.__file__).parent

OWNERS = {
    "PIL": "arrow/images.py",
    "datasets": "integrations/huggingface.py",
    "deltalake": "integrations/convert/delta.py",
    "duckdb": ("query/engine_duckdb.py", "query/statements_duckdb.py", "query/engine_source.py"),
    "faiss": "index/vector/door.py",
    "fsspec": "io/remote.py",
    "lance": "integrations/convert/lance.py",
    "pandas": None,
    "pydantic": "dataset/models.py",
    "pydantic_core": "dataset/models.py",
    "polars": ("dataset/search_builder.py", "integrations/polars.py"),
    "pyarrow.dataset": ("dataset/arrow.py", "integrations/convert/parquet.py"),
    "tantivy": ("index/text/analysis.py", "index/text/split.py"),
    "torch": ("integrations/torch.py", "sampler.py", "torch/data.py"),
    "tqdm": None,
    "zstandard": "encodings/zstd.py",
}
"""Library -> the module, or modules, that may import it; None: none may yet."""

# What imports a library when it is itself imported: modules that nobody loads without wanting the library.
EAGER = {
    "dataset/arrow.py",
    "dataset/models.py",
    "integrations/huggingface.py",
    "integrations/polars.py",
    "integrations/torch.py",
    "query/engine_source.py",
    "torch/data.py",
}


def imported(tree: ast.AST, *, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """The names of modules that code imports, by statement or by call, and whether inside a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, inside) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            module = node.module or ""
            yield module, inside
            yield from ((f"{module}.{name.name}", inside) for name in node.names)
        elif isinstance(node, ast.Call) and _called(node.func) in ("need", "import_module", "__import__"):
            yield from ((arg.value, inside) for arg in node.args if isinstance(arg, ast.Constant))
        within = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from imported(node, inside=within)


def _called(function: ast.expr) -> str:
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


MODULES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def uses(library: str) -> list[tuple[str, bool]]:
    """The modules that import a library, and whether inside a function."""
    return [
        (path, inside)
        for path, tree in MODULES.items()
        for name, inside in imported(tree)
        if name == library or name.startswith(library + ".")
    ]


def test_the_walk_sees_imports_of_every_form() -> None:
    forms = (
        "import x",
        "import x.y",
        "from x import y",
        "need('x')",
        "_lazy.need('x.y')",
        "importlib.import_module('x')",
    )
    for form in forms:
        for text, inside in ((form, False), (f"def f():\n    {form}", True), (f"if True:\n    {form}", False)):
            found = [(name, where) for name, where in imported(ast.parse(text)) if name.partition(".")[0] == "x"]
            assert found
            assert all(where == inside for _, where in found)


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_by_its_owner_only(library: str) -> None:
    owner = OWNERS[library]
    assert {path for path, _ in uses(library)} == (set(owner) if isinstance(owner, tuple) else {owner} - {None})


@pytest.mark.parametrize("library", sorted(set(OWNERS) - {"torch", "pyarrow.dataset"}))
def test_a_library_is_imported_on_first_use(library: str) -> None:
    assert all(inside for path, inside in uses(library) if path not in EAGER)


def test_no_other_library_is_imported() -> None:
    # Sets of rows are a word of several layers, as arrays are.
    known = {"lance_like", "numpy", "pyarrow", "pyroaring", "xxhash", "__future__", *OWNERS}
    for path, tree in MODULES.items():
        for name, _ in imported(tree):
            top = name.partition(".")[0]
            assert top in known or top in sys.stdlib_module_names, (path, name)


def test_a_missing_library_names_what_to_install() -> None:
    with pytest.raises(MissingDependency, match="no_such_library") as caught:
        need("no_such_library.inner")
    assert "pip install" in caught.value.hint
    assert isinstance(caught.value, ImportError)
    assert need("json").dumps(1) == "1"
