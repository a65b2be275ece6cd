"""Where figures come from: the machine and the versions of what ran."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

__all__ = ["describe_machine", "installed_versions"]

PACKAGES = (
    *("lance-like", "pylance", "lancedb", "deltalake", "vortex-data", "duckdb", "pyarrow", "numpy"),
    *("faiss-cpu", "tantivy", "bm25s", "pyroaring"),
)


def installed_versions() -> dict[str, str]:
    """The versions of Python and of what is measured, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe_machine(folder: Path) -> dict[str, Any]:
    """The machine, and its load now; on Linux with the processor's name and the read-ahead of a folder's disk."""
    folder.mkdir(parents=True, exist_ok=True)
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    device = os.stat(folder).st_dev
    ahead = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/queue/read_ahead_kb")
    return {
        "cpu": models[0].split(":")[1].strip() if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "disk_read_ahead_kb": int(ahead.read_text()) if ahead.exists() else None,
        "load_before": os.getloadavg(),
    }
