"""The stories, and the tool that records them: `python -m tests.asterisk.stories NAME... --into tests/stories`.

A story says who is on the stage and what has to happen to them; tests/stories/README.md explains what is written.
Several are played at once, each in a laboratory of its own; a word that ends in a hyphen means all that begin so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.asterisk.people import People
from tests.asterisk.scene import scene
from tests.asterisk.sip import Session, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

TREE = Path(__file__).parents[2]
OFFICE = "192.0.2.50"
PHONE = "192.0.2.21"
STAFF = tuple(str(number) for number in range(100, 110))


@dataclass(frozen=True)
class Story:
    """How long it takes, what PBX it needs, and what is played."""

    play: Callable[[People], None]
    seconds: float
    by_login: bool = False
    iso_times: bool = False


STORIES: dict[str, Story] = {}


def story(seconds: float, **settings: bool):
    """Put a story on the list, under its function's name."""

    def keep(play):
        STORIES[play.__name__.replace("_", "-")] = Story(play, seconds, **settings)
        return play

    return keep


# An office of ten behind one address, where one phone has an old password: an alarm that names it, and nothing else.


def nine_of_ten(stage: People, but: str, **more) -> None:
    stage.office(OFFICE, [account for account in STAFF if account != but], **{"every": 25, "calls": 2, **more})


@story(175)
def office_old_password_baresip(stage):
    nine_of_ten(stage, "105")
    stage.is_legit(OFFICE, "phone 105, real baresip with an old password", "nothing", "alarm:105")
    stage.baresip(OFFICE, "105", "old-105")


@story(170, iso_times=True)
def office_old_password_growing_pauses(stage):
    nine_of_ten(stage, "104")
    stage.old_password(OFFICE, "104", every=15, answers=15, growth=1.5, after=6, one_call=True)


@story(125)
def office_old_password_every_5s(stage):
    nine_of_ten(stage, "107")
    stage.old_password(OFFICE, "107", every=5, after=7)


@story(100, iso_times=True)
def office_old_password_every_second(stage):
    nine_of_ten(stage, "102", every=15)
    stage.old_password(OFFICE, "102", every=1, after=5)


@story(110)
def office_old_password_new_calls(stage):
    nine_of_ten(stage, "109", every=20)
    stage.old_password(OFFICE, "109", every=10, answers=15, after=5)


@story(120)
def office_old_password_comes_first(stage):
    stage.old_password(OFFICE, "101", every=20, answers=15, one_call=True)
    nine_of_ten(stage, "101", after=10, spread=6)


@story(120, iso_times=True)
def office_old_password_comes_first_slowly(stage):
    stage.old_password(OFFICE, "106", every=6)
    nine_of_ten(stage, "106", after=23, spread=5)


@story(100, iso_times=True)
def office_old_password_tcp(stage):
    nine_of_ten(stage, "103", every=18, transport="tcp")
    stage.old_password(OFFICE, "103", every=4, after=6, transport="tcp")


@story(100)
def office_old_password_ipv6(stage):
    """Each phone has an address of its own here, and all are one /64."""
    for number, account in enumerate(STAFF):
        if account != "108":
            stage.phone(f"2001:db8:c::{number + 0x20:x}", account, every=20, calls=2, after=stage.dice.uniform(0, 3))
    stage.old_password("2001:db8:c::28", "108", every=12, answers=15, after=5)


@story(480)
def office_old_password_all_day(stage):
    """The longest story, for rules with long memories: some 360 wrong answers."""
    nine_of_ten(stage, "100", every=50)
    stage.old_password(OFFICE, "100", every=20, answers=15, after=8, one_call=True)


@story(110)
def office_new_password(stage):
    """The password was changed on the PBX, and half a minute later on the phone too."""
    nine_of_ten(stage, "106", every=30)
    stage.is_legit(OFFICE, "phone 106, three bursts of 15 wrong answers, then right", "nothing")

    def learn():
        with stage.line(OFFICE) as line:
            for turn in stage.every(14, after=6):
                line.burst("106", "old-106" if turn < 3 else "right-106")

    stage.start(learn)


