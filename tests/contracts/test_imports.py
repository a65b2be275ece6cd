"""What importing the package loads, and that one name is a package and a function in any order of imports."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from itertools import permutations
from pathlib import Path

import pytest

import lance_like

HEAVY = ("pandas", "torch", "duckdb", "faiss", "tantivy", "pyarrow.dataset", "zstandard", "fsspec", "polars", "tqdm")


def run(script: str) -> str:
    """The output of a script in a fresh interpreter."""
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def loaded(imports: str, script: str = "") -> tuple[set[str], set[str]]:
    """The modules that a script loads beyond those of some imports, and all of them."""
    output = run(
        f"""
import sys
{imports}
before = set(sys.modules)
{script}
import json
print(json.dumps([sorted(set(sys.modules) - before), sorted(sys.modules)]))
"""
    )
    new, everything = json.loads(output.splitlines()[-1])
    return set(new) - {"json", "json.decoder", "json.encoder", "json.scanner", "_json"}, set(everything)


def test_importing_the_package_loads_next_to_nothing() -> None:
    new, everything = loaded("", "import lance_like")
    assert not {name for name in HEAVY if name in everything}
    assert "numpy" not in everything
    assert "pyarrow" not in everything
    assert {name for name in new if name.partition(".")[0] == "lance_like"} == {"lance_like", "lance_like.version"}


def test_importing_the_package_beside_arrow_adds_few_modules() -> None:
    new, everything = loaded("import pyarrow, numpy", "import lance_like")
    assert not {name for name in HEAVY if name in everything}
    assert len(new) <= 30


@pytest.mark.parametrize(
    "layer", ["io.local", "io.uri", "encodings.registry", "file.reader", "file.writer", "table.commit"]
)
def test_the_layers_below_load_nothing_heavy(layer: str) -> None:
    _, everything = loaded("", f"import lance_like.{layer}")
    assert not {name for name in HEAVY if name in everything}


def test_writing_and_taking_load_no_more_than_they_use(tmp_path: Path) -> None:
    absent = ("torch", "faiss", "tantivy", "zstandard", "fsspec", "polars", "tqdm")
    script = f"""
        import sys
        import lance_like
        ds = lance_like.write_dataset({{"a": list(range(100))}}, {str(tmp_path / "t")!r})
        assert ds.take([3])["a"].to_pylist() == [3]
        assert lance_like.dataset({str(tmp_path / "t")!r}).to_table(filter="a < 5").num_rows == 5
        print([name for name in {absent!r} if name in sys.modules])
    """
    assert run(script) == "[]\n"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("imports") / "t")
    lance_like.write_dataset({"a": [1, 2, 3]}, folder)
    return folder


WAYS = (
    "import lance_like\nassert lance_like.dataset(uri).count_rows() == 3",
    "import lance_like.dataset\nassert lance_like.dataset(uri).count_rows() == 3",
    "from lance_like.dataset import LanceDataset\nassert LanceDataset.__name__ == 'LanceDataset'",
    "import lance_like as lance\nassert lance.dataset(uri).count_rows() == 3",
    "from lance_like import dataset\nassert dataset(uri).count_rows() == 3",
    "from lance_like.dataset import dataset as function\nassert function(uri).count_rows() == 3",
    "import lance_like.dataset.opening\nassert lance_like.dataset.opening.dataset(uri).count_rows() == 3",
)


@pytest.mark.slow
def test_the_dataset_function_works_after_any_order_of_imports(uri: str) -> None:
    """One process, in which the package is forgotten before each order."""
    run(
        f"""
        import sys
        from itertools import permutations
        ways = {WAYS!r}
        for order in permutations(ways, 2):
            for name in [name for name in sys.modules if name.partition(".")[0] == "lance_like"]:
                del sys.modules[name]
            for way in (*order, *order, "import lance_like", ways[0], ways[3]):
                exec(way, {{"uri": {uri!r}}})
        """
    )


@pytest.mark.parametrize("order", [(1, 2, 0, 3), (2, 1, 3, 0), (4, 2, 1, 0), (0, 1, 2, 3)], ids=str)
def test_the_dataset_function_works_in_a_fresh_process(uri: str, order: tuple[int, ...]) -> None:
    run(f"uri = {uri!r}\n" + "\n".join(WAYS[way] for way in (*order, *order)))


@pytest.mark.slow
@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_the_dataset_function_works_in_a_fresh_process_after_every_order(uri: str, order: tuple[int, ...]) -> None:
    run(f"uri = {uri!r}\n" + "\n".join(WAYS[way] for way in (*order, 0)))
