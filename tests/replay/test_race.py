"""The bench of the race: what it makes of packets and logs, before anything is attacked."""

from __future__ import annotations

import inspect
import socket
import struct
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.race import wire
from bench.race.astguard import Astguard
from bench.race.crowdsec import CrowdSec
from bench.race.fail2ban import Fail2ban
from bench.race.figures import figures
from bench.race.offences import Deciding, at_failure, events, noticed
from bench.race.page import BEGIN, END, write_page
from bench.race.pbx import SECRET
from bench.race.picture import draw, picture
from bench.race.plan import LOAD, SATURATING, SVCRACK, TOOLS, attacks
from bench.race.report import Report, percentile
from bench.race.wire import ANSWERED, ARRIVED, RULESET, Packet
from tests.asterisk.network import Host, crowded
from tests.asterisk.pbx import Asterisk

CORPUS = Path(__file__).parents[1] / "corpus/22.10.1"
ATTACKER, OTHER = "198.18.1.7", "198.18.2.7"
SVCRACKER = "198.51.100.11"


def arrived(at, call="a", number=2, source=ATTACKER, *, proof=True):
    return Packet(ARRIVED, at, source, call, number, proof)


def answered(call="a", number=2, source=ATTACKER):
    return Packet(ANSWERED, None, source, call, number, proof=False)


# What the kernel logged.


def nflog(group, source, to, sip, stamp=None):
    packet = b"\x45" + bytes(11) + socket.inet_aton(source) + socket.inet_aton(to) + bytes(8) + sip
    parts = struct.pack("=HH", 4 + len(packet), 9) + packet + bytes(-len(packet) % 4)
    if stamp is not None:
        parts += struct.pack("=HH", 20, 3) + struct.pack("!QQ", *stamp)
    return struct.pack("=IHHII", 20 + len(parts), 4 << 8, 0, 0, 0) + struct.pack("!BBH", 0, 0, group) + parts


def test_packets_are_read_with_the_kernels_time(tmp_path):
    guess = b"REGISTER sip:pbx SIP/2.0\r\nCall-ID: 77\r\nCSeq: 2 REGISTER\r\nAuthorization: Digest x\r\n\r\n"
    reply = b"SIP/2.0 401 Unauthorized\r\nCall-ID: 77\r\nCSeq: 2 REGISTER\r\n\r\n"
    log = tmp_path / "packets"
    log.write_bytes(
        nflog(ARRIVED, ATTACKER, "203.0.113.10", guess, (1000, 250_000))
        + nflog(ANSWERED, "203.0.113.10", ATTACKER, reply)
    )
    assert list(wire.read(log)) == [arrived(1000.25, "77"), answered("77")]


def test_a_log_that_was_cut_off_is_read_up_to_there(tmp_path):
    log = tmp_path / "packets"
    packet = nflog(ARRIVED, ATTACKER, "203.0.113.10", b"x" * 40, (1, 0))
    log.write_bytes(packet + packet[:-30])
    assert len(list(wire.read(log))) == 1


def test_elements_of_attackers_are_heard_with_the_listeners_time(tmp_path):
    element = struct.pack("=IHHII", 28, 10 << 8 | 12, 0, 0, 0) + bytes(4) + socket.inet_aton(ATTACKER) + bytes(4)
    rule = struct.pack("=IHHII", 28, 10 << 8 | 6, 0, 0, 0) + bytes(4) + socket.inet_aton(OTHER) + bytes(4)
    log = tmp_path / "packets"
    log.write_bytes(wire.with_time(element + rule, 5.0))
    assert list(wire.read(log)) == [Packet(RULESET, 5.0, ATTACKER, "", 0, proof=False)]


# What it comes to.


