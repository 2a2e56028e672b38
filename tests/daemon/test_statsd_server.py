"""The StatsD sender, against plain sockets and against the real statsd on node: a server costs nothing but counts.

The real server is `statsd` 0.9.0 (tests/package.json): its stats.js is $ASTGUARD_STATSD, or stands under the cache
directory where script/test installs it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from guard.api import statsd
from guard.api.statsd import DATAGRAMS_PER_FLUSH, StatsdSender
from guard.core.address import host, parse_host
from guard.core.event import Service, Transport
from guard.core.units import Instant
from guard.wire.statsd import ADDRESSES_PER_DAY, Meters

PATIENCE = 20
T0 = Instant(0)
FAILED = {
    (Service.PJSIP, Transport.UDP, parse_host("198.51.100.7")): 17,
    (Service.PJSIP, Transport.WSS, parse_host("2001:db8::7")): 2,
    (Service.AMI, Transport.TCP, parse_host("192.0.2.9")): 1,
}


def receiver(address="127.0.0.1", family=socket.AF_INET, port=0):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    sock.bind((address, port))
    return sock


def port_of(sock):
    return sock.getsockname()[1]


def answers(monkeypatch, *results):
    """Let the running loop's resolver give these, one after the other, then the last for ever."""
    left = list(results)

    async def getaddrinfo(host, port, **_):
        result = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(result, Exception):
            raise result
        if isinstance(result, asyncio.Event):
            await result.wait()
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, at or port))
            for address, at in result
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


def counts(sender):
    return {
        name: number
        for name in ("sent", "failed", "dropped", "refused", "unresolved")
        if (number := getattr(sender, name))
    }


# --- against plain sockets


def test_datagrams_arrive_one_by_one_and_in_order():
    async def run():
        with receiver() as server:
            sender = StatsdSender("127.0.0.1", port_of(server))
            await sender.start()
            sender.send([b"a:1|c\nb:2|c", b"c:3|g"])
            assert [server.recv(2000), server.recv(2000)] == [b"a:1|c\nb:2|c", b"c:3|g"]
            assert counts(sender) == {"sent": 2}
            await sender.close()

    asyncio.run(run())


def test_before_the_start_and_after_the_end_sending_only_counts():
    async def run():
        with receiver() as server:
            sender = StatsdSender("127.0.0.1", port_of(server))
            sender.send([b"a:1|c"])
            assert counts(sender) == {"failed": 1}
            await sender.start()
            await sender.close()
            sender.send([b"a:1|c"])
            await sender.close()
            assert counts(sender) == {"failed": 2}

    asyncio.run(run())


def test_one_flush_is_bounded():
    async def run():
        with receiver() as server:
            sender = StatsdSender("127.0.0.1", port_of(server))
            await sender.start()
            sender.send([b"a:1|c"] * (DATAGRAMS_PER_FLUSH + 5))
            assert sender.dropped == 5
            assert sender.sent + sender.failed == DATAGRAMS_PER_FLUSH
            await sender.close()

    asyncio.run(run())


def test_what_the_kernel_refuses_is_counted_and_the_next_is_sent():
    async def run():
        with receiver() as server:
            sender = StatsdSender("127.0.0.1", port_of(server))
            await sender.start()
            sender.send([b"x" * 70_000, b"a:1|c"])
            assert server.recv(2000) == b"a:1|c"
            assert counts(sender) == {"sent": 1, "failed": 1}
            await sender.close()

    asyncio.run(run())


def test_a_server_that_is_away_costs_counts_and_is_served_again_when_it_is_back():
    async def run():
        with receiver() as server:
            port = port_of(server)
        sender = StatsdSender("127.0.0.1", port)
        await sender.start()
        for _ in range(3):
            sender.send([b"lost:1|c"])
        assert counts(sender) == {"sent": 3, "refused": sender.refused}
        with receiver(port=port) as server:
            sender.send([b"a:1|c"])
            assert server.recv(2000) == b"a:1|c"
        assert counts(sender) == {"sent": 4, "refused": sender.refused}
        assert 1 <= sender.refused <= 3
        await sender.close()

    asyncio.run(run())


