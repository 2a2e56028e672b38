"""The shipped unit and a real journald: a ban is found by its fields, and a journald that hangs holds up nobody."""

from __future__ import annotations

import json
import time

from guard.wire.journal import MessageId

ADDRESS = "198.51.100.7"


def lines(box, *asked):
    """Return what the journal has, as it gives it to programs."""
    said = box.run("journalctl", "--no-pager", "-o", "json", *asked)
    return [json.loads(line) for line in said.splitlines()]


def test_a_ban_is_found_by_its_address_its_rule_and_its_kind(installed):
    box = installed()
    box.until(lambda: box.try_("astguard", "status").returncode == 0, "astguard answers")
    box.run("astguard", "bans", "add", ADDRESS, "--for", "1h", "--reason", "a test")
    box.run("astguard", "bans", "remove", ADDRESS)
    asked = (f"ASTGUARD_ADDRESS={ADDRESS}", f"MESSAGE_ID={MessageId.BAN.value}", f"MESSAGE_ID={MessageId.UNBAN.value}")
    box.until(lambda: len(lines(box, *asked)) == 2, "a ban and its end, found by the address")
    ban, unban = lines(box, *asked)
    commands = lines(box, f"ASTGUARD_ADDRESS={ADDRESS}", f"MESSAGE_ID={MessageId.COMMAND.value}")
    assert [(line["ASTGUARD_CALL"], line["ASTGUARD_UID"]) for line in commands] == [
        ("POST /v1/bans", "0"), ("DELETE /v1/bans/*", "0"),
    ]  # fmt: skip
    assert commands[0]["ASTGUARD_REASON"] == "a test"
    expected = {
        "_SYSTEMD_UNIT": "astguard.service", "SYSLOG_IDENTIFIER": "astguard", "_TRANSPORT": "journal", "PRIORITY": "4",
        "MESSAGE_ID": MessageId.BAN.value, "ASTGUARD_RULE": "manual", "ASTGUARD_SECONDS": "3600", "ASTGUARD_STRIKE": "1",
        "ASTGUARD_SCOPE": "all",
    }  # fmt: skip
    assert expected.items() <= ban.items()
    assert ban["MESSAGE"].startswith(f"ban {ADDRESS}/32 for 1h rule=manual")
    assert (unban["MESSAGE_ID"], unban["PRIORITY"]) == (MessageId.UNBAN.value, "6")
    assert [line["ASTGUARD_ADDRESS"] for line in lines(box, f"MESSAGE_ID={MessageId.BAN.value}")] == [ADDRESS]
    assert not [
        line for line in lines(box, "-u", "astguard") if line["_TRANSPORT"] == "stdout" and "ban" in line["MESSAGE"]
    ]

    # A journald that hangs: every ban is answered as fast as before, and its line comes when the journal is back.
    journald = box.shows("MainPID", "systemd-journald")
    box.run("kill", "-STOP", journald)
    try:
        began = time.monotonic()
        box.sh("for n in $(seq 1 40); do astguard bans add 203.0.113.$n > /dev/null; done")
        took = time.monotonic() - began
    finally:
        box.run("kill", "-CONT", journald)
    print(f"  40 bans by command while journald hangs: {took:.1f} s")
    assert took < 100  # each would wait for its answer until it gives up
    box.until(
        lambda: len({line["ASTGUARD_ADDRESS"] for line in lines(box, f"MESSAGE_ID={MessageId.BAN.value}")}) == 41,
        "all lines, once journald goes on",
    )