@story(110, iso_times=True)
def office_two_old_passwords(stage):
    """Two phones after the same move: nobody is to be banned, and what else is right is not sure."""
    stage.office(OFFICE, STAFF[:8], every=20, calls=2)
    for number, account in enumerate(STAFF[8:]):
        stage.is_legit(OFFICE, f"phone {account} with an old password, a burst of 15 every 30 s")

        def retry(account=account, after=5 + 7 * number):
            with stage.line(OFFICE) as line:
                for _ in stage.every(30, after=after):
                    line.burst(account, f"old-{account}")

        stage.start(retry)
    for words in stage.truth["expect"].values():
        words[:] = ["at most slow"]


# A blind sender of UDP frames a phone and a trunk.


@story(80)
def framed_5_a_second(stage):
    stage.trunk()
    stage.phone(PHONE, "100", every=10, port=5060, expect="at most slow")
    stage.forger([PHONE, "192.0.2.22"], every=0.2, after=8)


@story(60, iso_times=True)
def framed_200_a_second(stage):
    stage.trunk()
    stage.phone(PHONE, "100", every=8, port=5060, expect="at most slow")
    stage.forger([PHONE, "192.0.2.22"], every=0.005, times=1200, after=15)


@story(75)
def framed_with_guesses(stage):
    stage.trunk()
    stage.phone(PHONE, "108", every=9, port=5060, expect="at most slow")
    stage.forger([PHONE, "192.0.2.22"], every=0.1, times=400, after=10, kinds="guess", account="103")


@story(75)
def framed_before_it_registers(stage):
    stage.trunk()
    stage.phone(PHONE, "110", every=6, after=12, port=5062, expect="at most slow")
    stage.forger([PHONE, "192.0.2.22"], every=0.25, after=11, kinds="unknown guess", account="110", port=5062)


@story(60)
def framed_office(stage):
    stage.trunk()
    stage.office(OFFICE, STAFF, every=12, expect="at most slow")
    stage.forger([OFFICE, "192.0.2.22"], every=0.05, times=800, after=12, account="105")


@story(60, iso_times=True)
def framed_tcp_phone(stage):
    """The phone speaks TCP, so what comes over UDP in its name is plainly not from it; but who can be sure."""
    stage.trunk()
    stage.phone(PHONE, "109", every=9, transport="tcp", expect="at most slow")
    stage.forger([PHONE, "192.0.2.22"], every=0.1, times=400, after=8, kinds="guess unanswered", account="109")


# Somebody who has an account and guesses at others'.


def insider(stage: People, *accounts: str, every: float, **limits: int) -> None:
    stage.phone("198.51.100.60", "103", every=7, calls=0, expect="slow or ban")
    stage.truth["legit"].pop("198.51.100.60")
    stage.attacks("198.51.100.60", "has account 103 and registers it")
    stage.guesser("198.51.100.60", *accounts, every=every, after=9, expect="slow or ban", **limits)
    stage.phone(PHONE, "101", every=12)


@story(90)
def insider_several_accounts(stage):
    insider(stage, "101", "102", "104", "105", "106", every=1)


@story(45, iso_times=True)
def insider_fast(stage):
    insider(stage, "101", every=0.1)


@story(170)
def insider_patient(stage):
    insider(stage, "101", every=2)


@story(90)
def insider_in_the_office(stage):
    stage.office(OFFICE, STAFF, every=20, expect="slow or ban")
    stage.guesser(OFFICE, "110", "111", "112", "113", "114", every=1, after=20, expect="slow or ban", legit=True)


@story(75)
def insider_washes_himself(stage):
    """He registers with his own password after every guess."""
    stage.attacks(
        "198.51.100.61", "has account 103, guesses 101 and 104, and registers 103 after every guess", "slow or ban"
    )
    with_phones(stage)

    def guess_and_register():
        with stage.line("198.51.100.61") as line:
            line.register("103", "right-103")
            for turn in stage.every(1, after=4):
                line.guess("104" if turn % 3 == 2 else "101", 1)
                line.register("103", "right-103")

    stage.start(guess_and_register)


@story(60, iso_times=True)
def insider_tcp(stage):
    """Guesses and good registrations share one connection; the guesses come fifteen to a Call-ID."""
    stage.attacks(
        "198.51.100.62", "has account 103 and guesses 102 in bursts of 15, over one connection", "slow or ban"
    )
    with_phones(stage)

    def guess_and_register():
        with stage.line("198.51.100.62", "tcp") as line:
            for _ in stage.every(5):
                line.register("103", "right-103")
                line.burst("102", f"guess-{stage.dice.random()}")

    stage.start(guess_and_register)


