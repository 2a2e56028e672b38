"""A release is one command, and it refuses to lie; a wheel works on every Python from 3.11 on that is here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.deb.conftest import TREE, timed

VERSION = re.search(r'"(.*)"', (TREE / "guard/__init__.py").read_text().partition("__version__")[2])[1]


def git(tree, *words):
    own = ["-c", "user.name=x", "-c", "user.email=x@x.invalid", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"]
    return subprocess.run(["git", *own, "-C", tree, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session")
def clone(tmp_path_factory, host):
    """The tree as it stands, committed, with its tag; the changelog says that it is released."""
    folder = tmp_path_factory.mktemp("clone") / "astguard"
    names = git(TREE, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in names:
        if not name.startswith("tests/corpus") and (TREE / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TREE / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "As it stands")
    git(folder, "tag", "v0.0.1")
    changes = (folder / "CHANGELOG.md").read_text()
    if f"## [{VERSION}]" not in changes:
        (folder / "CHANGELOG.md").write_text(changes.replace("## [Unreleased]", f"## [{VERSION}] - 2026-11-24"))
    git(folder, "commit", "--quiet", "--allow-empty", "-am", "Release")
    git(folder, "tag", f"v{VERSION}")
    return folder


@pytest.fixture(scope="session")
def released(clone, build_root, tmp_path_factory):
    """What a release makes."""
    out = tmp_path_factory.mktemp("released")
    (clone / "guard/not_committed.py").write_text('"""Nobody has committed this."""\n')
    with timed("a release: package, wheel, source archive"):
        done = subprocess.run(
            [clone / "packaging/release", "--in", build_root, f"v{VERSION}", out],
            env={**os.environ, "DEB_BUILD_OPTIONS": "nocheck"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


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