def test_what_came_after_the_deciding_guess_is_counted():
    packets = [
        arrived(0.0, number=1, proof=False),
        answered(number=1),
        *(arrived(at) for at in (0.001, 0.002, 0.003, 0.009)),
        *(answered() for _ in range(3)),
        Packet(RULESET, 0.004, ATTACKER, "", 0, proof=False),
        arrived(0.5, source=OTHER),
    ]
    found = figures(packets, ATTACKER, Deciding("a", 1, answered=True, at=0.0025), 2.0, guesses=True)
    assert (found["arrived"], found["tried"], found["answered"]) == (5, 4, 3)
    assert (found["until_decided"], found["arrived_after"], found["answered_after"]) == (2, 2, 1)
    assert found["reported_ms"] == pytest.approx(0.5)
    assert found["banned_ms"] == pytest.approx(2.0)
    assert found["last_ms"] == pytest.approx(7.0)
    assert found["last_after_event_ms"] == pytest.approx(6.5)
    assert found["stopped"]


def test_packets_are_put_in_the_order_of_their_times():
    packets = [arrived(0.2, "b", 1, proof=False), arrived(0.1, "a", 1, proof=False)]
    found = figures(packets, ATTACKER, Deciding("a", 0, answered=False, at=0.1), 0.3, guesses=False)
    assert found["arrived_after"] == 1
    assert not found["stopped"]


def test_an_attack_that_nothing_decided_has_no_afterwards():
    found = figures([arrived(0.0)], ATTACKER, None, 1.0, guesses=True)
    assert not found["decided"]
    assert "last_ms" not in found


def test_an_attack_of_which_nothing_came_is_no_success():
    assert not figures([], ATTACKER, None, 1.0, guesses=True)["stopped"]


# Which offence decided.


def security_line(session, at, kind="InvalidAccountID", source=ATTACKER):
    return (
        f'[Nov 23 03:53:18] SECURITY[1] res_security_log.c: SecurityEvent="{kind}",EventTV="2026-11-23T03:53:{at}+0000",'
        f'Severity="Error",Service="PJSIP",EventVersion="1",AccountID="1",SessionID="{session}",'
        f'LocalAddress="IPV4/UDP/203.0.113.10/5060",RemoteAddress="IPV4/UDP/{source}/5060"'
    )


def notice(session, source=ATTACKER, why="No matching endpoint found"):
    return (
        "[Nov 23 03:53:18] NOTICE[1]: res_pjsip/pjsip_distributor.c:688 log_failed_request: Request 'REGISTER' from "
        f"'<sip:1@203.0.113.10>' failed for '{source}:5060' (callid: {session}) - {why}"
    )


def test_crowdsec_has_enough_at_the_sixth_failure():
    lines = [security_line(f"s{number}", f"{number:02}.000") for number in range(9)]
    lines.insert(2, security_line("s1", "01.000", "ChallengeSent"))
    lines.insert(2, security_line("x", "01.000", source=OTHER))
    assert CrowdSec.deciding([], events(lines, ATTACKER)).session == "s5"
    assert CrowdSec.deciding([], events(lines[:5], ATTACKER)) is None


def test_fail2ban_has_enough_at_the_tenth_line():
    lines = [security_line("s", f"{number:02}.000", "ChallengeResponseFailed") for number in range(12)]
    noticed_lines = [notice("s", why="Failed to authenticate") for _ in range(12)]
    sessions = noticed([notice("x", OTHER), *noticed_lines], ATTACKER)
    deciding = Fail2ban.deciding(sessions, events(lines, ATTACKER))
    assert (deciding.session, deciding.nth, deciding.answered) == ("s", 9, True)
    assert Fail2ban.deciding(sessions[:9], events(lines, ATTACKER)) is None


def test_astguard_is_asked_itself():
    found = events((CORPUS / "pjsip-svcrack.log").read_text().splitlines(), SVCRACKER)
    deciding = Astguard.deciding([], found)
    assert (deciding.nth, deciding.answered) == (19, True)
    assert Astguard.deciding([], found[:10]) is None