@story(60)
def insider_in_a_64(stage):
    """His account lives at one address of his /64, and he guesses from all the others."""
    stage.attacks(
        "2001:db8:b1:5::/64", "has account 103 at ::60, guesses 101 and 102 from ever new addresses", "slow or ban"
    )
    with_phones(stage)

    def register():
        with stage.line("2001:db8:b1:5::60") as line:
            for _ in stage.every(6):
                line.register("103", "right-103")

    def guess():
        for turn in stage.every(0.8, after=7):
            with stage.line(f"2001:db8:b1:5::{turn + 0x100:x}") as line:
                line.guess(str(101 + turn % 2), 1)

    stage.start(register)
    stage.start(guess)


# Forty addresses, three guesses each, at one account.


def forty(stage: People, transport: str) -> None:
    stage.expect("*", "alarm:101")
    for number in range(40):
        address = f"198.51.100.{100 + number * 3}"
        stage.guesser(
            address,
            "101",
            every=8,
            times=3,
            transport=transport,
            expect="",
            after=2 + stage.dice.uniform(0, 40),
            jitter=0.8,
        )
    stage.phone(PHONE, "101", every=9, transport=transport)
    stage.office(OFFICE, STAFF[2:7], every=15)


@story(90)
def forty_sources_udp(stage):
    forty(stage, "udp")


@story(90, iso_times=True)
def forty_sources_tcp(stage):
    forty(stage, "tcp")


@story(60)
def forty_sources_in_haste(stage):
    """Three answers in one Call-ID each, IPv4 and IPv6, all within half a minute."""
    stage.expect("*", "alarm:101")
    for number in range(40):
        address = f"198.51.100.{99 + number * 2}" if number % 2 else f"2001:db8:b{number // 8:x}:{number:x}::1"
        stage.guesser(address, "101", every=1, times=1, answers=3, expect="", after=5 + stage.dice.uniform(0, 30))
    stage.office(OFFICE, STAFF, every=15)


@story(90)
def forty_sources_and_bad_typists(stage):
    """Meanwhile the owner of 101 himself mistypes on a phone that is known, and so does somebody in the office."""
    forty(stage, "udp")

    def fumble(address, transport, account, known):
        with stage.line(address, transport) as line:
            if known:
                line.register(account, f"right-{account}")
            for turn in stage.every(6, after=40):
                line.register(account, "mistyped" if turn < 3 else f"right-{account}")

    what = "phone {}, over {}: three wrong passwords, then right"
    for address, transport, account in (
        ("192.0.2.97", "tcp", "101"),
        ("192.0.2.98", "udp", "101"),
        (OFFICE, "udp", "108"),
    ):
        stage.is_legit(address, what.format(account, transport), "nothing")
        stage.start(fumble, address, transport, account, known=True)
    for address, transport in (("192.0.2.95", "tcp"), ("192.0.2.96", "udp")):
        stage.is_legit(address, what.format("101", transport) + "; never seen before")
        stage.start(fumble, address, transport, "101", known=False)
    stage.truth["notes"] = (
        "192.0.2.95 and .96 cannot be told from attackers until they succeed: nothing is asked for them"
    )


# Call-IDs as guessers use them.


def with_phones(stage: People) -> None:
    stage.phone(PHONE, "110", every=10)
    stage.phone("192.0.2.33", "111", every=14, transport="tcp")


@story(40)
def endless_call_id_udp(stage):
    with_phones(stage)
    stage.guesser("198.51.100.21", "101", every=0.2, one_call=True, ask_again=False, after=4, guesses=21)
    stage.guesser("198.51.100.22", "102", every=0.25, one_call=True, after=5, guesses=21)


@story(40, iso_times=True)
def endless_call_id_tcp(stage):
    with_phones(stage)
    stage.guesser(
        "198.51.100.23", "101", every=0.2, one_call=True, ask_again=False, after=4, transport="tcp", guesses=21
    )
    stage.guesser("2001:db8:b3::5", "104", every=0.3, one_call=True, after=5, transport="tcp", guesses=21)


