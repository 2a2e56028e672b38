"""Hosts that exist for one test run: a network namespace each, joined by a router, gone at the end.

Nothing here touches the network of the machine itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLONE_NEWNET = 0x40000000
NAMES = Path("/run/netns")

_libc = ctypes.CDLL(None, use_errno=True)


class Host:
    """A network namespace by its name, with one address."""

    def __init__(self, name: str, address: str) -> None:
        self.name = f"astguard-{os.getpid()}-{name}"
        self.address = address

    def command(self, *words: str | Path) -> list[str | Path]:
        """Give the command that runs `words` on this host; it ends when this test run does, however that ends."""
        return ["ip", "netns", "exec", self.name, "setpriv", "--pdeathsig", "TERM", *words]

    def run(self, *words: str | Path, check: bool, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command on this host to its end."""
        command = self.command(*words)
        return subprocess.run(command, check=check, cwd=cwd, capture_output=True, text=True, timeout=60)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread open sockets on this host; they stay there, the thread comes back."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(NAMES / self.name, os.O_RDONLY)
        try:
            _set_namespace(there)
            yield
        finally:
            _set_namespace(home)
            os.close(there)
            os.close(home)


@contextlib.contextmanager
def routed(hosts: Sequence[Host]) -> Iterator[None]:
    """Make the hosts, each in a /24 of its own behind one router, and remove them whatever happens."""
    _remove_leftovers()
    router = Host("net", "")
    with contextlib.ExitStack() as cleanup:
        for host in (router, *hosts):
            _ip("netns", "add", host.name)
            cleanup.callback(_ip, "netns", "delete", host.name)
            _ip("-n", host.name, "link", "set", "lo", "up")
        with router.entered():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")  # of the namespace that writes
        for number, host in enumerate(hosts):
            gateway = host.address.rpartition(".")[0] + ".1"
            port = f"host{number}"
            _ip("-n", router.name, "link", "add", port, "type", "veth", "peer", "eth0", "netns", host.name)
            for name, address, device in ((router.name, gateway, port), (host.name, host.address, "eth0")):
                _ip("-n", name, "address", "add", f"{address}/24", "dev", device)
                _ip("-n", name, "link", "set", device, "up")
            _ip("-n", host.name, "route", "add", "default", "via", gateway)
        yield


def end(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """End a process politely, and then less so."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _remove_leftovers() -> None:
    """Remove what a test run left behind that was killed before it could tidy up."""
    for left in NAMES.glob("astguard-*-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            _ip("netns", "delete", left.name)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
