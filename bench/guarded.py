"""The real daemon at work in the namespace of a bench, with all on that a bench of it wants on."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from bench.ami import wire
from bench.machine import cpu_of, memory_of
from guard.cli.client import exchange
from guard.wire.control import Call, Request
from tests.netns import namespace

TREE = Path(__file__).parents[1]
PATIENCE = 120


class Guarded:
    """One daemon that runs: what it says, takes and holds."""

    def __init__(self, process, folder):
        self.process = process
        self.pid = process.pid
        self._folder = folder

    @property
    def log(self):
        return (self._folder / "log").read_text()

    def says(self, words, patience=PATIENCE):
        """Wait until its log has these words."""
        end = time.monotonic() + patience
        while words not in self.log:
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"the daemon does not say {words!r}:\n{self.log[-2_000:]}")
            time.sleep(0.005)

    def status(self):
        """Ask it how it is."""
        return exchange(self._folder / "control", Request(Call.STATUS))

    def counts(self, name, until=0, patience=PATIENCE):
        """Wait until it has counted so many, and return how many there are then."""
        end = time.monotonic() + patience
        while (count := self.status()["counts"].get(name, 0)) < until:
            if time.monotonic() > end:
                sys.exit(f"{name} stands at {count}, not {until}:\n{self.log[-2_000:]}")
            time.sleep(0.02)
        return count

    def cpu(self):
        return cpu_of(self.pid)

    def memory(self, field="VmRSS"):
        return memory_of(self.pid, field)


def configure(
    folder, port, secret, *, firewall="backend: nftables", logs="messages: no, security: no", more="", rules=None
):
    """Write astguard.yaml: stock rules, meters, store."""
    config = folder / "astguard.yaml"
    config.write_text(
        f"ami: {{port: {port}, secret: {secret}}}\nfirewall: {{{firewall}}}\nrules: [{rules or TREE / 'rules'}]\n"
        f"control: {folder / 'control'}\nstate: {folder / 'state.db'}\nlogs: {{{logs}}}\n{more}"
    )
    return config


@contextmanager
def guarded(folder, port, secret, *, until="link to Asterisk", **options):
    """Run it in the namespace of the calling thread, its meters going to a socket nobody reads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink, (folder / "log").open("w") as log:
        sink.bind(("127.0.0.1", 0))
        meters = f"statsd: {{host: 127.0.0.1, port: {sink.getsockname()[1]}}}\n"
        config = configure(folder, port, secret, **{**options, "more": options.get("more", "") + meters})
        command = [sys.executable, "-m", "guard", "run", "--config", config]
        process = subprocess.Popen(command, cwd=TREE, stdout=subprocess.DEVNULL, stderr=log)
        running = Guarded(process, folder)
        try:
            if until:
                running.says(until)
            yield running
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()


@contextmanager
def working():
    """Run it in a namespace of its own, logged in at an Asterisk; give that and the daemon."""
    with (
        namespace("bench") as place,
        place.inside(),
        tempfile.TemporaryDirectory(prefix="astguard-") as folder,
        wire() as ami,
        guarded(Path(folder), ami.port, ami.secret) as guard,
    ):
        ami.logged_in()
        yield ami, guard


class Monitor:
    """What the kernel tells of nf_tables in this namespace: when an element came."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 12)  # NETLINK_NETFILTER
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
        self._socket.bind((0, 0))
        self._socket.setsockopt(270, 1, 7)  # SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES

    def told_of(self, address):
        """Read what is there; tell whether an element with this address is in it."""
        key, found = socket.inet_aton(address), False
        while True:
            try:
                found = key in self._socket.recv(1 << 16) or found
            except BlockingIOError:
                return found
            except OSError:  # ENOBUFS: it overflowed, and goes on
                continue

    def wait(self, address, patience=PATIENCE):
        """Wait until it has told of this address."""
        end = time.monotonic() + patience
        while not self.told_of(address):
            if time.monotonic() > end:
                sys.exit(f"no ban of {address} within {patience} s")
            time.sleep(0.0005)

    def close(self):
        self._socket.close()