@story(45)
def bursts_15(stage):
    with_phones(stage)
    stage.guesser("198.51.100.24", "101", every=2, answers=15, after=3, guesses=21)
    stage.guesser("198.51.100.25", "103", every=5, answers=15, after=4, transport="tcp", guesses=21)
    stage.guesser("2001:db8:b2::9", "102", every=8, answers=15, after=5, guesses=21)


@story(100, iso_times=True)
def bursts_of_all_sizes(stage):
    with_phones(stage)
    stage.guesser("198.51.100.28", "101", every=30, answers=15, after=3, guesses=21)
    stage.guesser("198.51.100.29", "102", every=3, answers=5, after=4, guesses=21)
    stage.guesser("198.51.100.30", "104", every=6, answers=16, after=5, transport="tcp", guesses=21)
    stage.guesser("2001:db8:b7::2", "105", every=4, answers=2, after=6, guesses=21)
    stage.guesser("2001:db8:b7:1::2", "106", "107", every=1, one_call=True, after=7, guesses=21)


@story(60)
def bursts_at_many_accounts(stage):
    """What is let pass as one phone's burst must not be let pass again for every account."""
    with_phones(stage)
    stage.guesser("198.51.100.44", *STAFF[1:6], every=4, answers=15, after=3, guesses=21)
    stage.guesser("198.51.100.45", *STAFF[2:4], every=2, answers=15, after=4, transport="tcp", guesses=21)
    stage.guesser("198.51.100.46", *STAFF[4:9], every=0.5, one_call=True, after=5, guesses=21)


@story(60)
def guesses_by_invite(stage):
    """Passwords can be tried with calls as well."""
    with_phones(stage)

    def guess(address, account, transport, every):
        with stage.line(address, transport) as line:
            for turn in stage.every(every, after=4):
                line.call(account, f"guess-{turn}", f"00442079460{turn:03}")

    for address, account, transport, every in (
        ("198.51.100.35", "101", "udp", 1.5),
        ("198.51.100.36", "102", "tcp", 3),
        ("2001:db8:b7:2::3", "103", "udp", 0.5),
    ):
        stage.attacks(address, f"guesses {account} with INVITEs, one per {every:g} s, {transport}", "ban", guesses=8)
        stage.start(guess, address, account, transport, every)


@story(60, iso_times=True)
def one_call_id_many_users(stage):
    with_phones(stage)
    names = [str(number) for number in range(200, 900)]
    stage.scanner("198.51.100.26", names, every=0.4, one_call=True, after=3, requests=20)
    stage.scanner("198.51.100.27", names[90:], every=0.5, one_call=True, answered=True, after=4, requests=20)
    stage.scanner("2001:db8:b4::7", STAFF * 8, every=0.5, one_call=True, answered=True, after=5, guesses=8)


# One /64.


def hopping(stage: People, address: Callable[[int], str], transport: str, every: float, unknown: bool) -> None:
    hosts = [address(number) for number in range(60)]
    stage.attacks("2001:db8:b0:77::/64", "hops from address to address of its /64", "ban")
    stage.truth["limits"]["2001:db8:b0:77::/64"] = {"requests": 20} if unknown else {"guesses": 8}
    with_phones(stage)
    stage.phone("2001:db8:c::21", "112", every=11)

    def hop() -> None:
        stage.wait(5)
        for turn in stage.every(every):
            with stage.line(hosts[turn % 60], transport) as line:
                if unknown:
                    line.ask("REGISTER", f"user{turn}")
                else:
                    line.guess("101", 1)

    stage.start(hop)


@story(45)
def hopper_64(stage):
    hopping(stage, lambda number: f"2001:db8:b0:77:{number * 977 + 5:x}::{number + 1:x}", "udp", 0.5, unknown=False)


@story(45, iso_times=True)
def hopper_64_tcp(stage):
    hopping(stage, lambda number: f"2001:db8:b0:77::{number + 16:x}", "tcp", 0.7, unknown=False)


@story(45)
def hopper_64_scans(stage):
    hopping(stage, lambda number: f"2001:db8:b0:77:dead:{number:x}:beef:1", "udp", 0.5, unknown=True)


