"""What pyproject.toml cannot say: the stock rules go into the package, and the commit into what is built."""

from __future__ import annotations

import subprocess
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

TREE = Path(__file__).parent
COMMIT = "guard/commit"


def commit() -> str:
    """Say which commit is built: that of the file in an archive, or that of the checkout; empty if neither knows."""
    if (TREE / COMMIT).exists():
        return (TREE / COMMIT).read_text().strip()
    if not (TREE / ".git").exists():
        return ""
    try:
        ask = ["git", "-C", str(TREE), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""


class BuildWithCommit(build_py):
    """Leaves the commit beside the modules; `astguard --version --verbose` reads it there."""

    def run(self) -> None:
        """Build, then write."""
        super().run()
        if not self.editable_mode:
            Path(self.build_lib, COMMIT).write_text(f"{commit()}\n")


class SourceWithCommit(sdist):
    """The same for the source archive."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Copy the files, then write."""
        super().make_release_tree(base_dir, files)
        Path(base_dir, COMMIT).write_text(f"{commit()}\n")


setup(
    packages=[*find_packages(include=["guard", "guard.*"]), "guard.rules"],
    package_dir={"guard.rules": "rules"},
    package_data={"guard": ["py.typed"], "guard.rules": ["*.yaml"]},
    cmdclass={"build_py": BuildWithCommit, "sdist": SourceWithCommit},
)
