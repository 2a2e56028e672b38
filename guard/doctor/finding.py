"""What a check finds, and how bad it is."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guard.doctor.facts import Facts


class Severity(StrEnum):
    """From good to bad. A note is good to know; a warning costs sight or comfort; what is serious lets attackers by."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    SERIOUS = "serious"


class Finding(NamedTuple):
    """One line of the report; `remedy` says what to do."""

    check: str
    severity: Severity
    text: str
    remedy: str = ""


class Check(NamedTuple):
    """A question to the facts. `fine` is said if `look` finds nothing."""

    name: str
    fine: str
    look: Callable[[Facts], Iterator[Finding]]
    needs: str = ""
    """The check without which this one cannot tell anything: if that is serious, this is left out."""


def note(check: str, text: str, remedy: str = "") -> Finding:
    """Make a note."""
    return Finding(check, Severity.NOTE, text, remedy)


def warning(check: str, text: str, remedy: str) -> Finding:
    """Make a warning."""
    return Finding(check, Severity.WARNING, text, remedy)


def serious(check: str, text: str, remedy: str) -> Finding:
    """Make a serious finding."""
    return Finding(check, Severity.SERIOUS, text, remedy)