# Those who have time.


@story(105)
def slow_guesser(stage):
    with_phones(stage)
    stage.guesser("198.51.100.31", "101", every=12, times=8, jitter=0.02, guesses=8)
    stage.guesser("198.51.100.32", "102", every=12, times=8, jitter=0.02, transport="tcp", after=2, guesses=8)
    stage.guesser("2001:db8:b5::1", "104", every=12, times=8, jitter=0.1, after=4, guesses=8)


@story(105, iso_times=True)
def slow_guesser_one_call_id(stage):
    with_phones(stage)
    stage.guesser("198.51.100.33", "101", every=12, times=8, jitter=0.02, one_call=True, after=1, guesses=8)
    stage.guesser("198.51.100.34", "102", every=12, times=8, one_call=True, ask_again=False, jitter=0.02, guesses=8)


@story(105)
def slow_sprayer(stage):
    """Another account each time, which no account's own lock would see."""
    with_phones(stage)
    stage.guesser("198.51.100.37", *STAFF, every=12, times=8, jitter=0.1, guesses=8)
    stage.guesser("198.51.100.38", *STAFF[3:], every=12, times=8, transport="tcp", after=3, jitter=0.3, guesses=8)
    stage.guesser("2001:db8:b5::7", *STAFF, every=12, times=8, one_call=True, after=2, guesses=8)
    stage.guesser("198.51.100.39", "101", every=11, times=8, after=1, wire=Wire(copies=3), guesses=8)


@story(120)
def slow_scan(stage):
    with_phones(stage)
    names = [f"{word}{number}" for number in range(1, 60) for word in ("admin", "1", "sip")]
    stage.scanner("198.51.100.41", names, every=1.1, after=3, accounts=6)
    stage.scanner("198.51.100.42", names[7:], every=3, after=4, accounts=6)
    stage.scanner("198.51.100.43", names[20:], every=9, accounts=6)
    stage.scanner("2001:db8:b6::43", names[20:], every=9, after=5, answered=True, accounts=6)


# Good phones on bad lines, and good people with bad memories.


@story(100)
def lossy_phone(stage):
    stage.phone(PHONE, "100", every=6, calls=2, wire=Wire(lost=0.3))
    stage.phone("192.0.2.23", "101", every=5, calls=2, wire=Wire(lost=0.1, copies=4))
    stage.phone("192.0.2.24", "102", every=5, calls=2, wire=Wire(copies=4))
    stage.phone("2001:db8:c::24", "103", every=6, calls=2, wire=Wire(lost=0.4, copies=2))


@story(100, iso_times=True)
def lossy_office(stage):
    stage.office(OFFICE, STAFF, every=12, calls=2, wire=lambda number: Wire(lost=0.2, copies=3, dice=stage.dice))


@story(60)
def typo_phone(stage):
    stage.phone(PHONE, "100", every=12, typos=15, after=3)
    stage.phone("192.0.2.25", "103", every=12, typos=15, after=5, transport="tcp")
    stage.phone("2001:db8:c::26", "104", every=12, typos=15, after=8)


@story(100, iso_times=True)
def typo_phone_lossy(stage):
    """The burst takes some fifteen seconds, because every loss costs half a second or more."""
    stage.phone(PHONE, "100", every=12, typos=15, after=2, wire=Wire(lost=0.4, dice=stage.dice))
    stage.phone("192.0.2.25", "103", every=12, typos=15, after=4, wire=Wire(lost=0.35, copies=4, dice=stage.dice))
    stage.phone("192.0.2.35", "104", every=12, typos=15, after=6, wire=Wire(lost=0.15, copies=4))


@story(70)
def typo_softphone(stage):
    """A person tries four passwords, as fast as one can type; the program answers once for each."""

    def fumble(address, account, transport):
        with stage.line(address, transport) as line:
            for turn in stage.every(6, 4, after=5):
                line.register(account, f"right-{account}{turn}")
            for _ in stage.every(10):
                line.register(account, f"right-{account}")

    for address, account, transport in (
        (PHONE, "100", "udp"),
        ("192.0.2.36", "101", "tcp"),
        ("2001:db8:c::36", "102", "udp"),
    ):
        stage.is_legit(
            address,
            f"phone {account}, over {transport}: four wrong passwords, six seconds apart, then right",
            "nothing",
        )
        stage.start(fumble, address, account, transport)