def test_a_name_that_does_not_resolve_costs_counts_and_is_looked_up_again(monkeypatch):
    async def run():
        monkeypatch.setattr(statsd, "RETRY", 0)
        with receiver() as server:
            answers(monkeypatch, socket.gaierror(-2, "Name or service not known"), [("127.0.0.1", 0)])
            sender = StatsdSender("statsd.example", port_of(server))
            await sender.start()
            assert counts(sender) == {"unresolved": 1}
            sender.send([b"lost:1|c"])
            assert counts(sender) == {"unresolved": 1, "failed": 1}
            await sender._lookup
            sender.send([b"a:1|c"])
            assert server.recv(2000) == b"a:1|c"
            await sender.close()

    asyncio.run(run())


@pytest.mark.parametrize("name", ["statsd.invalid", "a..b", "x" * 300, "nul\0byte", ""])
def test_no_name_at_all_raises(name, monkeypatch):
    async def run():
        monkeypatch.setattr(statsd, "START_WAIT", PATIENCE)
        sender = StatsdSender(name, 8125)
        await sender.start()
        sender.send([b"a:1|c"])
        assert counts(sender) == {"failed": 1, "unresolved": 1}
        await sender.close()

    asyncio.run(run())


def test_while_errors_last_names_are_looked_up_no_more_often_than_every_few_seconds(monkeypatch):
    async def run():
        answers(monkeypatch, socket.gaierror(-2, "Name or service not known"))
        sender = StatsdSender("statsd.example", 8125)
        await sender.start()
        for _ in range(50):
            sender.send([b"lost:1|c"])
        assert counts(sender) == {"unresolved": 1, "failed": 50}
        assert sender._lookup.done()
        await sender.close()

    asyncio.run(run())


def test_a_resolver_that_hangs_delays_neither_start_nor_send_nor_close(monkeypatch):
    async def run():
        monkeypatch.setattr(statsd, "START_WAIT", 0)
        monkeypatch.setattr(statsd, "RETRY", 0)
        answers(monkeypatch, asyncio.Event())
        sender = StatsdSender("statsd.example", 8125)
        await sender.start()
        first = sender._lookup
        sender.send([b"lost:1|c"])
        assert counts(sender) == {"failed": 1}
        assert sender._lookup is first, "one look-up at a time"
        await sender.close()
        assert first.cancelled()

    asyncio.run(run())


def test_a_server_that_moved_is_followed(monkeypatch):
    async def run():
        monkeypatch.setattr(statsd, "REFRESH", 0)
        with receiver() as old, receiver("127.0.0.2") as new:
            answers(monkeypatch, [("127.0.0.1", port_of(old))], [("127.0.0.2", port_of(new))])
            sender = StatsdSender("statsd.example", 8125)
            await sender.start()
            sender.send([b"first:1|c"])
            assert old.recv(2000) == b"first:1|c"
            await sender._lookup
            sender.send([b"second:1|c"])
            assert new.recv(2000) == b"second:1|c"
            assert counts(sender) == {"sent": 2}
            await sender.close()

    asyncio.run(run())


def test_a_resolver_that_fails_later_takes_nothing_away(monkeypatch):
    async def run():
        monkeypatch.setattr(statsd, "REFRESH", 0)
        with receiver() as server:
            answers(monkeypatch, [("127.0.0.1", port_of(server))], socket.gaierror(-3, "Temporary failure"))
            sender = StatsdSender("statsd.example", 8125)
            await sender.start()
            for _ in range(3):
                sender.send([b"a:1|c"])
                await sender._lookup
            assert [server.recv(2000) for _ in range(3)] == [b"a:1|c"] * 3
            assert counts(sender) == {"sent": 3, "unresolved": 3}
            await sender.close()

    asyncio.run(run())


def test_of_two_addresses_the_one_that_refuses_is_left_and_the_other_is_stayed_with(monkeypatch):
    async def run():
        monkeypatch.setattr(statsd, "RETRY", 0)
        monkeypatch.setattr(statsd, "REFRESH", 0)
        with receiver() as server:
            port = port_of(server)
            answers(monkeypatch, [("127.0.0.2", port), ("127.0.0.1", port)])
            sender = StatsdSender("localhost", port)
            await sender.start()
            for _ in range(6):
                sender.send([b"a:1|c"])
                await sender._lookup
            assert counts(sender) == {"sent": 6, "refused": sender.refused}
            assert 1 <= sender.refused <= 3, "one, unless the machine is busy"
            assert [server.recv(2000) for _ in range(6 - sender.refused)] == [b"a:1|c"] * (6 - sender.refused)
            await sender.close()

    asyncio.run(run())


