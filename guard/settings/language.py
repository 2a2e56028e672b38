"""The rule language: what stands in a rule file, taken to a Rule. docs/rules.md explains it to the administrator."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from guard.core.event import Kind, Sensor, Service
from guard.core.rule import Across, Mode, Rule, Scope, Trusted
from guard.core.units import DAY, SECOND, Duration
from guard.settings.cases import Case, read_cases
from guard.settings.possible import ACL_NAMES
from guard.settings.sense import Counted, check
from guard.settings.table import Placed, Table, anything, choice, duration, whole

if TYPE_CHECKING:
    from guard.settings.mistakes import Mistakes
    from guard.settings.yamlfile import Node

T = TypeVar("T")

MAX_SOURCES = 64  # the engine remembers no more sources of one account
MAX_RUNGS = 20  # nobody counts more strikes than that

_COUNTED = ("service", "events", "sensor", "acl", "account", "distinct", "evidence")
_ENOUGH = ("threshold", "window", "across")
_FOLLOWS = ("ban", "forget", "prefix", "scope", "trusted", "mode")
_KEYS = ("about", *_COUNTED, *_ENOUGH, *_FOLLOWS, "cases")
_USUAL_PREFIX = {4: 32, 6: 64}

_service = choice("a service", {service.value: service for service in Service})
_kind = choice("an event", {kind.value: kind for kind in Kind})
_sensor = choice("a sensor", {sensor.value: sensor for sensor in Sensor})
_acl = choice("the name of an ACL", {name: name for name in sorted(frozenset().union(*ACL_NAMES.values()))})
_distinct = choice("what can be distinct", {"account": True})
_proven = choice("a kind of evidence", {"any": False, "proven": True})
_scope = choice("a scope", {scope.value: scope for scope in Scope})
_trusted = choice("what follows for trusted accounts", {trusted.value: trusted for trusted in Trusted})
_mode = choice("a mode", {mode.value: mode for mode in Mode})
_rung = duration(SECOND, Duration(30 * DAY))


def read_rule(name: str, node: Node, mistakes: Mistakes) -> tuple[Rule, tuple[Case, ...]]:
    """Read the tree of a rule file: the rule, and the cases that prove it."""
    table = Table(node, mistakes, _KEYS, required=("events", "threshold", "window", "ban"))
    counted = Counted(
        services=table.many("service", _service),
        weights=_weights(table),
        sensors=table.many("sensor", _sensor),
        acls=table.many("acl", _acl),
        accounts=table.many("account", anything),
        proven=table.one("evidence", _proven, default=False),
    )
    threshold = table.one("threshold", whole(1, 1000), 1)
    rule = Rule(
        name=name,
        about=" ".join(table.one("about", anything, "").split()),
        services=_any(counted.services),
        weights={kind: weight.value for kind, weight in counted.weights.items()},
        sensors=_any(counted.sensors),
        acls=_any(counted.acls),
        accounts=_any(counted.accounts),
        proven_only=counted.proven,
        distinct=table.one("distinct", _distinct, default=False),
        threshold=threshold,
        window=table.one("window", duration(SECOND, Duration(7 * DAY)), SECOND),
        across=_across(table, threshold),
        ban=_ladder(table),
        forget=table.one("forget", duration(SECOND, Duration(366 * DAY)), Duration(30 * DAY)),
        prefix=_prefix(table, proven=counted.proven),
        scope=table.one("scope", _scope, Scope.ALL),
        trusted=table.one("trusted", _trusted, Trusted.SLOW),
        mode=table.one("mode", _mode, None),
    )
    check(table, counted, rule)
    return rule, read_cases(table, rule)


def _any(values: list[Placed[T]]) -> frozenset[T] | None:
    return frozenset(value.value for value in values) or None


def _weights(table: Table) -> dict[Kind, Placed[int]]:
    """Read `events`, a list of weight 1 each or a mapping; the places are those of the events."""
    if table.is_mapping("events"):
        return table.pairs("events", _kind, whole(1, 100), 1)
    return {kind: Placed(1, place) for kind, place in table.many("events", _kind)}


def _ladder(table: Table) -> tuple[Duration, ...]:
    rungs = table.many("ban", _rung, repeats=True)
    for before, rung in pairwise(rungs):
        if rung.value < before.value:
            table.wrong(rung.place, "each further ban must be at least as long as the one before")
    if len(rungs) > MAX_RUNGS:
        table.wrong(rungs[MAX_RUNGS].place, f"more than {MAX_RUNGS} rungs")
    return tuple(rung.value for rung in rungs)


def _prefix(table: Table, *, proven: bool) -> dict[int, int]:
    section = table.table("prefix", ("ipv4", "ipv6"))
    prefix = {
        4: section.one("ipv4", whole(8, 32), _USUAL_PREFIX[4]),
        6: section.one("ipv6", whole(32, 128), _USUAL_PREFIX[6]),
    }
    if not proven and table.sound("evidence"):
        for key, family in (("ipv4", 4), ("ipv6", 6)):
            if prefix[family] < _USUAL_PREFIX[family]:
                text = "banning a whole network needs 'evidence: proven', or forged senders could ban it for you"
                table.wrong(section.where(key), text)
    return prefix


def _across(table: Table, threshold: int) -> Across | None:
    if "across" not in table:
        return None
    keys = ("sources", "threshold")
    section = table.table("across", keys, required=keys)
    across = Across(section.one("sources", whole(2, MAX_SOURCES), 2), section.one("threshold", whole(1, 1000), 1))
    known = "threshold" in section and section.sound("threshold") and "threshold" in table and table.sound("threshold")
    if known and across.threshold >= threshold:
        section.wrong(section.where("threshold"), f"what is enough here must be less than the rule's own {threshold}")
    return across
