"""What has to happen to whom, and whether it did: the label's own words, and for the rest what the project promises.

Where a label says nothing of an attacker he has to be banned (or slowed, if he shares his address with the innocent)
within the limits below, and an innocent source may be neither banned nor slowed.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.quality.files import overlaps
from bench.quality.judged import BAN, NOTHING, SLOW
from bench.quality.recordings import EVERYBODY
from bench.quality.tries import ACCOUNTS, GUESS, LOGINS, REQUEST

MOST_GUESSES, MOST_IN_BURSTS, MOST_REQUESTS, MOST_LOGINS = 8, 21, 20, 3
SLOW_RATE, SLOW_ACCOUNTS = 1.0, 6  # a scanner below one request a second has had at most so many accounts

_ACCEPTS = {
    "ban": {BAN},
    "slow": {SLOW},
    "slow or ban": {SLOW, BAN},
    "at most slow": {SLOW, NOTHING},
    "nothing": {NOTHING},
}
_CAME = {BAN: "banned", SLOW: "slowed", NOTHING: "not banned"}
ALARM = "alarm:"


@dataclass(frozen=True)
class Expectation:
    """One thing that has to come true, in words, and why it did not: empty if it did."""

    source: str
    says: str
    failure: str = ""


def words_for(recording, source):
    """Give what is expected of a source, in the label's words or in those assumed for it."""
    if source in recording.expect:
        return recording.expect[source]
    if source in recording.attackers:
        return ["slow or ban" if source in recording.legit else "ban"]
    return ["nothing"]


def limits_for(recording, source, tries):
    """Give how much of an attacker may be seen up to its ban."""
    if source in recording.limits or source in recording.expect or source not in recording.attackers:
        return recording.limits.get(source, {})
    if tries.unit == LOGINS:
        return {LOGINS: MOST_LOGINS}
    if tries.unit == GUESS:
        return {GUESS: MOST_IN_BURSTS if tries.in_bursts else MOST_GUESSES}
    if tries.unit == REQUEST:
        return {REQUEST: MOST_REQUESTS} | ({ACCOUNTS: SLOW_ACCOUNTS} if tries.rate < SLOW_RATE else {})
    return {}


def must_be_stopped(recording, source):
    """Tell whether doing nothing about a source is a failure."""
    return any(NOTHING not in _ACCEPTS[word] for word in words_for(recording, source) if word in _ACCEPTS)


def is_false(recording, judged, source):
    """Tell whether a source suffered what it must not, whatever else was expected of it."""
    accepts = [_ACCEPTS[word] for word in words_for(recording, source) if word in _ACCEPTS]
    return any(BAN not in accept and judged.worst(source) not in accept for accept in accepts)


def strangers(recording, judged):
    """Give what was banned though no label knows it, such as the recorder's own address."""
    known = [*recording.attackers, *recording.legit]
    return [ban.source for ban in judged.bans if not any(overlaps(ban.source, each) for each in known)]


def check(recording, judged, tries):
    """Give all expectations of a recording, and what came of them."""
    for source in [*recording.attackers, *(each for each in recording.legit if each not in recording.attackers)]:
        for word in words_for(recording, source):
            yield _check_word(judged, source, word)
        mine = tries.get(source)
        ban = judged.first(source)
        for kind, limit in limits_for(recording, source, mine).items() if mine else ():
            seen = mine.count(kind, ban.at) if ban else mine.count(kind)
            says = f"at most {limit} {kind}"
            yield Expectation(source, says, f"{seen} {kind} seen" if seen > limit else "")
        if mine and LOGINS in limits_for(recording, source, mine):
            open_ports = "" if judged.closes_all(source) else "the AMI port stays open"
            yield Expectation(source, "every port closed", open_ports)
    for word in recording.expect.get(EVERYBODY, ()):
        yield _check_word(judged, None, word)
    for source in strangers(recording, judged):
        yield Expectation(source, "not banned", "banned, and no label knows it")


def _check_word(judged, source, word):
    who = source or EVERYBODY
    if word.startswith(ALARM):
        account = word.removeprefix(ALARM)
        failure = "" if judged.alarmed(account, source) else f"no alarm names {account}"
        return Expectation(who, f"an alarm names {account}", failure)
    if word not in _ACCEPTS:
        return Expectation(who, word, "no such word; known are " + ", ".join([*_ACCEPTS, f"{ALARM}ACCOUNT"]))
    came = judged.worst(source) if NOTHING in _ACCEPTS[word] else judged.outcome(source)
    return Expectation(who, word, "" if came in _ACCEPTS[word] else _CAME[came])
