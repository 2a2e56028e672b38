"""The driver of recordings: which files it takes, how it merges them, and what it reports."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from guard.core.event import Kind
from guard.core.rule import Rule
from guard.core.units import MINUTE
from guard.errors import CaptureError
from guard.replay import replay

ATTACK = Path(__file__).parents[1] / "corpus" / "22.10.1" / "pjsip-svcrack.ami"
RULE = Rule(
    name="guessing", weights={Kind.CHALLENGE_RESPONSE_FAILED: 1}, threshold=5, window=2 * MINUTE, ban=(10 * MINUTE,)
)


def spoilt(data):
    """Turn some bits around in the middle."""
    return data[:200] + bytes(byte ^ 0xFF for byte in data[200:260]) + data[260:]


def test_the_report_is_the_object_that_others_rely_on():
    report = replay([ATTACK], [RULE]).as_json()
    assert list(report) == ["events", "outcomes", "tampered", "bans", "alarms", "seconds"]
    assert sum(report["outcomes"].values()) == report["events"] == 23
    assert report["bans"] == [
        {
            "source": "198.51.100.11/32", "rule": "guessing", "at": "2026-11-22T13:36:17.718Z",
            "until": "2026-11-22T13:46:17.718Z", "scope": "sip", "strike": 1, "offences": 5, "events": 21,
            "evidence": "unproven", "by": "event",
        }
    ]  # fmt: skip


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_packed_recordings_say_the_same_whatever_they_are_called(tmp_path, pack):
    packed = tmp_path / "recording"
    packed.write_bytes(pack(ATTACK.read_bytes()))
    plain, unpacked = replay([ATTACK], [RULE]), replay([packed], [RULE])
    assert (unpacked.bans, unpacked.outcomes) == (plain.bans, plain.outcomes)


def test_the_security_log_says_the_same_as_the_socket():
    capture, log = replay([ATTACK], [RULE]), replay([ATTACK.with_suffix(".log")], [RULE])
    assert capture.bans == log.bans


def test_where_a_capture_covers_a_time_the_log_of_that_time_is_left_out():
    alone, both = replay([ATTACK], [RULE]), replay([ATTACK.with_suffix(".log"), ATTACK], [RULE])
    assert both.outcomes == alone.outcomes


def test_recordings_are_merged_by_time(tmp_path):
    blocks = ATTACK.read_bytes().split(b"\r\n\r\n")
    head, events, end = blocks[:1], blocks[1:-1], b"\r\n\r\n"
    halves = [tmp_path / "one.ami", tmp_path / "two.ami"]
    for path, half in zip(halves, (events[:1] + events[1::2], events[:1] + events[2::2]), strict=True):
        path.write_bytes(end.join(head + half + [b""]))
    assert [ban.since for ban in replay(halves[::-1], [RULE]).bans] == [
        ban.since for ban in replay([ATTACK], [RULE]).bans
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x7fELF", "neither an AMI capture"),
        (gzip.compress(ATTACK.read_bytes())[:-9], "cannot be read: Compressed file ended"),
        (spoilt(gzip.compress(ATTACK.read_bytes())), "cannot be read: Error -3"),
        (spoilt(lzma.compress(ATTACK.read_bytes())), "cannot be read: Corrupt input data"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, data, said):
    path = tmp_path / "recording"
    path.write_bytes(data)
    with pytest.raises(CaptureError, match=said) as raised:
        replay([path], [RULE])
    assert str(raised.value).startswith(f"{path}: ")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CaptureError, match="cannot be read: No such file"):
        replay([tmp_path / "gone"], [RULE])


def test_progress_counts_the_bytes_of_the_files_themselves():
    told = []
    replay([ATTACK], [RULE], progress=lambda *done: told.append(done))
    assert told[-1] == (ATTACK.stat().st_size,) * 2


@pytest.mark.parametrize("year", [b"1970", b"2099"])
def test_a_clock_that_was_wrong_for_a_moment_hides_no_attack(tmp_path, year):
    """The daemon's own clock goes on meanwhile, and it bans."""
    head, events = ATTACK.read_bytes().split(b"\r\n\r\n", 1)
    first = events.split(b"\r\n\r\n")[0]
    path = tmp_path / "wrong.ami"
    path.write_bytes(b"\r\n\r\n".join((head, first.replace(b"EventTV: 2026", b"EventTV: " + year), events)))
    (ban,) = replay([path], [RULE]).as_json()["bans"]
    assert (ban["at"], ban["until"]) == ("2026-11-22T13:36:17.718Z", "2026-11-22T13:46:17.718Z")


def test_time_is_the_recordings(tmp_path):
    """Twenty offences an hour apart stay below a window of two minutes."""
    slow = ATTACK.read_bytes().decode().split("EventTV: 2026-11-22T13:")
    path = tmp_path / "slow.ami"
    parts = (f"EventTV: 2026-11-{22 + hour // 24}T{hour % 24:02}:{part}" for hour, part in enumerate(slow[1:]))
    path.write_bytes((slow[0] + "".join(parts)).encode())
    assert replay([path], [RULE]).events == 23
    assert replay([path], [RULE]).bans == []


def test_every_file_that_cannot_be_read_is_named_at_once(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(b"neither this nor that")
    with pytest.raises(CaptureError) as told:
        replay([tmp_path / "one", tmp_path / "two", tmp_path / "three"], [])
    assert [line.partition(":")[0] for line in str(told.value).splitlines()] == [
        str(tmp_path / name) for name in ("one", "two", "three")
    ]


def test_a_muted_attack_is_an_alarm_in_its_own_time():
    """Its log says that Asterisk could not issue events, and when; the alarm comes once a day."""
    report = replay([ATTACK.with_name("hostile-57.messages")], []).as_json()
    (alarm,) = report["alarms"]
    assert alarm["kind"] == "muted"
    assert alarm["at"].startswith("2026-11-22T13:40:3")
    assert set(alarm) == {"kind", "at", "source", "account", "rule", "text"}
