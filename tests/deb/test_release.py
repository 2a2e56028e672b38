"""A release is one command, and it refuses to lie; a wheel works on every Python from 3.11 on that is here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.deb.conftest import TREE, VERSION, git, timed


def test_a_release_has_all_its_parts_of_that_commit_alone(released, clone):
    names = {path.name for path in released.iterdir()}
    assert {
        f"astguard_{VERSION}_all.deb", f"astguard-{VERSION}-py3-none-any.whl", f"astguard-{VERSION}.tar.gz", "SHA256SUMS",
    } <= names  # fmt: skip
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=released, check=True)
    with tarfile.open(released / f"astguard-{VERSION}.tar.gz") as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
        written = archive.extractfile(f"astguard-{VERSION}/guard/commit").read().decode().strip()
    assert {"rules/pjsip-guessing.yaml", "packaging/build-deb", "LICENSE", "CHANGELOG.md"} <= inside
    assert "guard/not_committed.py" not in inside
    assert written == git(clone, "rev-parse", "HEAD")


def test_a_release_refuses_what_would_lie(clone):
    def refused(tag):
        done = subprocess.run([clone / "packaging/release", tag], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert not list((clone / "dist").glob("*/*.deb"))
        return done.stderr

    assert "there is no tag v9.9.9" in refused("v9.9.9")
    said = refused("v0.0.1")
    for name in ("pyproject.toml", "guard/__init__.py", "packaging/debian/changelog"):
        assert f"{name}: says {VERSION}, and the tag 0.0.1" in said
    assert "CHANGELOG.md: has no section '## [0.0.1] - DATE'" in said


def pythons():
    """Find the Pythons from 3.11 on: of Debian, on PATH, and of pyenv; one of each version."""
    found = {}
    for path in (
        Path(sys.executable), *(Path(folder) / f"python3.{minor}" for minor in range(11, 16) for folder in os.get_exec_path()),
        *Path.home().glob(".pyenv/versions/3.1*/bin/python3"),
    ):  # fmt: skip
        if path.exists():
            asked = [path, "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"]
            version = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
            if re.fullmatch(r"3\.1[1-9]", version):
                found.setdefault(version, path)
    return found


@pytest.mark.parametrize("version", sorted(pythons()))
def test_a_wheel_brings_its_rules_and_says_what_a_package_would_have_made(version, released, tmp_path):
    with timed(f"install the wheel for Python {version}"):
        subprocess.run([pythons()[version], "-m", "venv", tmp_path / "venv"], check=True)
        wheel = released / f"astguard-{VERSION}-py3-none-any.whl"
        subprocess.run([tmp_path / "venv/bin/pip", "install", "--quiet", wheel], check=True)

    def astguard(*words):
        done = subprocess.run([tmp_path / "venv/bin/astguard", *words], cwd=tmp_path, capture_output=True, text=True, check=False)  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    code, said = astguard("rules", "test")
    assert code == 0, said
    assert re.search(r"^pjsip-guessing .* ok$", said, re.MULTILINE)
    assert "commit " in astguard("--version", "--verbose")[1]
    (tmp_path / "astguard.yaml").write_text(
        f"mode: observe\ncontrol: {tmp_path}/run/sock\nstate: {tmp_path}/state/db\n"
    )
    code, said = astguard("run", "--config", "astguard.yaml")
    assert (code, f"install -d -m 750 {tmp_path}/run" in said) == (1, True), said


def test_the_extras_are_what_the_code_can_use(released):
    """An extra that nothing in the tree imports would be a promise of something else."""
    import tomllib

    extras = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) == {"iptables"}
