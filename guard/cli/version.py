"""`astguard --version`, and with `--verbose` all that a report of a fault has to say about what runs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from guard import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parents[1]
LIBRARIES = ("pyroute2", "aiohttp", "PyYAML", "prometheus-client", "python-iptables")


def asked(words: list[str]) -> str | None:
    """Return what to print if these words of the command line ask for the version, and for nothing else."""
    if not words or words[0] != "--version" or words[1:] not in ([], ["--verbose"]):
        return None
    return "\n".join(page() if words[1:] else [f"astguard {__version__}"])


def page() -> Iterator[str]:
    """Say a line for each thing that differs between two hosts."""
    yield f"astguard {__version__}"
    yield f"commit {commit(HERE)}"
    yield f"from {HERE}"
    yield f"Python {platform.python_version()} {sys.executable}"
    for name in LIBRARIES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} is not installed"
    system = os.uname()
    yield f"{system.sysname} {system.release} {system.machine}"


def commit(package: Path) -> str:
    """Return the commit of this code: what the build wrote down, else what the checkout says."""
    written = package / "commit"
    if written.exists():
        return written.read_text(errors="replace").strip() or "unknown"
    if not (package.parent / ".git").exists():
        return "unknown"
    ask = ["git", "-C", str(package.parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return "unknown"
