"""The lines of a recording's logs, each with the time of what it tells of, for the tools that read logs.

A line of `messages` is written a moment after or before the event that AMI reports of the same thing, and some logs
have Asterisk's own short times, without a year and to the second only. So that tools which read different sensors can
be compared, a line gets the time of its event: the failures of a session come in the same order in both. A line with
no session to go by gets that of its source's nearest failure.

The security log holds the same fields in the same order as the AMI stream. Few recordings have one, so it is written
from the stream for all.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from datetime import UTC, datetime

from bench.quality.ami import logged, reported, source_of
from bench.quality.files import read, source

FAILURES = {"InvalidAccountID", "ChallengeResponseFailed", "InvalidPassword", "FailedACL"}
NEAR = 0.02  # seconds between a line and its event

_LONG = re.compile(r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)\]")
_SHORT = re.compile(r"\[([A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d)\]")
_CALL = re.compile(r" failed for '[^']+' \(callid: (.*)\) - ")
_WHO = re.compile(r" manager\.c: (?:Host )?(\S+) | failed for '([^']+?)(?::\d+)?' - ")


def messages(recording):
    """Give the lines of `messages` as (time, line); a line without a time stays with the line before it."""
    if recording.messages is None:
        return []
    events = reported(recording.ami)
    year = datetime.fromtimestamp(events[0][0], UTC).year if events else None
    by_session, by_source = _failures(events)
    used = Counter()
    found, at = [], 0.0
    for line in read(recording.messages).decode("utf-8", "replace").removesuffix("\n").split("\n"):
        at = _stamp(line, year) or at
        time = at
        if call := _CALL.search(line):
            if times := by_session.get(call[1]):
                time = times[min(used[call[1]], len(times) - 1)]
                used[call[1]] += 1
        elif who := _WHO.search(line):
            time = _nearest(by_source.get(source(who[1] or who[2]), ()), at)
        found.append((time, line))
    return found


def security(recording):
    """Give the lines of the security log as (time, line)."""
    return [(at, logged(at, event)) for at, event in reported(recording.ami)]


def merged(*logs):
    """Put the lines of several logs in the order of time."""
    return sorted((line for log in logs for line in log), key=lambda line: line[0])


def _stamp(line, year):
    """Read the time a line begins with, in UTC as all recordings are; None if it has none."""
    if long := _LONG.match(line):
        return datetime.fromisoformat(long[1]).replace(tzinfo=UTC).timestamp()
    if (short := _SHORT.match(line)) and year:
        return datetime.strptime(f"{year} {short[1]}", "%Y %b %d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    return None


def _failures(events):
    """Give the times of the failures, by session and by source."""
    by_session, by_source = defaultdict(list), defaultdict(list)
    for at, event in events:
        if event["Event"] in FAILURES:
            by_session[event.get("SessionID")].append(at)
            by_source[source_of(event)].append(at)
    return by_session, {who: sorted(times) for who, times in by_source.items()}


def _nearest(times, at):
    place = bisect_left(times, at)
    near = min(times[max(place - 1, 0) : place + 1], key=lambda time: abs(time - at), default=at)
    return near if abs(near - at) <= NEAR else at