def test_a_failure_is_counted_in_its_session():
    lines = [security_line("a", "01.000"), security_line("b", "02.000"), security_line("a", "03.000")]
    assert at_failure(events(lines, ATTACKER), 3)[:2] == ("a", 1)


# What is shown.


def run(tool, attack, **more):
    figures_of = {
        "decided": True, "stopped": True, "until_decided": 20, "arrived_after": 0, "answered_after": 0, "banned_ms": 1.0,
        "reported_ms": 0.0, "last_ms": 0.0, "last_after_event_ms": 0.4, "answered": 20, "seconds": 0.1,
        "asterisk": {"cpu_seconds": 0.1, "grown_mb": 0.0}, "guard": {"cpu_seconds": 0.02, "grown_mb": 0.0},
        "guard_mb": 50.0, "messages_bytes": 1000, "security_bytes": 1000,
    }  # fmt: skip
    return {"tool": tool, "attack": attack.name, "round": 1, **figures_of, **more}


def race(**late):
    nobody = run("no guard", LOAD, decided=False, stopped=False, asterisk={"cpu_seconds": 20.0, "grown_mb": 1.0})
    ours = [run("astguard", attack, **late) for attack in (SVCRACK, LOAD, SATURATING)]
    return Report([nobody, *ours])


def held(report):
    return [holds for _, _, holds in report.promises()]


def test_promises_are_held_or_missed():
    assert held(race()) == [True] * 4
    assert held(race(answered_after=2)) == [False, True, True, True]
    assert held(race(last_after_event_ms=5.1)) == [True, False, True, True]
    assert held(race(last_after_event_ms=21.0)) == [True, False, False, True]
    assert held(race(guard={"cpu_seconds": 1.1, "grown_mb": 0.0})) == [True, True, True, False]


@pytest.mark.parametrize("lost", [{"stopped": False}, {"decided": False}])
def test_who_is_not_stopped_holds_no_promise(lost):
    assert held(race(**lost)) == [False, False, False, True]


def test_a_percentile_is_one_of_the_values():
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([7], 0.99) == percentile([7], 1.0) == 7


def test_every_tool_meets_the_same_attacks():
    fail2ban, crowdsec = (attacks(name, short=False, series=2) for name in ("fail2ban", "CrowdSec"))
    ours = attacks("astguard", short=False, series=2)
    assert fail2ban == crowdsec == ours[: len(fail2ban)]
    assert [each.name for each in attacks("no guard", short=False, series=2)] == [each.name for each in fail2ban]
    assert len(ours) == len(fail2ban) + 3 * 2
    assert set(TOOLS) == {"no guard", "fail2ban", "CrowdSec", "astguard"}


def test_the_page_keeps_what_is_outside_the_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\nend\n")
    write_page(page, race(), "somewhere, once")
    text = page.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith(f"{END}\nend\n")
    assert "old" not in text
    assert "| astguard |" in text
    page.write_text("# Title\n")
    with pytest.raises(SystemExit, match="to write between"):
        write_page(page, race(), "somewhere, once")


def test_the_picture_is_an_svg_with_a_bar_for_each_value():
    drawn = ET.fromstring(draw([("a < b", [("one", 1.0, "{:.0f}"), ("two", 4.0, "{:.0f}")]), ("none", [])]))
    widths = [float(each.get("width")) for each in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths[1] == pytest.approx(4 * widths[0], abs=0.5)
    assert "a < b" in [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert ET.fromstring(picture(race())).get("role") == "img"


# What the race takes from the lab; who changes one changes the other.


def test_the_lab_still_has_what_the_race_builds_on():
    assert {"root", "host", "neighbour", "folder", "changes", "modules"} <= set(inspect.signature(Asterisk).parameters)
    assert {"address", "at", "run", "command", "entered"} <= {*dir(Host), *Host.__init__.__code__.co_names}
    assert inspect.signature(crowded).parameters["networks"].kind is inspect.Parameter.VAR_KEYWORD
    assert SECRET
