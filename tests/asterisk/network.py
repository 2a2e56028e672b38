"""Hosts behind a router, each a network namespace of its own; the network of the machine is not touched."""

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
        self._place = place
        self.entered = place.inside  # sockets opened inside stay there
        self._name = place.name

    def at(self, address: str) -> Host:
        """Give the same host by another address of its own."""
        return Host(self._place, address)

    def speak_from_here(self) -> None:
        """Let programs that do not choose an address have this one."""
        way = "ip route change $(ip route show default) src $1"
        self.run("sh", "-c", way, "sh", self.address, check=True)

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


@contextlib.contextmanager
def crowded(**networks: tuple[str, ...]) -> Iterator[list[Host]]:
    """Make a PBX and hosts that are each everybody in their networks; `at` gives the single addresses.

    The PBX is 203.0.113.10 and 2001:db8:a::10. Nobody on the way checks who sends what.
    """
    with crowded_by_office("", "", **networks) as hosts:
        yield hosts


@contextlib.contextmanager
def crowded_by_office(public: str, inside: str, **networks: tuple[str, ...]) -> Iterator[list[Host]]:
    """Make the same, and last an office: a host that is everybody in its /24, behind a router with one address."""
    sweep()
    with contextlib.ExitStack() as stack:
        router, pbx = stack.enter_context(namespace("router")), stack.enter_context(namespace("pbx"))
        for place in (router, pbx):
            for name in ("all", "default"):
                place.sysctl(f"net/ipv4/conf/{name}/rp_filter", 0)
        router.sysctl("net/ipv4/ip_forward", 1)
        router.sysctl("net/ipv6/conf/all/forwarding", 1)
        near, far = ["203.0.113.1/24", "2001:db8:a::1/64"], ["203.0.113.10/24", "2001:db8:a::10/64"]
        link(router, pbx, near, far, names=("pbx", "eth0"))
        add_route(pbx, "default", "203.0.113.1")
        add_route(pbx, "default", "2001:db8:a::1")
        hosts = [Host(pbx, "203.0.113.10")]
        for number, (name, there) in enumerate(networks.items(), 1):
            place = stack.enter_context(namespace(name))
            here = {4: f"10.9.{number}.", 6: f"fd09:{number}::"}
            near, far = ([f"{here[4]}{end}/24", f"{here[6]}{end}/64"] for end in (1, 2))
            link(router, place, near, far, names=(name, "eth0"))
            for version in (4, 6):
                add_route(place, "default", f"{here[version]}1")
            for network in there:
                version = 6 if ":" in network else 4
                add_route(router, network, f"{here[version]}2", name)
                place.run("ip", f"-{version}", "route", "add", "local", network, "dev", "lo")
            hosts.append(Host(place, there[0].partition("/")[0]))
        if public:
            hosts.append(_office(stack, router, public, inside))
        yield hosts


def _office(stack: contextlib.ExitStack, router: Namespace, public: str, inside: str) -> Host:
    """Join an office to the router by one of its own, which lends everybody its address and a port."""
    gateway, office = stack.enter_context(namespace("gateway")), stack.enter_context(namespace("office"))
    link(router, gateway, ["10.9.0.1/24"], ["10.9.0.2/24"], names=("office", "outside"))
    link(gateway, office, [f"{inside}1/24"], [f"{inside}{last}/24" for last in range(11, 31)], names=("lan", "eth0"))
    gateway.sysctl("net/ipv4/ip_forward", 1)
    add_route(router, f"{public}/32", "10.9.0.2", "office")
    add_route(gateway, "default", "10.9.0.1", "outside")
    add_route(office, "default", f"{inside}1")
    lend = f"add table ip lend; add chain ip lend out {{ type nat hook postrouting priority 100; }}; \
        add rule ip lend out oifname outside snat to {public}"
    gateway.run("nft", lend)
    return Host(office, f"{inside}11")


def end(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """End a process politely, and then less so."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
