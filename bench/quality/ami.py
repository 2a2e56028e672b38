"""The security events of an AMI stream, read without guard.wire: what is measured must not also be the measure."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import cache

from bench.quality.files import read, source

_REMOTE = re.compile(r"IPV[46]/(?:[A-Z]+/)?(.+)/\d+$")
_NOT_LOGGED = {"Event", "Privilege", "SystemName", "Timestamp", "SequenceNumber", "File", "Line", "Func"}


@cache
def reported(captures):
    """Give the events of a recording's streams as (time, event), all times of one source and type different.

    EventTV tells milliseconds; what is the same in the same one is put a microsecond apart, so that "up to this event"
    has one meaning.
    """
    used = Counter()
    found = []
    for capture in captures:
        for event in events(read(capture)):
            place = event["EventTV"], event["Event"], source_of(event)
            found.append((_time_of(event, used[place]), event))
            used[place] += 1
    return tuple(found)


def events(data):
    """Cut a stream into its security events: each a dict of headers, of which the first of a name counts."""
    for block in data.decode("utf-8", "replace").split("\r\n\r\n"):
        event = {}
        for line in block.split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                event.setdefault(name, value.removeprefix(" "))
        if "Event" in event and "EventTV" in event:
            yield event


def source_of(event):
    """Give the address an event tells of; None if it is unreadable."""
    remote = _REMOTE.match(event.get("RemoteAddress", ""))
    return source(remote[1]) if remote else None


def logged(at, event):
    """Write an event as res_security_log would have: the same fields in the same order."""
    fields = [f'SecurityEvent="{event["Event"]}"']
    fields += [f'{name}="{value}"' for name, value in event.items() if name not in _NOT_LOGGED]
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return f"[{stamp}] SECURITY[1] res_security_log.c: {','.join(fields)}"


def _time_of(event, microseconds):
    at = datetime.strptime(event["EventTV"], "%Y-%m-%dT%H:%M:%S.%f%z")
    return (at + timedelta(microseconds=microseconds)).timestamp()
