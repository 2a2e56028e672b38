"""Everything that real Asterisk can be brought to say: what is missing in the report is missing in Asterisk."""

from __future__ import annotations

import contextlib
import hashlib

import pytest

from tests.asterisk.attackers import Forger
from tests.asterisk.company import CHAN_SIP, manager
from tests.asterisk.coverage import NEVER, SERVICES, TYPES
from tests.asterisk.guard import eventually
from tests.asterisk.pbx import CONFIGURATION, Ami
from tests.asterisk.person import BOTH_FAMILIES

pytestmark = pytest.mark.both


def all_of(service: str) -> set[tuple[str, str]]:
    return {(event, service) for event in SERVICES[service].split()}


def saw(witness, service: str) -> None:
    missing = all_of(service)
    eventually(lambda: missing <= witness.look(), about=lambda: f"missing: {missing - witness.look()}")


def test_every_type_is_raised_by_somebody_or_never():
    raised = {event for service in SERVICES for event, _ in all_of(service)}
    assert raised | set(NEVER) == set(TYPES)
    assert not raised & set(NEVER)


def test_pjsip(lab, witness):
    for transport in BOTH_FAMILIES:
        with lab.phone.line(transport) as line:
            assert line.register("100", "right-100") is True
            assert line.register("101", "wrong") is False
            assert line.register("nobody", "wrong") is False
    for account in ("201", "202", "204", "205"):
        assert lab.attacker.register(account) is False
    assert lab.phone.register("206") is True
    assert lab.phone.register("206") is False  # from another port: it is full
    with lab.phone.line() as line:
        assert line.ask("REGISTER", "100", tail="<sip:105@203.0.113.10>") == 401
    with contextlib.closing(Forger(lab.stranger(66).host, lab.pbx)) as forger:
        forger.frame(lab.phone.address, 4)
    saw(witness, "PJSIP")


def test_ami(lab, witness):
    outside, pbx = lab.attacker.host, lab.pbx.address
    with contextlib.ExitStack() as open_until_the_end:

        def ami(user: str = "", secret: str = "", says: str = "") -> Ami:
            made = open_until_the_end.enter_context(contextlib.closing(Ami(outside, pbx, user, secret)))
            if says:
                made.say(says)
            return made

        ami("monitor", "right-monitor").wait_for(Message="Authentication accepted")
        ami("nobody", "x").wait_for(Message="Authentication failed")
        ami("monitor", "x").wait_for(Message="Authentication failed")
        ami("astguard").wait_for(Message="Authentication failed")
        ami("single", "right-single").wait_for(Message="Authentication accepted")
        ami("single", "right-single")
        ami(says="Action: CoreStatus\r\n\r\n").wait_for(Message="Permission denied")
        ami(says="GET / HTTP/1.0\r\n\r\n")
        key = hashlib.md5(b"wrong", usedforsecurity=False).hexdigest()
        digest = ami(says="Action: Challenge\r\nAuthType: MD5\r\n\r\n")
        digest.wait_for(Response="Success")
        digest.say(f"Action: Login\r\nAuthType: MD5\r\nUsername: monitor\r\nKey: {key}\r\n\r\n")
        saw(witness, "AMI")


@pytest.mark.only("16")
def test_chan_sip(lab, witness):
    with lab.phone.line(service=5070) as phone, lab.attacker.line(service=5070) as attacker:
        assert phone.register("300", "right-300") is True
        assert phone.call("300", "right-300", "601") == 200
        phone.call("300", "right-300", "999")
        assert attacker.register("301", "wrong") is False
        session_of_another = attacker.ask("REGISTER", "301")
        assert session_of_another == 401
        assert attacker.register("301", "x", login="somebody-else") is False
        attacker.register("302", "right-302")
        attacker.register("303", "right-303")
    with lab.phone.line(service=5070) as one, lab.phone.line(service=5070) as two:
        assert one.register("305", "right-305") is True
        assert one.call("305", "right-305", "600", media=4000) == 200
        two.call("305", "right-305", "600", media=4002)
    honest = CHAN_SIP.replace("alwaysauthreject=yes", "alwaysauthreject=no")
    with lab.asterisk.configured("sip reload", sip_conf=honest):
        # The reload is done some time after the command.
        eventually(
            lambda: (lab.attacker.register("nobody", service=5070), ("InvalidAccountID", "SIP") in witness.look())[1]
        )
    saw(witness, "SIP")


def test_every_spelling_of_the_headers(lab, witness):
    """Time stamps, the system's name and debugging, as administrators switch them on: the guard reads them all."""
    named = CONFIGURATION["asterisk.conf"] + "[options]\nsystemname=pbx-1\n"
    more = {"manager_conf": manager("timestampevents=yes\ndebug=yes"), "asterisk_conf": named}
    with lab.asterisk.configured(**more), lab.astguard() as guard:
        assert guard.json("status")["link"]["self_test"] == "ok"
        lab.attacker.guess("101", 2000)
        guard.says("ban 198.51.100.11/32")
        wanted = {"Timestamp", "SystemName", "SequenceNumber"}
        eventually(lambda: (witness.look(), any(wanted <= set(seen.headers) for seen in witness.seen))[1])
        assert guard.json("status")["counts"].get("tampered", 0) == 0
