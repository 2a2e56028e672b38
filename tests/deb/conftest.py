"""The package, built once for all tests of this folder, and systems to install it in. The time of each step is printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import FULL as LONG
from tests.deb.image import FULL, SUITES, TREE, build_image, image
from tests.deb.machine import machine
from tests.netns import namespace, reason_not_to_run, sweep

VERSION = re.search(r'"(.*)"', (TREE / "guard/__init__.py").read_text().partition("__version__")[2])[1]
TOOLS = ("systemd-nspawn", "mmdebstrap", "dpkg-deb", "nsenter")
OTHERS = [pytest.param(suite, marks=[] if suite == FULL else pytest.mark.long) for suite in SUITES]
"""All suites in the long form, one in the short."""


@contextmanager
def timed(what):
    """Print how long a step took."""
    started = time.monotonic()
    try:
        yield
    finally:
        print(f"  {what}: {time.monotonic() - started:.1f} s", flush=True)


@pytest.fixture(scope="session", autouse=True)
def host():
    """Say why nothing can be tested here, if it cannot."""
    reason = reason_not_to_run(*TOOLS)
    if reason:
        pytest.skip(reason)
    sweep()


@pytest.fixture(scope="session")
def build_root(tmp_path_factory, host):
    """A root tree with the Build-Depends alone."""
    root = tmp_path_factory.mktemp("build") / "root"
    root.mkdir()
    with timed("unpack the root to build in"):
        subprocess.run(["tar", "--extract", "--file", build_image(), "--directory", root], check=True)
    yield root
    shutil.rmtree(root, ignore_errors=True)


def build(root, out, **environment):
    """Build the package in a root tree; return the deb."""
    command = [TREE / "packaging/build-deb", *(["--in", root] if root else []), out]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (deb,) = Path(out).glob("astguard_*_all.deb")
    return deb


@pytest.fixture(scope="session")
def deb(request, tmp_path_factory):
    """The package, built in a clean root; or that in ASTGUARD_DEB, to try one that is there already."""
    if "ASTGUARD_DEB" in os.environ:
        return Path(os.environ["ASTGUARD_DEB"])
    build_root = request.getfixturevalue("build_root")
    with timed("build the package, with the unit tests of the suite's own Python"):
        return build(build_root, tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def older_deb(deb, tmp_path_factory):
    """The package as the version before it would be: an older number, and other defaults in its configuration."""
    folder = tmp_path_factory.mktemp("older")
    subprocess.run(["dpkg-deb", "--raw-extract", deb, folder / "tree"], check=True)
    control = folder / "tree/DEBIAN/control"
    text = control.read_text()
    version = next(line for line in text.splitlines() if line.startswith("Version: ")).removeprefix("Version: ")
    control.write_text(text.replace(f"Version: {version}", f"Version: {version}~before"))
    shipped = folder / "tree/usr/share/astguard/astguard.yaml"
    shipped.write_text("# an older text\n" + shipped.read_text())
    older = folder / f"astguard_{version}~before_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", folder / "tree", older], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    return older


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


@pytest.fixture(scope="session")
def machines(host):
    """One running system of each suite that is asked for."""
    running = {}
    with ExitStack() as stack:

        def of(suite):
            if suite not in running:
                net = stack.enter_context(namespace("box"))
                with timed(f"unpack and boot {suite}"):
                    running[suite] = stack.enter_context(machine(image(suite, full=suite == FULL or LONG), net))
                running[suite].net = net
            return running[suite]

        yield of


@pytest.fixture
def boot(machines):
    """Give a system of a suite in which nobody has ever installed the package: boot("bookworm") -> machine."""

    def make(suite=FULL):
        box = machines(suite)
        box.sh(CLEAN)
        return box

    return make


CLEAN = """
for package in astguard pbx; do dpkg --purge $package > /dev/null 2>&1 || true; done
for unit in firewalld ufw fail2ban; do systemctl stop $unit 2> /dev/null || true; done
[ ! -e /usr/sbin/ufw ] || ufw disable > /dev/null 2>&1 || true
for table in filter nat mangle raw; do
    for command in iptables ip6tables; do
        $command -t $table -F; $command -t $table -X; $command -t $table -P OUTPUT ACCEPT
    done
done
iptables -P FORWARD ACCEPT; iptables -P INPUT ACCEPT; ip6tables -P FORWARD ACCEPT; ip6tables -P INPUT ACCEPT
nft flush ruleset
for user in astguard asterisk; do ! getent passwd $user > /dev/null || userdel $user 2> /dev/null; done
for group in astguard asterisk; do ! getent group $group > /dev/null || groupdel $group; done
rm -rf /etc/systemd/system/astguard.service.d /etc/asterisk /var/log/asterisk /etc/fail2ban/jail.local /srv/*
systemctl daemon-reload
systemctl reset-failed
journalctl --rotate
for folder in /run/log/journal /var/log/journal; do [ ! -d $folder ] || find $folder -name '*@*.journal*' -delete; done
"""
"""What tests leave behind, taken away; the network, which has nothing to do with the package, stays."""


@pytest.fixture
def installed(boot, deb):
    """Give a system with the package just installed: installed("bookworm") -> machine."""

    def make(suite=FULL, package=deb):
        box = boot(suite)
        install(box, package)
        return box

    return make


def install(box, package):
    """Install a package as an administrator without a terminal does; return what was said."""
    with timed(f"install {Path(package).name}"):
        return box.run("apt-get", "install", "--yes", "-qq", box.copy(package))
