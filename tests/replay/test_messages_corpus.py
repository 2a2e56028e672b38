"""Every recorded `messages` log of real Asterisk is read, alone and beside what AMI said at the same time."""

from __future__ import annotations

import gzip
import json
import lzma
import random
import re
from collections import Counter
from datetime import UTC, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest

from guard.core.address import parse_host, show
from guard.core.event import Kind, Sensor, Service
from guard.core.units import SECOND
from guard.recordings import FullLog, Recordings
from guard.wire.logtime import LogClock
from guard.wire.messages import MessagesReader
from guard.wire.messagevalues import read_session

CORPUS = Path(__file__).parents[1] / "corpus"
LOGS = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*.messages*"))
SMALL = [name for name in LOGS if not name.endswith(".xz")]
MIXED = "22.10.1/mixed-20k"
STORM = "22.10.1/pjsip-authuser-order-10-phones-nat-storm"

# File: tampered lines, and why.
TAMPERED = {
    "22.10.1/pjsip-tcp-connect-only.messages": 4,  # pjproject printed what was no SIP: four lines without a head
    "adversarial/torn-lines.messages": 80,  # every line: one that broke off, and its neighbour, in turn
}
MUTED = {
    "16.28.0/hostile-57.messages": 62,
    "16.28.0/hostile-58.messages": 2,
    "22.10.1/hostile-57.messages": 62,
    "22.10.1/hostile-58.messages": 2,
}


def contents(name):
    data = (CORPUS / name).read_bytes()
    return lzma.decompress(data) if name.endswith(".xz") else data


def read(pieces):
    reader = MessagesReader(LogClock(UTC))
    events = [event for piece in pieces for event in reader.feed(piece)] + reader.finish()
    return events, reader.tampered, reader.muted


def whole(name):
    return read([contents(name)])


def hosts(events):
    return {show(event.source).partition("/")[0] for event in events}


@pytest.mark.parametrize("name", LOGS)
def test_what_broke_is_tampered_and_nothing_else(name):
    _, tampered, muted = whole(name)
    assert (tampered, muted) == (TAMPERED.get(name, 0), MUTED.get(name, 0))


def test_the_logs_are_there():
    assert len(LOGS) > 140
    assert set(TAMPERED) | set(MUTED) <= set(LOGS)
    assert sum(len(whole(name)[0]) for name in LOGS) > 12_000


@pytest.mark.parametrize("name", SMALL)
def test_byte_by_byte_gives_the_same(name):
    data = contents(name)
    assert read(data[i : i + 1] for i in range(len(data))) == whole(name)


@pytest.mark.parametrize("name", [*SMALL, f"{MIXED}.messages.xz"])
def test_cut_at_random_gives_the_same(name):
    data, dice, cuts, at = contents(name), random.Random(name), [], 0
    while at < len(data):
        size = dice.randint(1, 1_500)
        cuts.append(data[at : at + size])
        at += size
    assert read(cuts) == whole(name)


@pytest.mark.parametrize("name", LOGS)
def test_trailing_bytes_change_nothing_before_them(name):
    events, tampered, muted = whole(name)
    more, more_tampered, more_muted = read(
        [contents(name), b"[2026-11-22 13:41:14.347] NOTICE[1] chan_sip.c: Registration from '<s"]
    )
    assert (more, more_muted) == (events, muted)
    assert more_tampered == tampered + 1


@pytest.mark.parametrize("name", [name for name in LOGS if name.startswith("adversarial")])
def test_nobody_is_named_by_what_hostile_lines_claim(name):
    assert not hosts(whole(name)[0]) & {"8.8.8.8", "8.8.4.4"}


def test_a_quoted_name_hides_no_sender():
    events, _, _ = whole("adversarial/quoted-names.messages")
    assert (len(events), hosts(events)) == (80, {"198.51.100.11"})


@pytest.mark.parametrize("version", ["16.28.0", "22.10.1"])
def test_of_an_attack_that_the_bus_is_silent_about_every_guess_is_read(version):
    events, _, _ = whole(f"{version}/hostile-57.messages")
    assert len(events) == 30
    assert hosts(events) == {"198.51.100.11"}
    assert {(event.kind, event.service, event.account) for event in events} == {
        (Kind.CHALLENGE_RESPONSE_FAILED, Service.PJSIP, "101")
    }
    assert len({event.session for event in events}) == 30


def test_ten_good_phones_behind_one_address_are_unknown_at_first():
    events, _, _ = whole(f"{STORM}.messages")
    assert Counter(event.kind for event in events) == {Kind.INVALID_ACCOUNT_ID: len(events)}
    assert hosts(events) == {"192.0.2.50"}