# Phones whose From is not their login.


def strangers(stage: People, **more) -> None:
    for account in STAFF:
        stage.phone(
            OFFICE, account, every=30, calls=0, name=f"0301555{account}", after=3 + stage.dice.uniform(0, 1), **more
        )


@story(100, by_login=True)
def office_by_login(stage):
    def together(account):
        with stage.line(OFFICE) as line:
            for _ in stage.every(20, after=4, jitter=0):
                line.register(f"0301555{account}", f"right-{account}", login=account)

    for account in STAFF:
        stage.is_legit(OFFICE, f"phone {account}, From 0301555{account}", "nothing")
        stage.start(together, account)
    stage.phone(PHONE, "118", every=9, name="0301555118")
    names = [str(number) for number in range(2000, 2400)]
    stage.scanner("198.51.100.51", names, every=0.3, after=10, requests=20)


@story(100, by_login=True, iso_times=True)
def office_by_login_lossy(stage):
    strangers(stage, wire=Wire(lost=0.25, copies=2, dice=stage.dice))
    stage.phone(PHONE, "118", every=9, calls=2, name="0301555118", wire=Wire(lost=0.3))
    stage.scanner(
        "198.51.100.52", [f"user{number}" for number in range(300)], every=0.5, after=10, answered=True, requests=20
    )


# Daily life.


@story(120)
def daily_life(stage):
    stage.office(OFFICE, STAFF, every=15, calls=3, keepalives=True, misdials=True)
    stage.phone(PHONE, "110", every=6, moves=2)
    stage.phone("192.0.2.27", "206", every=5, moves=1, calls=0)
    stage.phone("192.0.2.28", "205", every=8, calls=0)
    stage.phone("192.0.2.29", "203", every=8, transport="tcp")
    stage.phone("192.0.2.29", "203", every=10, calls=2)

    def keepalives(address, account):
        with stage.line(address) as line:
            line.register(account, f"right-{account}")
            for _ in stage.every(4):
                line.ask("OPTIONS", account, to="601")
                line.ask("OPTIONS", account, Session(), to="601")

    for number in range(3):
        address, account = f"192.0.2.{60 + number}", str(111 + number)
        stage.is_legit(address, f"phone {account} that asks OPTIONS every four seconds", "nothing")
        stage.start(keepalives, address, account)


@story(100, iso_times=True)
def restart(stage):
    stage.office(OFFICE, STAFF, every=8, calls=2)
    stage.phone(PHONE, "110", every=6, transport="udp")

    def remember(address, account):  # answers with the nonce it knows, which is stale after 32 s and after a restart
        with stage.line(address) as line:
            session = Session()
            line.register(account, f"right-{account}", session)
            for _ in stage.every(14):
                if line.answer(session, account, f"right-{account}") == 401:
                    line.answer(session, account, f"right-{account}")

    for number in range(4):
        address, account = f"192.0.2.{70 + number}", str(112 + number)
        stage.is_legit(address, f"phone {account} that remembers its nonce", "nothing")
        stage.start(remember, address, account)

    stage.restart(after=45)


@story(90)
def roaming(stage):
    """One phone from one network to the next, and an office whose router gives it new ports all the time."""
    stage.office(OFFICE, STAFF[:6], every=9, moves=1)
    for number in range(8):
        stage.is_legit(f"192.0.2.{100 + number}", "phone 110 on its way", "nothing")

    def walk():
        for turn in stage.every(10):
            with stage.line(f"192.0.2.{100 + turn % 8}") as line:
                line.register("110", "right-110")
                line.call("110", "right-110", "601")

    stage.start(walk)


@story(175)
def retired_phone(stage):
    stage.office(OFFICE, STAFF, every=30)
    for address, name in ((OFFICE, "155"), ("192.0.2.80", "156")):
        what = f"retired phone {name} that nobody unplugged, once a minute"
        stage.scanner(address, [name] * 9, every=55, answered=True, after=4, what=what, legit=True, expect="nothing")


