"""The log sensor: `messages` all the time, `security` from the last event over AMI on until the link is up again."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, timedelta, timezone

import pytest

from guard.core.event import Sensor, Service
from guard.core.tally import Tally
from guard.core.units import MILLISECOND, SECOND, Wall
from guard.sensors.logfiles import CHUNK
from guard.sensors.logs import HEAD_START, HEARD_LIMIT, POLL, SOON, LogSensor
from tests.blocks import headers, log, row_of
from tests.events import event

START = 1_795_354_874 * SECOND  # 2026-11-22 13:41:14 UTC
GUESS = (
    "[2026-11-22 {hour}:41:14] NOTICE[1] res_pjsip/pjsip_distributor.c: Request 'REGISTER' from '<sip:101@pbx>' failed "
    "for '198.51.100.7:5060' (callid: {call}) - Failed to authenticate\n"
)
CHAN_SIP = (
    "[2026-11-22 13:41:14] NOTICE[1] chan_sip.c: Registration from '<sip:301@pbx>' failed for '198.51.100.7:5060' - "
    "Wrong password\n"
)
MUTED = "[2026-11-22 13:41:14] ERROR[1] security_events.c: Failed to issue security event of type ChallengeSent.\n"


def reported(second, account="101"):
    """Write a line of the security log, so many seconds after the start."""
    row = row_of("ChallengeResponseFailed")
    lines = headers(row, EventTV=f"2026-11-22T13:41:{14 + second:02}.000+0000", AccountID=account)
    return f"[2026-11-22 13:41:{14 + second:02}] SECURITY[1] res_security_log.c: {log(row, lines)}\n"


class Story:
    """A sensor on two files, with a clock and a link in the test's hand."""

    def __init__(self, folder, zone=UTC):
        self.messages, self.security = folder / "messages", folder / "security"
        self.now, self.up, self.events, self.lost = START, True, [], 0
        self.tally = Tally()
        self.sensor = LogSensor(
            [self.messages], [self.security], zone,
            on_events=self.take, on_muted=self.take_muted, is_up=lambda: self.up, tally=self.tally,
            mono_ns=lambda: self.now, wall_ns=lambda: self.now,
        )  # fmt: skip

    def take(self, events):
        self.events += events

    def take_muted(self, count):
        self.lost += count

    def write(self, path, *texts):
        with path.open("a") as file:
            file.write("".join(texts))

    def poll(self, seconds=1):
        """Let time pass, then read all there is; return the accounts or sessions of what came."""
        self.now += seconds * SECOND
        while self.sensor.poll():
            pass
        self.now += HEAD_START
        self.sensor.poll()
        got, self.events = self.events, []
        return [one.account if one.sensor is Sensor.SECURITY else one.session for one in got]

    def finish(self):
        """End this sensor; return the sessions of what it had not handed on yet."""
        self.sensor.finish()
        got, self.events = self.events, []
        return [one.session for one in got]

    def hear(self, second):
        self.sensor.heard([event(at=START + second * SECOND)])


@pytest.fixture
def story(tmp_path):
    for name in ("messages", "security"):
        (tmp_path / name).write_text("")
    story = Story(tmp_path)
    story.poll(0)
    story.poll()
    return story


def test_messages_is_read_whether_the_link_is_up_or_not(story):
    for story.up in (True, False):
        story.write(story.messages, GUESS.format(hour=13, call=f"up-{story.up}"))
        assert story.poll() == [f"up-{story.up}"]


def test_ami_has_a_start_while_the_link_is_up(story):
    """Else a line would be an unproven offence, although AMI knows that the guess came over a connection."""
    for story.up, early in ((True, []), (False, ["guess"])):
        story.write(story.messages, GUESS.format(hour=13, call="guess"))
        story.sensor.poll()
        assert [one.session for one in story.events] == early
        assert story.poll() == ["guess"]


def test_what_ami_does_not_tell_of_waits_for_nothing(story):
    """chan_sip's guesses waited for an event of AMI that nobody reads, and 200 more were answered meanwhile."""
    story.write(story.messages, CHAN_SIP, GUESS.format(hour=13, call="guess"), CHAN_SIP)
    story.sensor.poll()
    assert [one.service for one in story.events] == [Service.SIP, Service.SIP]
    story.poll()
    assert story.tally.counts["log.lines"] == 3


def test_the_log_is_looked_at_sooner_while_it_alone_may_tell(story):
    """Asterisk answered 500 guesses from one look to the next, a fifth of a second later, while there was no link."""
    assert story.sensor.pause == POLL
    story.up = False
    assert story.sensor.pause == SOON
    story.up = True
    story.write(story.messages, GUESS.format(hour=13, call="guess"))
    story.sensor.poll()
    assert story.sensor.pause == SOON, "somebody fails, and more is on its way"
    story.poll(4)
    assert story.sensor.pause == SOON
    story.poll(2)
    assert story.sensor.pause == POLL


def test_a_line_in_two_writes_is_one(story):
    line = GUESS.format(hour=13, call="one")
    story.write(story.messages, line[:70])
    assert story.poll() == []
    story.write(story.messages, line[70:])
    assert story.poll() == ["one"]
    assert story.tally.counts["log.lines"] == 1


