"""The root tree with the two peers: made once by debootstrap, kept in the cache, found by its recipe.

Both come from Debian unstable, which has the newest fail2ban and a CrowdSec that ships its hub, the asterisk collection
with it, in the package: nothing is fetched from anywhere else. The recipe is this file, as in tests/asterisk/image.py.
Neither is started on this host: what runs of them runs in the tree and in a network namespace that leads nowhere.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.asterisk.image import cache_folder, debian_mirror

SUITE = "sid"
PACKAGES = ("fail2ban", "crowdsec")
APT_SETTINGS = """\
Acquire::Check-Valid-Until "false";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
"""
HUB = Path("/var/lib/crowdsec/hub")
COLLECTION = ("collections/crowdsecurity/asterisk", "parsers/s01-parse/crowdsecurity/asterisk-logs",
              "scenarios/crowdsecurity/asterisk_bf", "scenarios/crowdsecurity/asterisk_user_enum")  # fmt: skip


class PeersError(Exception):
    """The peers cannot be had or asked; the message says at which step and what the step said last."""


def peers_root():
    """Give the root tree with the peers in it, building it when this recipe has none yet (two minutes)."""
    if os.geteuid() != 0:
        raise PeersError("the peers stand in a root tree of their own, and only root may enter it")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / f"peers-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]}"
    with (cache / "peers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once build it once
        if not root.exists():
            print("making the tree of the peers with debootstrap, about two minutes ...", flush=True)
            _build(root)
    return root


def versions(root):
    """Say which packages of the peers stand in the tree."""
    asked = run("ask for the versions", "chroot", root, "dpkg-query", "-W", "-f", r"${Package} ${Version}\n", *PACKAGES)
    return dict(line.split() for line in asked.splitlines())


def run_inside(root, step, *command, **options):
    """Run one step in the tree, in a network namespace of its own that has nothing but loopback."""
    alone = 'ip link set lo up && exec chroot "$@"'
    return run(step, "unshare", "--net", "sh", "-c", alone, "sh", root, *command, **options)


def run(step, *command, **options):
    """Run one step without a terminal; PeersError carries its last lines."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        env=environment,
        **options,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise PeersError(f"could not {step}:\n{tail}")
    return done.stdout


def _build(root):
    """Build beside the final name and rename at the end, so that a tree that exists is whole."""
    if shutil.which("debootstrap") is None:
        raise PeersError("debootstrap is missing; apt-get install debootstrap")
    half = root.with_name(root.name + ".half")
    shutil.rmtree(half, ignore_errors=True)
    try:
        debs = cache_folder() / "debs"
        debs.mkdir(exist_ok=True)
        run("unpack Debian", "debootstrap", "--variant=minbase", f"--cache-dir={debs}", SUITE, half, debian_mirror())
        policy = half / "usr/sbin/policy-rc.d"  # install, but start nothing
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        proxies = re.findall(r".*Proxy.*\n", run("ask apt for its proxies", "apt-config", "dump", "Acquire"))
        (half / "etc/apt/apt.conf.d/99astguard").write_text(APT_SETTINGS + "".join(proxies))
        shutil.copyfile("/etc/resolv.conf", half / "etc/resolv.conf")
        run("read the package lists", "chroot", half, "apt-get", "update")
        _prepare_crowdsec(half)
        run("install the peers", "chroot", half, "apt-get", "install", "--yes", *PACKAGES)
        _enable_collection(half)
        run("tidy up", "chroot", half, "apt-get", "clean")
        shutil.rmtree(half / "var/lib/apt/lists")
        half.rename(root)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _prepare_crowdsec(half):
    """Give it the machine's name, which it would make from a /proc there is not, and no account at its makers."""
    (half / "etc/machine-id").write_text(hashlib.md5(str(half).encode(), usedforsecurity=False).hexdigest() + "\n")
    (half / "etc/crowdsec").mkdir(parents=True, exist_ok=True)
    (half / "etc/crowdsec/online_api_credentials.yaml").write_text("# a file that is not empty is left alone\n")


def _enable_collection(half):
    """Enable the asterisk collection of the packaged hub, by links as the package does with its own choice.

    `cscli collections install` would ask the network for a newer hub first.
    """
    for item in COLLECTION:
        folder, _, name = item.replace("crowdsecurity/", "").rpartition("/")
        (half / "etc/crowdsec" / folder).mkdir(parents=True, exist_ok=True)
        (half / "etc/crowdsec" / folder / f"{name}.yaml").symlink_to(HUB / f"{item}.yaml")
    with (half / "etc/crowdsec/config.yaml.local").open("a") as local:
        local.write("prometheus: {enabled: false}\n")