def test_what_both_sensors_saw_of_an_attempt_has_one_source_kind_and_session():
    for name in ("pjsip-svcrack", "pjsip-wrong-digest-valid-nonce-x5", "pjsip-acl-denied", "mixed-20k"):
        files = [path for path in (CORPUS / "22.10.1").glob(f"{name}.*") if ".ami" in path.name or "mess" in path.name]
        events = list(Recordings(files, None).events())
        told = [event for event in events if event.sensor is Sensor.MESSAGES and event.service is Service.PJSIP]
        heard = {(event.kind, event.source, read_session(event.session.encode())) for event in events} - set(told)
        said = [event for event in told if event.kind is not Kind.UNKNOWN_EXTENSION]
        assert said
        assert [event for event in said if (event.kind, event.source, event.session) not in heard] == []


def test_chan_sip_is_read_with_the_senders_true_address():
    """Every address in the logs of 16 is one of the laboratory's."""
    events = [event for name in LOGS if name.startswith("16") for event in whole(name)[0]]
    told = [event for event in events if event.service is Service.SIP]
    assert len(told) > 50
    assert all(re.match(r"198\.51\.100\.|192\.0\.2\.|2001:db8:", host) for host in hosts(told))


def test_only_who_took_part_in_the_mix_is_named():
    truth = json.loads((CORPUS / f"{MIXED}.truth.json").read_text())
    present = {parse_host(host) for side in ("attackers", "legit") for host in truth[side]}
    assert {event.source for event in whole(f"{MIXED}.messages.xz")[0]} <= present


def merged(*names, zone=None):
    recordings = Recordings([path if isinstance(path, Path) else CORPUS / path for path in names], None, zone)
    return list(recordings.events()), recordings


def test_recordings_of_three_kinds_come_in_one_order():
    names = [f"{STORM}.{kind}" for kind in ("messages", "log", "ami")]
    events, recordings = merged(*names)
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert {event.sensor for event in events} >= {Sensor.AMI, Sensor.MESSAGES}
    assert (recordings.tampered, recordings.muted) == (0, 0)
    order = [Sensor.AMI, Sensor.SECURITY, Sensor.MESSAGES]
    for one, two in pairwise(events):
        assert one.at < two.at or order.index(one.sensor) <= order.index(two.sensor)


def test_what_the_bus_lost_is_counted_over_all_files():
    _, recordings = merged("22.10.1/hostile-57.messages", "22.10.1/hostile-57.ami", "16.28.0/hostile-58.messages")
    assert recordings.muted == 64


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_packed_logs_are_read(pack, tmp_path):
    path = tmp_path / "messages.1"
    path.write_bytes(pack(contents(f"{STORM}.messages")))
    assert merged(path)[0] == merged(f"{STORM}.messages")[0]


def relocate(name, path, form):
    """Write a log again with other times: `form` makes them from the hours, minutes and seconds of UTC."""

    def again(match):
        return form(*(int(part) for part in match.groups()))

    path.write_bytes(
        re.sub(rb"^\[2026-11-22 (\d\d):(\d\d):(\d\d)\.(\d{3})\]", again, contents(name), flags=re.MULTILINE)
    )
    return path


def nepal(hour, minute, second, _milli):
    minutes = hour * 60 + minute + 345
    return b"[Nov 22 %02d:%02d:%02d]" % (minutes // 60, minutes % 60, second)


def test_the_zone_of_a_log_is_learnt_from_ami(tmp_path):
    path = relocate(f"{STORM}.messages", tmp_path / "messages", nepal)
    told = [event for event in merged(path, f"{STORM}.ami")[0] if event.sensor is Sensor.MESSAGES]
    true = merged(f"{STORM}.messages")[0]
    assert [(event.at - event.at % SECOND, event.session) for event in told] == [
        (event.at - event.at % SECOND, event.session) for event in true
    ]


def test_the_zone_of_a_log_may_be_given(tmp_path):
    path = relocate(f"{STORM}.messages", tmp_path / "messages", lambda h, m, s, ms: b"[2026-11-22 %02d:%02d:%02d.%03d]" % (
        h + 5, m, s, ms))  # fmt: skip
    assert merged(path, zone=timezone(timedelta(hours=5)))[0] == merged(f"{STORM}.messages")[0]


def test_a_log_of_all_levels_is_read_for_what_messages_has(tmp_path):
    logs = [contents(f"{STORM}.{kind}").splitlines(keepends=True) for kind in ("log", "messages")]
    path = tmp_path / "full"
    path.write_bytes(b"".join(sorted(logs[0] + logs[1], key=lambda line: line[:25])))
    events, recordings = merged(path)
    assert isinstance(recordings._readers[path], FullLog)
    assert [event for event in events if event.sensor is Sensor.MESSAGES] == merged(f"{STORM}.messages")[0]
    assert recordings.tampered == 0