def test_lines_are_counted(story):
    story.write(story.messages, GUESS.format(hour=13, call="one"), MUTED, MUTED, "torn\n", MUTED)
    story.poll()
    assert (story.lost, story.tally.counts["log.tampered"]) == (2, 2)
    assert story.sensor.samples[0] == "torn"


def test_while_the_link_is_up_the_security_log_is_not_judged(story):
    story.poll()
    story.write(story.security, reported(1), reported(2))
    assert story.poll() == []
    assert story.tally.counts["log.lines"] == 0


def test_a_gap_is_read_from_the_last_event_over_ami_on(story):
    for second in range(6):
        story.poll()
        story.write(story.security, reported(second, f"second-{second}"))
        story.hear(min(second, 3))  # what came after it, AMI did not tell any more
    story.up = False
    assert story.poll() == ["second-3", "second-4", "second-5"]  # one comes twice: the core tells events from attempts
    story.write(story.security, reported(7, "in the gap"))
    assert story.poll() == ["in the gap"]
    story.write(story.security, reported(8, "as the link came up"))
    story.up = True
    assert story.poll() == ["as the link came up"]
    story.write(story.security, reported(8, "and was written a little later"))
    assert len(story.poll()) == 1
    story.write(story.security, reported(9, "over AMI"))
    assert story.poll() == []


def test_a_second_gap_is_read_like_the_first(story):
    for gap in (1, 2):
        story.up = True
        story.poll()
        story.poll()
        story.hear(10 * gap)
        story.poll(10)
        story.up = False
        story.write(story.security, reported(10 * gap + 5, f"gap-{gap}"))
        assert story.poll() == [f"gap-{gap}"]


def test_the_security_log_is_judged_as_long_as_there_never_was_a_link(tmp_path):
    story = Story(tmp_path)
    story.up = False
    story.write(story.security, reported(0, "before the start"))
    story.poll()
    story.write(story.security, reported(1, "after"))
    assert story.poll() == ["after"]


def test_a_gap_in_which_the_log_was_rotated_is_read_in_the_new_file(story):
    story.poll()
    story.hear(1)
    story.security.rename(story.security.with_suffix(".1"))
    story.write(story.security, reported(2, "new"))
    story.up = False
    assert story.poll() == ["new"]


def test_a_flood_is_read_in_pieces(story):
    line = GUESS.format(hour=13, call="x" * 200)
    count = 3 * CHUNK // len(line)
    story.up = False
    story.write(story.messages, line * count)
    assert story.sensor.poll()
    assert 0 < len(story.events) < count
    assert len(story.poll()) == count


def test_the_zone_is_learnt_from_ami(tmp_path):
    story = Story(tmp_path, zone=timezone(timedelta(hours=-7)))
    story.write(story.messages, "")
    story.poll(0)
    for number in range(5):
        story.sensor.heard([event(at=START + 500 * MILLISECOND, session=f"call-{number}")])
        story.write(story.messages, GUESS.format(hour=16, call=f"call-{number}"))
        story.sensor.poll()
        story.now += HEAD_START
        story.sensor.poll()
        story.now -= HEAD_START
    assert [one.at - START for one in story.events[3:]] == [999 * MILLISECOND] * 2


def test_what_is_remembered_of_ami_has_a_limit(story):
    story.sensor.heard(event(at=number, session=f"call-{number}") for number in range(3 * HEARD_LIMIT))
    assert len(story.sensor._heard) == HEARD_LIMIT


def test_a_fault_in_what_comes_after_costs_only_its_events(story, caplog):
    def fail(_):
        raise ZeroDivisionError

    story.sensor._on_events = fail
    story.write(story.messages, GUESS.format(hour=13, call="one"))
    story.poll()
    story.sensor._on_events = story.take
    story.write(story.messages, GUESS.format(hour=13, call="two"))
    assert story.poll() == ["two"]
    assert story.tally.counts["events.lost"] == 1
    assert "a fault of astguard itself" in caplog.text


def test_each_trouble_is_told_once(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    story = Story(tmp_path)
    story.security.mkdir()
    for _ in range(3):
        story.poll()
    assert len(caplog.records) == 2
    assert f"{story.messages}: is not there yet" in caplog.text
    assert "name another file under 'logs'" in caplog.text
    story.write(story.messages, "")
    story.poll()
    assert caplog.records[-1].getMessage() == f"reading {story.messages}"
    assert story.sensor.problems == {story.messages: "", story.security: "is no file"}


def test_a_sensor_without_files_has_nothing_to_do():
    sensor = LogSensor(
        [], [], UTC, on_events=print, on_muted=print, is_up=bool, tally=Tally(), mono_ns=int, wall_ns=lambda: Wall(0)
    )
    asyncio.run(sensor.run())


def test_a_sensor_that_ends_hands_on_all_that_was_written_until_then(tmp_path):
    # The one that takes over begins at the end of the file: what neither has read would be lost.
    story = Story(tmp_path)
    story.write(story.messages, "an old line\n")
    story.poll()
    story.write(story.messages, GUESS.format(hour=13, call="one"))
    story.sensor.poll()
    story.write(story.messages, GUESS.format(hour=13, call="two"))
    assert story.events == []  # AMI has its head start
    assert story.finish() == ["one", "two"]
    assert story.finish() == []
