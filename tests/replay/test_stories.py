"""Every story of tests/stories ends as its truth says, with the stock rules and nothing allowed but what it names."""

from __future__ import annotations

import json
import lzma
from ipaddress import ip_network
from pathlib import Path

import pytest

from guard.core.address import parse_source, show
from guard.core.event import Kind
from guard.recordings import AmiCapture
from guard.replay import replay
from guard.settings.rulefile import Folder, load_rules
from guard.wire.describe import show_time

TREE = Path(__file__).parents[2]
STORIES = sorted(path.parent for path in (TREE / "tests/stories").glob("*/truth.json"))
GUESSES = {Kind.CHALLENGE_RESPONSE_FAILED, Kind.INVALID_PASSWORD}
HARMLESS = {"nothing": {"ban", "slow"}, "at most slow": {"ban"}}
WANTED = {"ban": {"ban"}, "slow": {"slow"}, "slow or ban": {"ban", "slow"}}

pytestmark = pytest.mark.parametrize("story", STORIES, ids=lambda path: path.name)


def judged(story, *more):
    """Replay a story; give its truth, and its bans and alarms as JSON."""
    truth = json.loads((story / "truth.json").read_text())
    rules = load_rules([Folder(TREE / "rules")]).rules
    report = replay([*sorted(story.glob("capture*")), *more], rules, [parse_source(word) for word in truth["allow"]])
    told = report.as_json()
    return truth, told["bans"], told["alarms"]


def within(one, other):
    """Tell whether two addresses or networks meet."""
    one, other = ip_network(one, strict=False), ip_network(other, strict=False)
    return one.version == other.version and one.overlaps(other)


def what_became_of(address, bans):
    """Give `ban`, `slow`, or both, over the whole story."""
    return {"slow" if ban["scope"] == "slow" else "ban" for ban in bans if within(address, ban["source"])}


def complaints(truth, bans, alarms):
    """Tell, for a person to read, what did not come out as it should."""
    for address, words in truth["expect"].items():
        became = set() if address == "*" else what_became_of(address, bans)
        for word in words:
            if word.startswith("alarm:"):
                account = word.removeprefix("alarm:")
                heard = [alarm for alarm in alarms if account in (str(alarm["account"]), *str(alarm["text"]).split())]
                if not any(address == "*" or (alarm["source"] and within(address, alarm["source"])) for alarm in heard):
                    yield f"{address}: no alarm names {account}: {alarms}"
            elif word in HARMLESS and became & HARMLESS[word]:
                yield f"{address}: {word} expected, got {became} from {rules_of(address, bans)}"
            elif word in WANTED and not became & WANTED[word]:
                yield f"{address}: {word} expected, got {became or 'nothing'}"


def rules_of(address, bans):
    """Name the rules that banned an address."""
    return [f"{ban['rule']} at {ban['at']}" for ban in bans if within(address, ban["source"])]


def events_of(story):
    """Read all events of a story, in the order Asterisk told them."""
    for path in sorted(story.glob("capture*")):
        reader = AmiCapture()
        yield from reader.feed(lzma.decompress(path.read_bytes()))
        yield from reader.finish()


def spent(events):
    """Count what these events of one source cost: guesses, requests, accounts asked for."""
    guesses = {(event.session, event.challenge, event.response) for event in events if event.kind in GUESSES}
    named = {(event.session, event.account) for event in events if event.kind is Kind.INVALID_ACCOUNT_ID}
    sessions = {session for session, _ in named}
    unnamed = {
        (event.session, event.account)
        for event in events
        if event.kind is Kind.CHALLENGE_SENT and event.account == "<unknown>" and event.session not in sessions
    }
    return {"guesses": len(guesses), "requests": len(named | unnamed), "accounts": len({name for _, name in named})}


def until(ban, events):
    """Give the events of a source up to the one that brought the ban; inside a millisecond the ban's count tells."""
    before = sum(show_time(event.at) < ban["at"] for event in events)
    not_after = sum(show_time(event.at) <= ban["at"] for event in events)
    return events[: max(before + (ban["by"] == "event"), min(ban["events"], not_after))]


def test_a_story_ends_as_it_should(story):
    assert list(complaints(*judged(story))) == []


def test_the_messages_log_changes_nothing(story):
    assert list(complaints(*judged(story, story / "messages.xz"))) == []


def test_nobody_gets_more_than_the_story_allows(story):
    truth, bans, _ = judged(story)
    events = list(events_of(story))
    for address, limits in truth.get("limits", {}).items():
        ban = next((ban for ban in bans if within(address, ban["source"])), None)
        assert ban, f"{address} is never banned"
        cost = spent(until(ban, [event for event in events if within(address, show(event.source))]))
        assert all(cost[name] <= limit for name, limit in limits.items()), f"{address}: {cost}, allowed {limits}"