@story(40, iso_times=True)
def scan_fast(stage):
    with_phones(stage)
    names = [str(number) for number in range(300, 999)]
    stage.scanner("198.51.100.91", names, every=0.05, wait=False, after=4, requests=20)
    stage.scanner("198.51.100.92", names, every=0.1, answered=True, after=5, requests=20)
    stage.scanner("198.51.100.93", names, every=0.15, method="OPTIONS", to="100", after=6, requests=20)
    stage.scanner("2001:db8:b9::1", names, every=0.2, transport="tcp", after=7, requests=20)


@story(50)
def acl_probing(stage):
    """201 may only be used from the phones' network; there it works."""
    stage.phone(PHONE, "201", every=7)
    stage.guesser("198.51.100.95", "201", every=1, after=3, requests=20)
    stage.guesser("198.51.100.96", "201", every=0.5, transport="tcp", after=5, requests=20)


@story(150, iso_times=True)
def retired_phone_eager(stage):
    """It asks every quarter of a minute, from an office full of good phones."""
    stage.office(OFFICE, STAFF[:5], every=25, expect="at most slow")
    what = "retired phone 155 that nobody unplugged, every 15 s"
    stage.scanner(OFFICE, ["155"] * 20, every=15, answered=True, after=6, what=what, legit=True, expect="at most slow")


# Those who want to call, or to keep the PBX busy.


@story(75, iso_times=True)
def toll_fraud(stage):
    with_phones(stage)
    names = ["anonymous", "sip", "1001", "asterisk"] * 200
    stage.scanner("198.51.100.71", names, every=0.25, method="INVITE", after=3, requests=20)
    stage.scanner("198.51.100.72", ["anonymous"] * 99, every=1, method="INVITE", after=4, requests=20)
    stage.scanner("198.51.100.73", names, every=3, method="INVITE", requests=20)
    stage.scanner("198.51.100.74", names, every=0.7, method="INVITE", transport="tcp", after=2, requests=20)
    stage.scanner(
        "2001:db8:b8::4", [str(n) for n in range(10, 99)], every=1.5, method="INVITE", answered=True, requests=20
    )


@story(100)
def register_flood(stage):
    with_phones(stage)
    stage.phone("192.0.2.34", "101", every=10)
    for number, every in enumerate((0.5, 0.2, 0.02)):
        times = {0.5: 180, 0.2: 400, 0.02: 900}[every]
        address, what = f"198.51.100.{81 + number}", f"REGISTER for 101 without an answer, {1 / every:g} a second"
        stage.scanner(address, ["101"] * times, every=every, after=3 + number, wait=False, what=what)


def play(name: str, into: Path) -> None:
    """Play one story and write it."""
    told = STORIES[name]
    with (
        tempfile.TemporaryDirectory(prefix="astguard-story-") as folder,
        scene(People, told.seconds, Path(folder), by_login=told.by_login, iso_times=told.iso_times) as stage,
    ):
        told.play(stage)
        size = stage.finish(into / name)
    print(f"{name}: {size} bytes", flush=True)


def main() -> int:
    """Play what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.asterisk.stories", description=__doc__.split("\n")[0])
    parser.add_argument("--into", type=Path, default=TREE / "tests/stories", help="default: tests/stories")
    parser.add_argument("--at-once", type=int, default=8, help="stories played at the same time (default 8)")
    parser.add_argument("name", nargs="*", help="a story, or the beginning of some: `slow-`; none lists them")
    asked = parser.parse_args()
    if not asked.name:
        print(*(f"{name:45}{told.seconds:g} s" for name, told in STORIES.items()), sep="\n")
        return 0
    names = [
        name for name in STORIES for word in asked.name if name == word or (word[-1] == "-" and name.startswith(word))
    ]
    if len(names) == 1:
        play(names[0], asked.into)
        return 0
    command = [sys.executable, "-m", "tests.asterisk.stories", "--into", asked.into.resolve()]
    running: list[subprocess.Popen[bytes]] = []
    failed = 0
    while names or running:
        if names and len(running) < asked.at_once:
            running.append(subprocess.Popen([*command, names.pop(0)], cwd=TREE))
        time.sleep(1)  # also between two starts: Asterisk takes the whole machine for a moment
        for process in [process for process in running if process.poll() is not None]:
            failed += process.returncode != 0
            running.remove(process)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
