"""Fresh network namespaces for the kernel tests; the host's own rules are never touched."""

from __future__ import annotations

import json
import time
from functools import cache

import pytest

from guard.core.address import Source, parse_source
from guard.core.ban import Ban, Change, Op
from guard.core.rule import Scope
from guard.core.units import HOUR, Duration, Instant, parse_duration
from guard.firewall.choice import choose
from tests.netns import link, namespace, reason_not_to_run, sweep

_FAR4 = ("192.0.2.66/24", "198.51.100.7/24", "198.51.100.8/24", "203.0.113.9/32")
_FAR6 = ("2001:db8:1::66/64", "2001:db8:5::7/64", "2001:db8:5::8/64", "2001:db8:6::7/64")
NOW = Instant(1_000_000_000_000)


@cache
def missing() -> str | None:
    """Say why no kernel test can run, or None; tests/conftest.py fails the skip where the group is required."""
    sweep()
    return reason_not_to_run("nft")


@pytest.fixture
def place():
    """Give a namespace of its own to a test, which runs inside it."""
    if missing():
        pytest.skip(missing())
    with namespace("pbx") as made, made.inside():
        yield made


@pytest.fixture
def firewall(place):
    """Give an nftables backend in that namespace."""
    made = choose("nftables")
    yield made
    made.close()


@pytest.fixture
def iptables(place):
    """Give an iptables backend in that namespace."""
    made = choose("iptables")
    yield made
    made.close()


@pytest.fixture
def wire(place):
    """Join the PBX's namespace to an attacker's: 192.0.2.0/24 and 2001:db8:1::/64, and addresses behind them."""
    with namespace("far") as far:
        link(
            place,
            far,
            ["192.0.2.1/24", "2001:db8:1::1/64"],
            [*_FAR4, *_FAR6],
        )
        for network in ("198.51.100.0/24", "203.0.113.9/32", "2001:db8:5::/64", "2001:db8:6::/64"):
            place.run("ip", "route", "add", network, "dev", "eth0")
        yield far


def ban(text: str, for_: str = "1h", scope: Scope = Scope.ALL, now: int = NOW) -> Ban:
    until = Instant(now + (parse_duration(for_) if for_ != "0s" else 0))
    return Ban(source=parse_source(text), rule="test", since=Instant(now), until=until, scope=scope)


def add(text: str, for_: str = "1h", scope: Scope = Scope.ALL, now: int = NOW) -> Change:
    return Change(Op.ADD, ban(text, for_, scope, now))


def remove(text: str, scope: Scope = Scope.ALL) -> Change:
    return Change(Op.REMOVE, ban(text, scope=scope))


def hosts(count: int, start: int = 10 << 24) -> list[Source]:
    return [Source(b"\x04\x20" + (start + number).to_bytes(4, "big")) for number in range(count)]


def adds(sources, lasting: Duration = HOUR) -> list[Change]:
    until = Instant(NOW + lasting)
    return [Change(Op.ADD, Ban(source=source, rule="test", since=NOW, until=until)) for source in sources]


def listed(place, kind: str = "") -> list[dict]:
    """Ask nft, which knows nothing of us, what is there."""
    ruleset = json.loads(place.run("nft", "-j", "list", "ruleset"))["nftables"]
    return [entry[kind] for entry in ruleset if kind in entry] if kind else ruleset


def nft(place, text: str) -> None:
    """Load rules; nft wants a line end where people write a bracket."""
    place.run("nft", "-f", "-", input=text.replace("{ ", "{\n").replace(" }", "\n}\n"))


def settled(look, wanted):
    """Look until the answer is the wanted one: nft's listings miss elements while a hash table is being resized."""
    deadline = time.monotonic() + 5
    while (found := look()) != wanted:
        assert time.monotonic() < deadline, f"{found!r} for 5 s, expected {wanted!r}"
    return found


def elements(place, name: str) -> dict[str, int | None]:
    """Read a set by nft: each address, and the whole seconds it has left."""
    (found,) = [entry for entry in listed(place, "set") if entry["name"] == name]
    pairs = [entry["elem"] if isinstance(entry, dict) else {"val": entry} for entry in found.get("elem", [])]
    return {pair["val"]: pair.get("expires") for pair in pairs}
