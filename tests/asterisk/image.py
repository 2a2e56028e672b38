"""Root trees with a real Asterisk 22 or 16: made once by debootstrap, kept in the cache, found by their recipe.

The recipe is this file: change a letter of it and the next run builds new trees beside the old ones. Debian unstable
carries Asterisk 22, Debian 11 and its security archive the last one with chan_sip (Debian 12 has none), and the mirrors
are those this machine's own apt uses.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

SUITES = {"22": "sid", "16": "bullseye"}
"""Which Debian has which Asterisk."""

APT_SETTINGS = """\
Acquire::Check-Valid-Until "false";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Dpkg::Options { "--path-exclude=/usr/share/doc/*"; "--path-exclude=/usr/share/man/*"; "--path-exclude=/usr/share/locale/*"; };
"""


class ImageError(Exception):
    """The tree cannot be made; the message says at which step and what the step said last."""


def cache_folder() -> Path:
    """Say where trees are kept: the folder script/test names, or the user's own cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ASTGUARD_CACHE") or Path(home) / "astguard")


def asterisk_root(version: str = "22") -> Path:
    """Give the root tree with this Asterisk in it, building it when this recipe has none yet (about a minute)."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / f"asterisk-{version}-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]}"
    with (cache / f"asterisk-{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once build it once
        if not root.exists():
            print(f"making the tree of Asterisk {version} with debootstrap, about a minute ...", flush=True)
            _build(root, SUITES[version])
    return root


def asterisk_version(root: Path) -> str:
    """Ask the Asterisk in the tree who it is."""
    return _run("ask for the version", "chroot", root, "/usr/sbin/asterisk", "-V").strip()


def debian_mirror(archive: str = "", apt: Path = Path("/etc/apt")) -> str:
    """Find the mirror that serves this machine's own Debian release, or with `-security` its security archive."""
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    suite = release[1] + archive if release else ""
    for text in [path.read_text() for path in sorted(apt.glob("sources.list.d/*.sources"))]:
        for stanza in re.split(r"\n\s*\n", text):
            field = dict(re.findall(r"^([\w-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
            wanted = suite in field.get("Suites", "").split()
            if wanted and "deb" in field.get("Types", "").split() and field.get("Enabled", "yes") != "no":
                return field["URIs"].split()[0]
    for path in [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))]:
        for line in path.read_text().splitlines() if path.exists() else []:
            found = re.match(r"deb\s+(?:\[.*?\]\s+)?(\S+)\s+(\S+)\s", line)
            if found and found[2] == suite:
                return found[1]
    raise ImageError(f"no mirror for {suite or 'this system, which is no Debian'} under {apt}; its sources name none")


def _build(root: Path, suite: str) -> None:
    """Build beside the final name and rename at the end, so that a tree that exists is whole."""
    if shutil.which("debootstrap") is None:
        raise ImageError("debootstrap is missing; apt-get install debootstrap")
    half = root.with_name(root.name + ".half")
    shutil.rmtree(half, ignore_errors=True)
    try:
        debs = cache_folder() / "debs"
        debs.mkdir(exist_ok=True)
        mirror = debian_mirror()
        _run("unpack Debian", "debootstrap", "--variant=minbase", f"--cache-dir={debs}", suite, half, mirror)
        _write(half / "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode=0o755)  # install, but start nothing
        _write(half / "etc/apt/apt.conf.d/99astguard-lab", APT_SETTINGS + _proxy_settings())
        if suite != "sid":  # an old release gets its last Asterisk from there
            security = f"deb {debian_mirror('-security')} {suite}-security main\n"
            _write(half / "etc/apt/sources.list.d/security.list", security)
        shutil.copyfile("/etc/resolv.conf", half / "etc/resolv.conf")
        _run("read the package lists", "chroot", half, "apt-get", "update")
        _run("install Asterisk", "chroot", half, "apt-get", "install", "--yes", "asterisk")
        _run("tidy up", "chroot", half, "apt-get", "clean")
        shutil.rmtree(half / "var/lib/apt/lists")
        # Where a running lab mounts its own things; no resolver is reachable from there, and PJSIP waits for one.
        (half / "lab").mkdir()
        _write(half / "etc/resolv.conf", "nameserver 127.0.0.1\n")
        _write(half / "etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
        half.rename(root)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _proxy_settings() -> str:
    """Hand on the proxies this machine's apt uses, and nothing else of its settings."""
    settings = _run("ask apt for its proxies", "apt-config", "dump", "Acquire::http::Proxy", "Acquire::https::Proxy")
    return "".join(f"{line}\n" for line in settings.splitlines() if "Proxy" in line)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.unlink(missing_ok=True)  # a link would lead out of the tree
    path.write_text(text)
    path.chmod(mode)


def _run(step: str, *command: str | Path) -> str:
    """Run one step without a terminal; ImageError carries its last lines."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise ImageError(f"the Asterisk tree cannot be made: could not {step}:\n{tail}")
    return done.stdout
