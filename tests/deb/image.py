"""Root trees with systemd, each made once by mmdebstrap and kept in the cache, found by their recipe.

The recipe has the packages by name. What ours depends on is taken from packaging/debian/control, so a library that it
forgets is not in the tree. The mirrors are those this machine's own apt uses, and debootstrap's for Ubuntu, whose
key is taken from Ubuntu's own package, known by its hash.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from tests.asterisk.image import cache_folder, debian_mirror

TREE = Path(__file__).parents[2]
CONTROL = TREE / "packaging/debian/control"
SUITES = ("bookworm", "trixie", "noble")
SYSTEM = ("systemd", "systemd-sysv", "dbus", "iproute2", "procps", "nftables", "iptables", "ipset", "python3-iptables")
BESIDE = (
    "firewalld",
    "ufw",
    "fail2ban",
    "man-db",
    "bash-completion",
    "dpkg-dev",
    "autopkgtest",
    "needrestart",
    "logcheck",
    "zsh",
    "fish",
)
"""What the full run wants to find on a host, installed and switched off."""
FULL = "bookworm"
"""The suite that always has those."""

UNUSED = 30 * 86_400
"""Seconds after which a system that no run has asked for is thrown away."""

OFF = 'for unit in nftables firewalld ufw fail2ban; do chroot "$1" systemctl disable $unit 2> /dev/null || true; done'
"""What switches them off."""

KEY = "ubuntu-keyring_2023.11.28.1_all.deb"
KEY_HASH = "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8"


class ImageError(Exception):
    """The tree cannot be made; the message says at which step and what the step said last."""


def image(suite: str, *, full: bool) -> Path:
    """Give the tar of a bootable system of this suite; `full` with the firewalls of others in it."""
    # python3-iptables of Ubuntu 24.04 imports distutils, which Python 3.12 has no more; astguard's error says so.
    distutils = ["python3-setuptools"] if suite == "noble" else []
    wanted = [*SYSTEM, *distutils, *_depends("Depends"), *(BESIDE if full else ())]
    return _made(f"debian-{suite}{'-full' if full else ''}", suite, wanted)


def build_image() -> Path:
    """Give the tar of a root tree that has what the package needs to be built, and nothing else."""
    return _made("debian-build", FULL, ["build-essential", "fakeroot", *_depends("Build-Depends"), "lintian"])


def python_image() -> Path:
    """Give the tar of a root tree of Debian unstable: the newest Python of all suites, with pip and pipx."""
    stale = '--aptopt=Acquire::Check-Valid-Until "false"'  # a mirror of unstable that lags a week is new enough
    return _made("debian-python", "sid", ["python3-venv", "pipx"], stale)


def _depends(field: str) -> list[str]:
    """Read the names of the packages in a field of debian/control, without versions and substitutions."""
    text = re.search(rf"^{field}:\n((?: .*\n)+)", CONTROL.read_text(), re.MULTILINE)
    names = [re.sub(r"\s*[(<\[].*", "", line).strip() for line in text[1].replace(",", "\n").splitlines()]
    return [re.sub(r"^dh-sequence-(\w+)$", lambda found: _SEQUENCES.get(found[1], found[0]), name)
            for name in names if name and not name.startswith("$")]  # fmt: skip


_SEQUENCES = {"python3": "dh-python", "bash-completion": "bash-completion", "installsysusers": "debhelper"}
"""Who provides a sequence of debhelper; mmdebstrap is given packages that are there by name."""


def _made(name: str, suite: str, packages: list[str], *options: str) -> Path:
    packages = ["debhelper" if package == "debhelper-compat" else package for package in packages]
    recipe = [
        "--variant=apt",
        *options,
        '--aptopt=APT::Sandbox::User "root"',  # or apt may not read a key in somebody's home
        f"--include={','.join(sorted(set(packages)))}",
        f"--customize-hook={OFF}",
        '--customize-hook=rm -rf "$1"/var/cache/apt/archives/*.deb',
        suite,
    ]
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    tar = cache / f"{name}-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}.tar"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once make it once
        if not tar.exists():
            print(f"making the system {name} with mmdebstrap, about a minute ...", flush=True)
            half = tar.with_suffix(".half.tar")
            _run(f"make {name}", "mmdebstrap", *recipe, half, _sources(suite))
            half.rename(tar)
        tar.touch()
        for old in cache.glob(f"{name}-{'?' * 12}.tar"):  # another tree may be using its own at this moment
            if time.time() - old.stat().st_mtime > UNUSED:
                old.unlink()
    return tar


def _sources(suite: str) -> str:
    if suite in {"bookworm", "trixie", "sid"}:
        return f"deb {debian_mirror()} {suite} main"
    script = Path("/usr/share/debootstrap/scripts/jammy").read_text()
    mirror = re.search(r"default_mirror (\S+://archive\S+)", script)[1]
    key = cache_folder() / "ubuntu-keyring"
    if not key.exists():
        with urllib.request.urlopen(f"{mirror}/pool/main/u/ubuntu-keyring/{KEY}", timeout=60) as answer:
            data = answer.read()
        if hashlib.sha256(data).hexdigest() != KEY_HASH:
            raise ImageError(f"{KEY} is not the file that is known here; whose mirror is {mirror}?")
        deb = cache_folder() / KEY
        deb.write_bytes(data)
        half = key.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        _run("unpack Ubuntu's key", "dpkg-deb", "--extract", deb, half)
        half.rename(key)
        deb.unlink()
    signed = key / "usr/share/keyrings/ubuntu-archive-keyring.gpg"
    return f"deb [signed-by={signed}] {mirror} {suite} main universe"


def _run(step: str, *command: str | Path) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise ImageError(f"could not {step}:\n{tail}")
