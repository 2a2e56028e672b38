"""`astguard doctor`: what on this host lets attackers by, or would hurt friends, each with a remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.doctor import ami, daemon, logs, machine, telephony
from guard.doctor.finding import Check, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guard.doctor.facts import Facts

CHECKS: tuple[Check, ...] = (*machine.CHECKS, *daemon.CHECKS, *ami.CHECKS, *logs.CHECKS, *telephony.CHECKS)


def examine(facts: Facts, checks: Iterable[Check] = CHECKS) -> list[Finding]:
    """Make every check, the worst findings first; a check that finds nothing is `ok`."""
    findings: list[Finding] = []
    unable: set[str] = set()
    for check in checks:
        if check.needs in unable:
            unable.add(check.name)
            continue
        found = list(check.look(facts)) or [Finding(check.name, Severity.OK, check.fine)]
        if any(finding.severity is Severity.SERIOUS for finding in found):
            unable.add(check.name)
        if facts.place is None:
            unable.add("asterisk")
        findings += found
    order = list(Severity)
    return sorted(findings, key=lambda finding: -order.index(finding.severity))
