"""What Asterisk's logs say of one attacker, and which of it was the deciding offence for a tool."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import islice
from typing import NamedTuple

ANSWERS = ("ChallengeResponseFailed", "InvalidPassword")
FAILURES = (*ANSWERS, "InvalidAccountID")
ENOUGH = 2000
"""Events and lines of an attack that are read: no tool waits for more, and a flood writes a million."""

_EVENT = re.compile(
    r'SecurityEvent="(\w+)",EventTV="([^"]+)".*?,SessionID="([^"]*)",.*?RemoteAddress="[^"]*/([^"/]+)/\d+"'
)
_NOTICE = re.compile(
    r"^\[.*?\] NOTICE.*? failed for '(?P<source>[^']+):\d+' \(callid: (?P<session>.*)\)"
    r" - (?:No matching endpoint found|Failed to authenticate)$"
)


class Offence(NamedTuple):
    """One event of the security log; `line` is the whole of it."""

    kind: str
    session: str
    at: float  # seconds, cut to milliseconds by Asterisk
    line: str

    @property
    def answered(self):
        """Tell whether the attacker had answered a challenge."""
        return self.kind in ANSWERS


class Deciding(NamedTuple):
    """The `nth` offence (from 0) of a session, answered or not, and when Asterisk reported it."""

    session: str
    nth: int
    answered: bool
    at: float


def events(lines, source):
    """Give the events of a source in the order of the log."""
    found = []
    for line in lines:
        if len(found) == ENOUGH:
            break
        if source in line and (seen := _EVENT.search(line)) and seen[4] == source:
            at = datetime.strptime(seen[2], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
            found.append(Offence(seen[1], seen[3], at, line))
    return found


def noticed(lines, source):
    """Give the sessions of the failures of a source in `messages`, in the order of the log."""
    seen = (_NOTICE.match(line) for line in lines if source in line)
    return list(islice((each["session"] for each in seen if each and each["source"] == source), ENOUGH))


def at_index(found, index):
    """Make the event at an index the deciding one."""
    chosen = found[index]
    before = [
        each
        for each in found[:index]
        if (each.session, each.answered) == (chosen.session, chosen.answered) and each.kind == chosen.kind
    ]
    return Deciding(chosen.session, len(before), chosen.answered, chosen.at)


def at_failure(found, count):
    """Make the count-th failure (from 1) the deciding one; None if there were fewer."""
    places = [index for index, each in enumerate(found) if each.kind in FAILURES]
    return at_index(found, places[count - 1]) if len(places) >= count else None


def at_notice(sessions, found, count):
    """Make the count-th line of `messages` the deciding one, with the time of the same failure's event."""
    if len(sessions) < count:
        return None
    session = sessions[count - 1]
    nth = sessions[: count - 1].count(session)
    failures = [each for each in found if each.kind in FAILURES and each.session == session]
    same = failures[min(nth, len(failures) - 1)]
    return Deciding(session, nth, same.answered, same.at)
