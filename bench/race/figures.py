"""The figures of one attack, from the packets and the log. What is here reads no clock and no file."""

from __future__ import annotations

from bench.race.wire import ANSWERED, ARRIVED, RULESET

STOPPED = 0.4
"""An attacker of whom nothing came for so many seconds before the end was cut off."""


def figures(packets, source, deciding, over, *, guesses):
    """Say what got through: counts, and milliseconds from the deciding packet (and from its event) to the last one.

    `over` is when the attacker was stopped from outside, or gave up. With `guesses`, only what answers a challenge
    counts as tried and answered; every packet counts as arrived.
    """
    mine = [packet for packet in packets if packet.source == source]
    arrived = sorted((packet for packet in mine if packet.group == ARRIVED), key=lambda packet: packet.at)
    answers = {}
    for packet in mine:
        if packet.group == ANSWERED:
            answers[packet.call, packet.number] = answers.get((packet.call, packet.number), 0) + 1
    tried = [packet for packet in arrived if packet.proof or not guesses]
    found = {
        "arrived": len(arrived),
        "tried": len(tried),
        "answered": _answered(tried, arrived, answers),
        "stopped": bool(arrived) and over - arrived[-1].at > STOPPED,
        "seconds": arrived[-1].at - arrived[0].at if arrived else 0.0,
    }
    if deciding is None or not arrived:
        return found | {"decided": False}
    moment = deciding_moment(arrived, deciding)
    later = [packet for packet in arrived if packet.at > moment]
    tried_later = [packet for packet in later if packet.proof or not guesses]
    last = arrived[-1].at
    banned = [packet.at for packet in mine if packet.group == RULESET and packet.at > moment]
    return found | {
        "decided": True,
        "until_decided": len(tried) - len(tried_later),
        "arrived_after": len(later),
        "answered_after": max(0, found["answered"] - (len(tried) - len(tried_later))),
        "reported_ms": (deciding.at - moment) * 1000,
        "banned_ms": (min(banned) - moment) * 1000 if banned else None,
        "last_ms": (last - moment) * 1000,
        "last_after_event_ms": max(0.0, (last - deciding.at) * 1000),
    }


def _answered(tried, arrived, answers):
    """Count the tries that were answered.

    svcrack gives all requests of a session one Call-ID and number, so a session's answers are counted, less those to
    requests that were no tries.
    """
    requests, wanted = {}, {}
    for packet in arrived:
        requests[packet.call, packet.number] = requests.get((packet.call, packet.number), 0) + 1
    for packet in tried:
        wanted[packet.call, packet.number] = wanted.get((packet.call, packet.number), 0) + 1
    return sum(min(count, max(0, answers.get(key, 0) - (requests[key] - count))) for key, count in wanted.items())


def deciding_moment(arrived, deciding):
    """Find when the packet came of which the deciding offence tells: the nth of its session, of its kind."""
    same = [packet for packet in arrived if packet.call == deciding.session and packet.proof == deciding.answered]
    return same[min(deciding.nth, len(same) - 1)].at