def test_an_address_without_a_route_is_passed_over(monkeypatch):
    async def run():
        with receiver() as server:
            # A datagram socket may not connect to broadcast: refused at once, as an address without a route is.
            answers(monkeypatch, [("255.255.255.255", 0), ("127.0.0.1", 0)], [("255.255.255.255", 0)])
            sender = StatsdSender("statsd.example", port_of(server))
            await sender.start()
            sender.send([b"a:1|c"])
            assert server.recv(2000) == b"a:1|c"
            assert counts(sender) == {"sent": 1}
            monkeypatch.setattr(statsd, "REFRESH", 0)
            sender.send([])
            await sender._lookup
            assert counts(sender) == {"sent": 1, "unresolved": 1}
            await sender.close()

    asyncio.run(run())


# --- against the real server


def stats_js():
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    default = cache / "astguard" / "node" / "node_modules" / "statsd" / "stats.js"
    return Path(os.environ.get("ASTGUARD_STATSD") or default)


class Server:
    """One real statsd on loopback, whose counters are read over its management port."""

    def __init__(self, folder, address="127.0.0.1"):
        self._node = shutil.which("node") or shutil.which("nodejs")
        if self._node is None or not stats_js().is_file():
            pytest.skip(f"the real StatsD server is missing: no node, or no {stats_js()} (npm install statsd@0.9.0)")
        self._folder = folder
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address = address
        with receiver(address, self.family) as udp, socket.create_server(("127.0.0.1", 0)) as tcp:
            self.port, self._management = port_of(udp), port_of(tcp)
        self._config = folder / "statsd.js"
        self._config.write_text(
            f'{{ port: {self.port}, address: "{address}", address_ipv6: {str(":" in address).lower()},'
            f' mgmt_port: {self._management}, mgmt_address: "127.0.0.1", backends: [], flushInterval: 3600000 }}'
        )
        self._process = None
        self.start()

    def start(self):
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._node, stats_js(), self._config],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE
        with socket.socket(self.family, socket.SOCK_DGRAM) as probe:
            while time.monotonic() < deadline:
                probe.sendto(b"probe:1|c", (self.address, self.port))
                try:
                    if "probe" in self._ask("counters"):
                        self._ask("delcounters probe")
                        return
                except ConnectionRefusedError:
                    pass
                try:
                    self._process.wait(0.02)
                except subprocess.TimeoutExpired:
                    continue
                break
        pytest.fail(f"statsd did not start: {(self._folder / 'log').read_text()}")

    def stop(self):
        self._process.kill()
        self._process.wait()

    def _ask(self, command):
        with socket.create_connection(("127.0.0.1", self._management), timeout=PATIENCE) as link:
            link.sendall(f"{command}\n".encode())
            text = b""
            while not text.endswith(b"END\n\n"):
                part = link.recv(65536)
                assert part, text
                text += part
        return {name: int(value) for name, value in re.findall(r"'?([^\s',{}]+?)'?: (-?\d+)", text.decode())}

    def read(self, kind, expected):
        """Read `counters` or `gauges` without the server's own, until there are as many as expected or time is up."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self._ask(kind)
            assert found.pop("statsd.bad_lines_seen", 0) == 0
            found = {name: value for name, value in found.items() if name.partition(".")[0] not in ("statsd", "probe")}
            if len(found) >= len(expected) or time.monotonic() > deadline:
                return found

    def received(self, number):
        """Await that the server has read so many datagrams."""
        deadline = time.monotonic() + PATIENCE
        while (found := self._ask("counters")["statsd.packets_received"]) < number:
            assert time.monotonic() < deadline, found
        return found


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.stop()


def flush(host, port, *flushes):
    """Send the datagrams of each flush to a server, and return the sender's counts."""

    async def run():
        sender = StatsdSender(host, port)
        await sender.start()
        for datagrams in flushes:
            sender.send(datagrams)
        await sender.close()
        return counts(sender)

    return asyncio.run(run())


