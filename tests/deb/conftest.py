"""The package, built once for all tests of this folder, and systems to install it in. The time of each step is printed."""

from __future__ import annotations

import os
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
