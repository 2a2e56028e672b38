"""What can happen: each step with its weight, what it does to the world, and whether it needs a running daemon."""

from __future__ import annotations

from guard.core.address import parse_host, parse_source
from guard.core.rule import Scope
from guard.core.units import DAY, HOUR, MILLISECOND, SECOND, Duration
from tests.sim.rules import changed
from tests.sim.traffic import ALLOWED, ATTACKERS, FRESH_GUESSES, PHONES, SPECIAL

YEAR = 365 * DAY
HOURLY = [
    MILLISECOND,
    20 * MILLISECOND,
    200 * MILLISECOND,
    SECOND,
    SECOND,
    3 * SECOND,
    3 * SECOND,
    7 * SECOND,
    25 * SECOND,
]
"""How long a step lasts."""
NETWORKS = ["198.51.100.0/24", "198.51.100.0/30", "198.51.100.3", "2001:db8:0:1::/64", "203.0.113.2", "198.51.100.4/31"]


def say(world, *texts, genuine=True):
    """Raise events, with their twins in the security log."""
    for text in texts:
        world.asterisk.say(text, genuine=genuine)


def guess(world):
    source = world.chance.choice([*ATTACKERS, *PHONES, *ALLOWED])
    transport = world.chance.choice(("UDP", "UDP", "TCP"))
    say(world, *world.traffic.guesses(source, world.chance.choice((1, 2, 4, 8)), transport))


def fresh_guesser(world):
    source = world.traffic.fresh()
    world.fresh.add(parse_host(source))
    say(world, *world.traffic.guesses(source, FRESH_GUESSES))


def scan(world):
    transport = world.chance.choice(("UDP", "TCP"))
    say(world, *world.traffic.scan(world.chance.choice(ATTACKERS), world.chance.choice((2, 5, 14)), transport))


def phone(world):
    say(world, *world.traffic.phone(world.chance.choice(PHONES), world.chance.choice((0, 0, 1, 3))))


def flood(world):
    """Many sources at once."""
    for _ in range(60):
        say(world, *world.traffic.guesses(world.traffic.fresh(), 3, "UDP"))


def others(world):
    say(world, *(world.traffic.other(world.chance.choice([*ATTACKERS, *SPECIAL])) for _ in range(4)))


def torn(world):
    say(world, *world.traffic.torn(), genuine=False)
    say(world, *world.traffic.guesses(world.chance.choice(ATTACKERS), 2))


def garbage(world):
    say(world, world.traffic.garbage(), genuine=False)


def log_lines(world):
    source = world.chance.choice(ATTACKERS)
    for _ in range(world.chance.choice((1, 3, 6))):
        world.asterisk.log(world.traffic.notice(source))


def log_beside(world):
    """What AMI and the log tell both."""
    source = world.chance.choice(ATTACKERS[:8])
    for _ in range(4):
        session = world.traffic.unique()
        say(world, world.traffic.block("ChallengeResponseFailed", source, SessionID=session))
        world.asterisk.log(world.traffic.pjsip_notice(source, session))


def log_torn(world):
    world.asterisk.log(world.traffic.torn_notice())
    world.asterisk.log(world.traffic.garbage()[:5_000])


def log_rotates(world):
    world.asterisk.rotate()


def cut(world):
    if world.asterisk.wire is not None:
        world.asterisk.wire.cut()


def asterisk_down(world):
    world.asterisk.down_until = world.clock.mono + world.chance.choice((1, 5, 20)) * SECOND
    cut(world)


def hang(world):
    world.asterisk.hanging_until = world.clock.mono + world.chance.choice((2, 8, 30)) * SECOND


def refuse_login(world):
    world.asterisk.refusing_until = world.clock.mono + world.chance.choice((3, 20)) * SECOND
    cut(world)


def mute(world):
    world.asterisk.mute_until = world.clock.mono + 15 * SECOND
    cut(world)


def strange_server(world):
    world.asterisk.greeting = world.chance.choice(
        (b"SSH-2.0-OpenSSH\r\n", b"x" * 300, b"", b"Asterisk Call Manager/9.9\r\n")
    )
    cut(world)


def true_server(world):
    world.asterisk.greeting = b"Asterisk Call Manager/11.0.0\r\n"


def clock_jump(world):
    world.clock.set(world.chance.choice((-YEAR, -HOUR, -30 * SECOND, -SECOND, SECOND, 40 * SECOND, 2 * HOUR, YEAR)))


def clock_back(world):
    """Let the wall clock be right again."""
    world.clock.set(-world.clock.jumped if world.clock.jumped else 5 * SECOND)
    world.clock.jumped = 0


def suspend(world):
    """The machine sleeps: monotonic time stands still."""
    world.clock.wall += world.chance.choice((60 * SECOND, 9 * HOUR))


def freeze(world):
    """The process is stopped and goes on later: all its timers are late."""
    world.clock.go(world.chance.choice((2 * SECOND, 30 * SECOND, HOUR)))


