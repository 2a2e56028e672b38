"""One round: a fresh Asterisk, one guard, and the attacks one after the other."""

from __future__ import annotations

import tempfile
import time
from itertools import count
from pathlib import Path

from bench.race import wire
from bench.race.figures import figures
from bench.race.load import family, load
from bench.race.offences import events, noticed
from bench.race.pbx import ATTACKERS, attacked


def one_round(guard_class, root, attacks):
    """Run the attacks against a guard; give (attack, figures) of each, in order."""
    with tempfile.TemporaryDirectory(prefix="astguard-race-") as folder, attacked(Path(folder)) as pbx:
        wire.watch(pbx.host, ATTACKERS, folder)
        guard = guard_class(pbx, root)
        try:
            guard.start()
            for number, attack in zip(count(1), attacks):
                yield attack, one_attack(pbx, guard, attack, number)
        finally:
            guard.stop()


def one_attack(pbx, guard, attack, number):
    """Run one attack from an address of its own, and measure it."""
    attacker = pbx.attacker(number)
    folder = pbx.folder / f"attack-{number}"
    folder.mkdir()
    marks = [file.stat().st_size for file in (pbx.messages, pbx.security)]
    with wire.listening(pbx.host, folder, wire.SNAPLEN if attack.guesses else wire.SHORT) as packets:
        before, started = _loads(pbx, guard), time.monotonic()
        process = attack.start(attacker, pbx.host, pbx.account(number))
        attack.until_over(process, packets)
        over = time.time()
        after, seconds = _loads(pbx, guard), time.monotonic() - started
    messages, security = (
        _read_from(file, mark) for file, mark in zip((pbx.messages, pbx.security), marks, strict=True)
    )
    source = attacker.address
    deciding = guard.deciding(noticed(messages.splitlines(), source), events(security.splitlines(), source))
    found = figures(list(wire.read(packets)), source, deciding, over, guesses=attack.guesses)
    packets.unlink()
    asterisk, guarding = (
        {"cpu_seconds": b.seconds - a.seconds, "grown_mb": b.megabytes - a.megabytes}
        for a, b in zip(before, after, strict=True)
    )
    return found | {
        "lasted": seconds,
        "asterisk": asterisk,
        "guard": guarding,
        "guard_mb": after[1].megabytes,
        "messages_bytes": len(messages),
        "security_bytes": len(security),
    }


def _loads(pbx, guard):
    return load([pbx.pid]), load([each for pid in guard.pids() for each in family(pid)])


def _read_from(file, mark):
    with file.open("rb") as log:
        log.seek(mark)
        return log.read().decode("utf-8", "replace")
