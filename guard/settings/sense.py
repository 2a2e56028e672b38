"""Rules that make no sense: what can never count, or would do something else than it says, is a mistake.

A rule that waits for something Asterisk never reports would look like protection and give none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guard.core.event import Kind, Sensor, Service
from guard.core.rule import Scope, Trusted
from guard.settings.possible import ACL_NAMES, POSSIBLE, provable, told

if TYPE_CHECKING:
    from guard.core.rule import Rule
    from guard.settings.table import Placed, Table

GUESSES = frozenset({Kind.CHALLENGE_RESPONSE_FAILED, Kind.INVALID_PASSWORD})
"""Wrong passwords: what many sources can have in common is the account that they guess at."""


class Counted(NamedTuple):
    """What a rule counts, with the places of the words; a list that is empty was not given."""

    services: list[Placed[Service]]
    weights: dict[Kind, Placed[int]]
    sensors: list[Placed[Sensor]]
    acls: list[Placed[str]]
    accounts: list[Placed[str]]
    proven: bool


def check(table: Table, counted: Counted, rule: Rule) -> None:
    """Note every mistake of this sort; nothing is said of keys whose values are wrong already."""
    _check_events(table, counted, rule)
    _check_services(table, counted, rule)
    _check_proof(table, counted, rule)
    _check_sums(table, rule)
    if rule.scope is Scope.SLOW and rule.trusted is Trusted.SIP:
        table.wrong(table.where("trusted"), "trusted accounts would fare worse than others; take slow or alarm")


def _check_events(table: Table, counted: Counted, rule: Rule) -> None:
    named = _named(counted)
    words = " or ".join(sorted(named)) if counted.services else "Asterisk"
    for kind, (_, place) in counted.weights.items():
        if kind is Kind.SUCCESSFUL_AUTH:
            table.wrong(place, "'SuccessfulAuth' is a success, and a success is no offence; leave it out")
        elif "acl" in table and kind is not Kind.FAILED_ACL:
            table.wrong(place, f"{kind} names no ACL, so a rule with 'acl' never counts it")
        elif table.sound("service") and not any(kind in POSSIBLE[service] for service in named):
            table.wrong(place, f"{words} never reports {kind}")
        elif table.sound("service", "sensor") and not any(kind in told(service, rule.sensors) for service in named):
            table.wrong(place, _unheard(kind, named, rule.sensors))
        elif kind is Kind.CHALLENGE_SENT and len(counted.weights) > 1:
            table.wrong(
                place, "ChallengeSent stands alone: it counts what was never answered; give it a rule of its own"
            )


def _unheard(kind: Kind, named: set[Service], sensors: frozenset[Sensor] | None) -> str:
    """Say which sensor would tell of what a rule's sensors never tell of."""
    if sensors is None:
        return (
            f"of chan_sip 'messages' is read, which never tells of {kind}; 'sensor: ami' counts what anybody can forge"
        )
    others = [other for other in Sensor if any(kind in told(service, frozenset({other})) for service in named)]
    return f"{' and '.join(sorted(sensors))} never tells of {kind}; the sensor {' or '.join(others)} does"


def _check_services(table: Table, counted: Counted, rule: Rule) -> None:
    named = _named(counted)
    words = " or ".join(sorted(named)) if counted.services else "Asterisk"
    for service, place in counted.services if len(counted.services) > 1 else ():  # of a single one enough is said
        if counted.weights and table.sound("events") and told(service, rule.sensors).isdisjoint(counted.weights):
            table.wrong(place, f"{service} reports none of the rule's events")
        elif counted.acls and not ACL_NAMES[service]:
            table.wrong(place, f"{service} names no ACL")
    for acl, place in counted.acls:
        if table.sound("service") and not any(acl in ACL_NAMES[service] for service in named):
            table.wrong(place, f"{words} never names the ACL {acl}")


def _check_proof(table: Table, counted: Counted, rule: Rule) -> None:
    if not rule.proven_only or not table.sound("service", "sensor", "events"):
        return
    named = _named(counted)
    if named == {Service.SIP}:
        table.wrong(table.where("evidence"), "chan_sip's addresses are the sender's own words and never proven")
    elif counted.weights and all(provable(service, rule.sensors).isdisjoint(counted.weights) for service in named):
        table.wrong(
            table.where("evidence"), "only 'messages' tells of this, which names no transport: it is never proven"
        )


def _check_sums(table: Table, rule: Rule) -> None:
    heaviest = max(rule.weights.values(), default=1)
    if rule.distinct and rule.accounts and table.sound("distinct", "account", "threshold", "events"):
        most = len(rule.accounts) * heaviest
        if most < rule.threshold:
            text = f"the accounts named come to {most} at the most, each counted once: the threshold is never reached"
            table.wrong(table.where("distinct"), text)
    if rule.across and rule.weights and table.sound("events") and GUESSES.isdisjoint(rule.weights):
        guesses = " or ".join(sorted(GUESSES))
        table.wrong(table.where("across"), f"'across' is about accounts guessed at; the rule counts no {guesses}")


def _named(counted: Counted) -> set[Service]:
    return {service.value for service in counted.services} or set(Service)
