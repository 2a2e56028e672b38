"""The root tree in which the peers guard: that of bench/quality, and the packages that reach the firewall.

Recommended packages of fail2ban are in it, as an administrator's apt installs them. Nothing is ever written to the tree
(`overlay.py`).
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from pathlib import Path

from bench.quality.image import PeersError, peers_root, run
from tests.asterisk.image import cache_folder

PACKAGES = ("fail2ban", "python3-pyinotify", "nftables", "crowdsec", "crowdsec-firewall-bouncer")


def guards_root():
    """Give the tree, made from that of the peers when this recipe has none yet (half a minute)."""
    peers = peers_root()
    recipe = hashlib.sha256(Path(__file__).read_bytes() + peers.name.encode()).hexdigest()[:12]
    root = cache_folder() / f"race-{recipe}"
    with (cache_folder() / "race.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            print("adding firewall packages to the tree of the peers, about half a minute ...", flush=True)
            _build(peers, root)
    return root


def versions(root):
    """Say which packages stand in the tree."""
    asked = run("ask for the versions", "chroot", root, "dpkg-query", "-W", "-f", r"${Package} ${Version}\n", *PACKAGES)
    return dict(line.split() for line in asked.splitlines())


def _build(peers, root):
    half = root.with_name(root.name + ".half")
    shutil.rmtree(half, ignore_errors=True)
    try:
        run("copy the tree of the peers", "cp", "-a", "--reflink=auto", peers, half)
        shutil.copyfile("/etc/resolv.conf", half / "etc/resolv.conf")
        run("read the package lists", "chroot", half, "apt-get", "update")
        run("install what reaches the firewall", "chroot", half, "apt-get", "install", "--yes", *PACKAGES)
        run("tidy up", "chroot", half, "apt-get", "clean")
        shutil.rmtree(half / "var/lib/apt/lists")
        if not (half / "etc/crowdsec/bouncers/crowdsec-firewall-bouncer.yaml.local").exists():
            raise PeersError("the bouncer's package did not register it with CrowdSec")
        half.rename(root)
    finally:
        shutil.rmtree(half, ignore_errors=True)