def test_the_real_server_counts_meters_and_counters_and_gauges_by_their_names(server):
    meters = Meters("pbx")
    flushes = [
        meters.collect(FAILED, {"events": 20, "outcome.banned": 1}, {"bans.active": 3, "lag_ms": 9}, T0),
        meters.collect(FAILED, {"events": 25, "outcome.banned": 1}, {"bans.active": 0, "lag_ms": 4}, T0),
    ]
    assert flush("127.0.0.1", server.port, *flushes) == {"sent": 2}
    server.received(3)
    expected = {  # the server makes `-` of `/` and counts the type `m` as a counter
        "pbx.security.failed_auth.PJSIP.count": 38,
        "pbx.security.failed_auth.PJSIP.IPV4-UDP-198_51_100_7": 34,
        "pbx.security.failed_auth.PJSIP.IPV6-WSS-2001_db8__7": 4,
        "pbx.security.failed_auth.AMI.count": 2,
        "pbx.security.failed_auth.AMI.IPV4-TCP-192_0_2_9": 2,
        "pbx.astguard.events": 25,
        "pbx.astguard.outcome.banned": 1,
    }
    assert server.read("counters", expected) == expected
    gauges = {"pbx.astguard.bans.active": 0, "pbx.astguard.lag_ms": 4}
    assert server.read("gauges", gauges) == gauges


def test_without_meter_support_the_real_server_gets_counters_named_meter(server):
    assert flush("127.0.0.1", server.port, Meters("", meter_support=False).collect(FAILED, {}, {}, T0))["sent"] == 1
    expected = {
        "security.failed_auth.PJSIP.count_meter": 19,
        "security.failed_auth.PJSIP.IPV4-UDP-198_51_100_7_meter": 17,
        "security.failed_auth.PJSIP.IPV6-WSS-2001_db8__7_meter": 2,
        "security.failed_auth.AMI.count_meter": 1,
        "security.failed_auth.AMI.IPV4-TCP-192_0_2_9_meter": 1,
    }
    assert server.read("counters", expected) == expected


def test_the_real_server_reads_every_line_of_a_flood(server):
    failed = {(Service.PJSIP, Transport.UDP, host((0x0A000000 + n).to_bytes(4, "big"))): 2 for n in range(1_500)}
    datagrams = Meters("p" * 40).collect(failed, {}, {}, T0)
    assert len(datagrams) > 60
    seen = server.received(1)
    for first in range(0, len(datagrams), 20):  # the server's socket buffer holds some ninety
        part = datagrams[first : first + 20]
        assert flush("127.0.0.1", server.port, part) == {"sent": len(part)}
        seen += len(part)
        server.received(seen)
    found = server.read("counters", range(ADDRESSES_PER_DAY + 2))
    base = "p" * 40 + ".security.failed_auth.PJSIP."
    assert found.pop(base + "count") == 3_000
    assert found.pop(base + "other") == 1_000
    assert len(found) == ADDRESSES_PER_DAY
    assert set(found.values()) == {2}


def test_a_real_server_on_ipv6_is_served(tmp_path):
    try:
        receiver("::1", socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6 on loopback here")
    server = Server(tmp_path, "::1")
    try:
        assert flush("::1", server.port, Meters().collect({}, {"events": 7}, {}, T0)) == {"sent": 1}
        assert server.read("counters", ["astguard.events"]) == {"astguard.events": 7}
    finally:
        server.stop()


def test_a_restart_of_the_real_server_costs_only_counts(server):
    async def run():
        meters = Meters()
        sender = StatsdSender("127.0.0.1", server.port)
        await sender.start()
        sender.send(meters.collect({}, {"events": 1}, {}, T0))
        assert server.read("counters", ["astguard.events"]) == {"astguard.events": 1}
        server.stop()
        for total in (2, 3, 4):
            sender.send(meters.collect({}, {"events": total}, {}, T0))
        assert counts(sender) == {"sent": 4, "refused": sender.refused}
        server.start()
        sender.send(meters.collect({}, {"events": 9}, {}, T0))
        assert server.read("counters", ["astguard.events"]) == {"astguard.events": 5}
        assert counts(sender) == {"sent": 5, "refused": sender.refused}
        assert 1 <= sender.refused <= 3
        await sender.close()

    asyncio.run(run())
