"""The yardstick: what each source tried, and when, from what Asterisk reported of it.

Where `messages` shows more tries of a source than AMI does (an attack that raises no event), `messages` counts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from bench.quality.ami import reported, source_of
from bench.quality.files import covers, source
from bench.quality.logs import messages

GUESS, REQUEST, CHALLENGE = "guesses", "requests", "challenges"
KINDS = (GUESS, REQUEST, CHALLENGE)
ACCOUNTS, LOGINS = "accounts", "logins"  # counted among these
UNKNOWN = "<unknown>"
IN_BURSTS = 2  # guesses to a session, on average

_FROM = r" from '.*?<?sips?:(?P<account>[^@>]*)@?.*' failed for '(?P<source>[^']+):\d+'"
_SAID = tuple(
    (kind, service, re.compile(pattern))
    for kind, service, pattern in (
        (GUESS, "PJSIP", _FROM + r" \(callid: (?P<session>.*)\) - (?:Failed|Error) to authenticate$"),
        (REQUEST, "PJSIP", _FROM + r" \(callid: (?P<session>.*)\) - No matching endpoint found$"),
        (GUESS, "SIP", "Registration" + _FROM + r"(?P<session>) - Wrong password$"),
        (REQUEST, "SIP", "Registration" + _FROM + r"(?P<session>) - No matching peer found$"),
    )
)


class Try(NamedTuple):
    """One try of a source."""

    at: float
    kind: str
    service: str
    account: str
    session: str


@dataclass(frozen=True)
class Tries:
    """All tries of one source in one recording, in the order of time."""

    tries: tuple[Try, ...] = ()

    def count(self, kind, until=float("inf")):
        """Count the tries of a kind up to a time; its `accounts` are the names tried in guesses and requests."""
        if kind == ACCOUNTS:
            return len(self.accounts(until))
        if kind == LOGINS:
            return sum(each.service == "AMI" and each.at <= until for each in self.tries)
        return sum(each.kind == kind and each.at <= until for each in self.tries)

    def accounts(self, until=float("inf")):
        """Name the accounts that were guessed at or asked for."""
        return {each.account for each in self.tries if each.at <= until and each.kind != CHALLENGE} - {"", UNKNOWN}

    @cached_property
    def unit(self):
        """In what this source is counted: what it made most of; who asks and answers guesses, if at few accounts."""
        if 2 * self.count(LOGINS) > len(self.tries):
            return LOGINS
        scans = self.count(REQUEST) and 2 * self.count(ACCOUNTS) > self.count(GUESS)
        return REQUEST if scans and self.count(REQUEST) >= self.count(GUESS) else max(KINDS, key=self.count)

    @cached_property
    def in_bursts(self):
        """Tell whether its guesses come several to a session."""
        sessions = {each.session for each in self.tries if each.kind == GUESS}
        return self.count(GUESS) >= IN_BURSTS * len(sessions)

    @cached_property
    def rate(self):
        """How many tries a second, from the first to the last."""
        times = [each.at for each in self.tries if self.unit in {each.kind, LOGINS}]
        return (len(times) - 1) / max(times[-1] - times[0], 0.001) if len(times) > 1 else 0.0


def tries_of(recording):
    """Give the tries in a recording: of every address, and of every network that its label names."""
    told = _from_ami(reported(recording.ami))
    noticed = _from_messages(messages(recording))
    found = {
        each: max(Tries(told.get(each, ())), Tries(noticed.get(each, ())), key=lambda tries: len(tries.tries))
        for each in {*told, *noticed}
    }
    for label in {*recording.attackers, *recording.legit} - set(found):
        inside = [found[each].tries for each in found if covers(label, each)]
        found[label] = Tries(tuple(sorted(each for tries in inside for each in tries)))
    return found


def _from_ami(stream):
    asked, answered = set(), set()
    for _, event in stream:
        place = source_of(event), event.get("SessionID")
        if event["Event"] == "InvalidAccountID":
            asked.add(place)
        elif event["Event"] != "ChallengeSent":
            answered.add(place)
    found, seen = defaultdict(list), set()
    for at, event in stream:
        name, who, service = event["Event"], source_of(event), event.get("Service", "")
        account, session = event.get("AccountID", ""), event.get("SessionID", "")
        once = (who, name, account, session) if service == "PJSIP" else None  # the others use a session's name again
        if name in {"ChallengeResponseFailed", "InvalidPassword"}:
            kind = GUESS
            once = (*once, event.get("Challenge"), event.get("Response")) if once else None  # else a retransmit
        elif name == "InvalidAccountID":
            kind = REQUEST
        elif name == "ChallengeSent" and account == UNKNOWN:
            kind = REQUEST if (who, session) not in asked else None
        elif name == "ChallengeSent" and (who, session) not in answered:
            kind, once = CHALLENGE, None
        else:
            kind = None
        if who and kind and (once is None or once not in seen):
            seen.add(once)
            found[who].append(Try(at, kind, service, account, session))
    return {who: tuple(sorted(tries)) for who, tries in found.items()}


def _from_messages(lines):
    found, seen = defaultdict(list), set()
    for at, line in lines:
        for kind, service, pattern in _SAID:
            said = pattern.search(line)
            who = source(said["source"]) if said else None
            if who is None:
                continue
            once = (who, said["account"], said["session"]) if kind == REQUEST and said["session"] else None
            if once is None or once not in seen:
                seen.add(once)
                found[who].append(Try(at, kind, service, said["account"], said["session"]))
            break
    return {who: tuple(sorted(tries)) for who, tries in found.items()}
