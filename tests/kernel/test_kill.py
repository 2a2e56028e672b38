"""The daemon is killed, its table flushed, the disk full, all at random moments: no reported ban is ever lost (law 8).

A stream of bans goes on over many lives of one daemon. What a life has reported has to be in the kernel as soon as the
next one is up, also if the kernel was emptied in between, as by a reboot.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from guard.core.address import parse_source
from guard.firewall.nftables import Nftables
from tests.conftest import FULL
from tests.daemon.linking import SECRET
from tests.daemon.test_service import Guard, start
from tests.scripted_asterisk import ScriptedAsterisk

KILLS = 200 if FULL else 10
BANS = 2_000
LIFE = 0.4  # seconds of a life under attack, at the most
FIRST = int(ip_address("198.18.0.1"))
RULE = """
service: PJSIP
events: [ChallengeResponseFailed]
threshold: 1
window: 1m
ban: [1d]
"""
EVENT = """Event: ChallengeResponseFailed\r
Privilege: security,all\r
EventTV: {tv}\r
Severity: Error\r
Service: PJSIP\r
EventVersion: 1\r
AccountID: 101\r
SessionID: call-{address}\r
LocalAddress: IPV4/TCP/203.0.113.10/5060\r
RemoteAddress: IPV4/TCP/{address}/5060\r
Challenge: 1795354577/ddc01744d5c6ba97ce924b484f8e6687\r
Response: a13697eb64d549a3367c5c300021bccb\r
ExpectedResponse: \r
\r
"""


class World:
    """Attackers without end, the daemon's lives, and what these have said."""

    def __init__(self, place, folder, disk=None):
        self.place = place
        self.folder = folder
        self.disk = disk
        self.dice = random.Random()
        self.sent = 0
        self.reported = set()
        self.unstored = set()
        rules = folder / "rules"
        rules.mkdir()
        (rules / "guessing.yaml").write_text(RULE)

    def configure(self, port):
        config = self.folder / "astguard.yaml"
        config.write_text(
            f"ami: {{port: {port}, secret: {SECRET}}}\nfirewall: {{backend: nftables}}\n"
            f"rules: [{self.folder / 'rules'}]\ncontrol: {self.folder / 'control.sock'}\n"
            f"state: {(self.disk or self.folder) / 'state.db'}\nlogs: {{messages: no, security: no}}\n"
        )
        return config

    async def attack(self, pbx):
        """Send one attacker after the other, in bunches."""
        while self.sent < BANS * 10:
            bunch = []
            now = datetime.now(UTC)
            for _ in range(self.dice.choice([1, 1, 5, 20])):
                address = ip_address(FIRST + self.sent)
                self.sent += 1
                tv = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}+0000"
                bunch.append(EVENT.format(tv=tv, address=address))
            with suppress(OSError):
                await pbx.send("".join(bunch).encode())
            await asyncio.sleep(0.004)

    def learn(self, log):
        """Read what a life has reported."""
        for line in log:
            words = line.split()
            if "ban" in words and "for" in words and "would" not in words:
                source = parse_source(words[words.index("ban") + 1])
                (self.unstored if "stored=no" in words else self.reported).add(source)

    def held(self):
        firewall = Nftables()
        try:
            return {source for source, _ in firewall.held()}
        finally:
            firewall.close()

    def flush(self):
        """Do what a reboot does, or `nft -f` with another ruleset."""
        self.place.run("nft", "flush", "ruleset")

    async def healed(self, guard):
        """Wait until all that was reported is in the kernel again, without a restart."""
        self.learn(guard.log)
        async with asyncio.timeout(20):
            while missing := self.reported - self.held():  # noqa: ASYNC110 - the kernel tells nobody here
                await asyncio.sleep(0.05)
        assert not missing

    async def live(self, pbx, config, *, trouble=None, heals=False):
        """Start the daemon, check what it owes, attack it, and kill it."""
        guard = Guard(await start("run", "--config", config), config)
        try:
            await guard.says("astguard is up")
            missing = self.reported - self.held()
            assert not missing, f"{len(missing)} of {len(self.reported)} reported bans are gone:\n" + "\n".join(
                guard.log[-20:]
            )
            await guard.says("link to Asterisk")
            attack = asyncio.create_task(self.attack(pbx))
            if trouble:
                await asyncio.sleep(self.dice.uniform(0, LIFE / 2))
                trouble()
            await asyncio.sleep(self.dice.uniform(0, LIFE))
            attack.cancel()
            if heals:
                await self.healed(guard)
        finally:
            await guard.stop(signal.SIGKILL)
        self.learn(guard.log)
        assert not any("Traceback" in line for line in guard.log), "\n".join(guard.log)


@asynccontextmanager
async def attacked(world):
    async with ScriptedAsterisk(secret=SECRET) as pbx:
        yield pbx, world.configure(pbx.port)


@pytest.fixture
def world(place, tmp_path):
    return World(place, tmp_path)


def test_no_reported_ban_is_lost_by_kill_9_or_a_reboot(world):
    async def story():
        async with attacked(world) as (pbx, config):
            lives = 0
            while lives < KILLS or len(world.reported) < BANS:
                await world.live(pbx, config)
                lives += 1
                if world.dice.random() < 0.5:
                    world.flush()
            await world.live(pbx, config)
            return lives

    lives = asyncio.run(story())
    print(f"{lives} kills under {world.sent} attackers: {len(world.reported)} bans reported, none missing")
    assert len(world.reported) >= BANS
    assert not world.unstored


def test_no_reported_ban_is_lost_by_a_flush_at_any_moment(world):
    async def story():
        async with attacked(world) as (pbx, config):
            for _ in range(max(KILLS // 5, 3)):
                await world.live(pbx, config, trouble=world.flush, heals=world.dice.random() < 0.5)
            await world.live(pbx, config, trouble=world.flush, heals=True)

    asyncio.run(story())
    assert len(world.reported) > 20


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:  # lazily: a daemon that was killed may still hold a file for a moment
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_what_a_full_disk_did_not_keep_was_reported_so(place, tmp_path, small_disk):
    """What was stored outlives a reboot; what was not outlives a kill, because the kernel has it."""
    world = World(place, tmp_path, small_disk)
    filler = small_disk / "filler"

    def fill():
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(os.urandom(4096)):
                pass

    kept_by_the_kernel = 0

    async def story():
        nonlocal kept_by_the_kernel
        async with attacked(world) as (pbx, config):
            for number in range(max(KILLS // 5, 4)):
                await world.live(pbx, config, trouble=fill)
                assert world.unstored <= world.held()
                kept_by_the_kernel += len(world.unstored)
                filler.unlink()
                if number % 2:
                    world.flush()
                    world.unstored.clear()  # not promised
            await world.live(pbx, config)

    asyncio.run(story())
    assert world.reported
    assert kept_by_the_kernel > 0
