"""Three hosts behind a router, each a network namespace of its own; the network of the machine is not touched."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from tests.netns import Namespace, add_route, link, namespace, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Host:
    """A namespace with one address."""

    def __init__(self, place: Namespace, address: str) -> None:
        self.address = address
        self.entered = place.inside  # sockets opened inside stay there
        self._name = place.name

    def command(self, *words: str | Path) -> list[str | Path]:
        """Give the command that runs `words` on this host; it ends when this test run does, however that ends."""
        return ["ip", "netns", "exec", self._name, "setpriv", "--pdeathsig", "TERM", *words]

    def run(self, *words: str | Path, check: bool, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command on this host to its end."""
        command = self.command(*words)
        return subprocess.run(command, check=check, cwd=cwd, capture_output=True, text=True, timeout=60)


@contextlib.contextmanager
def routed(**addresses: str) -> Iterator[list[Host]]:
    """Make hosts by name and address, each in a /24 of its own behind one router, and remove them whatever happens."""
    sweep()
    with contextlib.ExitStack() as stack:
        router = stack.enter_context(namespace("router"))
        router.sysctl("net/ipv4/ip_forward", 1)
        hosts = []
        for name, address in addresses.items():
            place = stack.enter_context(namespace(name))
            gateway = address.rpartition(".")[0] + ".1"
            link(router, place, [f"{gateway}/24"], [f"{address}/24"], names=(name, "eth0"))
            add_route(place, "default", gateway)
            hosts.append(Host(place, address))
        yield hosts


def end(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """End a process politely, and then less so."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