def kernel_refuses(world):
    world.kernel.refuse = world.chance.choice((1, 2, 3, 8))


def kernel_refuses_long(world):
    world.kernel.refuse_until = world.clock.mono + world.chance.choice((1, 10)) * SECOND


def kernel_slow(world):
    world.kernel.slow = world.chance.choice((0, 0, 5 * MILLISECOND, 200 * MILLISECOND))


def flush(world):
    world.kernel.flush(world.loop)


def damage(world):
    world.kernel.damage(world.loop)


def vanish(world):
    world.kernel.vanish(world.chance.choice((1, 3)), world.loop)


def put_in(world):
    source = parse_source(world.chance.choice(["198.18.77.7", "198.51.100.2", "192.0.2.3"]))
    world.kernel.put_in(source, world.chance.choice(list(Scope)), world.chance.choice((10, 90)) * SECOND, world.loop)


def overflow(world):
    world.kernel.overflow(world.loop)


def disk_fails(world):
    world.disk.fails = world.chance.choice((1, 2, 5))


def disk_slow(world):
    world.disk.slow = world.chance.choice((0.0, 0.0, 0.5, 12.0))


def file_taken_away(world):
    for part in ("", "-wal", "-shm"):
        (world.folder / f"state.db{part}").unlink(missing_ok=True)
    world.laws.lapsed = True


def crash(world):
    world.life.die()
    world.life = None


def crash_soon(world):
    world.life.loop.turns_left = world.chance.randrange(60)


def crash_in_kernel(world):
    world.kernel.crash_in, world.kernel.crash_after = world.chance.randrange(3), world.chance.random() < 0.5


def crash_in_disk(world):
    world.disk.crash_in, world.disk.crash_after = world.chance.randrange(3), world.chance.random() < 0.5


def reboot(world):
    """Power cut: the kernel forgets everything, the monotonic clock begins anew."""
    world.life.die()
    world.life = None
    world.reboot()


def stop(world):
    world.life.stop()
    world.life = None


def ban(world):
    source = parse_source(world.chance.choice([*NETWORKS, *ALLOWED, "127.0.0.1"]))
    world.ask("add_ban", source, Duration(world.chance.choice((15, 120, 4_000)) * SECOND), "by hand")


def unban(world):
    bans = [ban.source for ban in world.life.service._enforcer.engine.ledger]
    world.ask("remove_ban", world.chance.choice([*bans, parse_source("198.51.100.1")]))


def allow(world):
    source = parse_source(world.chance.choice(NETWORKS))
    length = world.chance.choice((None, 10 * SECOND, 3 * HOUR))
    world.ask("add_allow", source, length)


def disallow(world):
    known = [source for source, origin in world.life.service._allowance.permits if "command" in origin]
    world.ask("remove_allow", world.chance.choice([*known, *known, parse_source("192.0.2.0/28")]))


def pause(world):
    world.ask("pause", world.chance.choice((None, 10 * SECOND)))


def resume(world):
    world.ask("resume")


def look(world):
    world.ask(world.chance.choice(("status", "bans", "allowed", "rules")))
    world.ask("ban", parse_source(world.chance.choice(NETWORKS)))


def reload(world):
    world.rules = changed(world.chance)
    world.options["mode"] = world.chance.choice(("enforce", "enforce", "enforce", "observe"))
    world.options["allow"] = world.chance.choice(
        (("192.0.2.0/28",), ("192.0.2.0/28", "198.51.100.5", "2001:db8:0:2::/64"))
    )
    world.options["ports"] = world.chance.choice(((5060, 5061), (5060, 5080)))
    world.life.inputs = world.inputs()
    world.ask("reload")


def own_addresses(world):
    world.own = frozenset(map(parse_host, world.chance.sample(["203.0.113.10", "198.51.100.6", "2001:db8:a::10"], 2)))


STEPS = {
    name.__name__: (weight, name, needs_up)
    for needs_up, table in (
        (True, {
            guess: 14, fresh_guesser: 10, scan: 8, phone: 6, flood: 2, others: 5, torn: 6, garbage: 3,
            log_beside: 4, cut: 3, hang: 2, crash: 3, crash_soon: 3, crash_in_kernel: 3, crash_in_disk: 3, reboot: 3,
            stop: 3, ban: 5, unban: 5, allow: 4, disallow: 4, pause: 2, resume: 4, look: 4, reload: 3, freeze: 2,
        }),
        (False, {
            log_lines: 4, log_torn: 3, log_rotates: 2, asterisk_down: 2, refuse_login: 2, mute: 1, strange_server: 1,
            true_server: 3, clock_jump: 3, clock_back: 2, suspend: 2, kernel_refuses: 4, kernel_refuses_long: 2,
            kernel_slow: 3, flush: 4, damage: 2, vanish: 4, put_in: 3, overflow: 2, disk_fails: 3, disk_slow: 3,
            file_taken_away: 1, own_addresses: 1,
        }),
    )
    for name, weight in table.items()
}  # fmt: skip
