"""The table of `astguard replay --compare`: whom two sets of rules ban, and who of them is a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guard.cli.table import as_text, source, text, time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from guard.cli.output import Output

_REGISTERED = {"later": "registered later", "before": "registered before"}


def _phone(item: Mapping[str, object]) -> str:
    known = _REGISTERED.get(str(item.get("registered")))
    return f"{as_text(item.get('accounts'))} ({known})" if known else ""


LIST = (
    ("BY", text("by")), ("SOURCE", source()), ("RULE", text("rule")), ("SCOPE", text("scope")), ("AT", time("at")),
    ("EVENTS", text("events")), ("PHONE", _phone),
)  # fmt: skip


def show_comparison(output: Output, report: Mapping[str, Any], names: Sequence[Path]) -> None:
    """Print sums for each set of rules, and a line for each ban that one of them made first, or both alike."""
    sources = report["sources"]
    print(f"{report['events']:,} events, {report['tampered']:,} tampered in {report['seconds']:.1f} s")
    for letter, other, name in (("a", "b", names[0]), ("b", "a", names[1])):
        banned = [item for item in sources if item[letter]]
        alone = sum(item[other] is None for item in banned)
        phones = sum(item["registered"] is not None for item in banned)
        sums = f"{len(banned):,} sources banned, {alone:,} of them by it alone, {phones:,} of them phones"
        print(f"{letter.upper()}: {sums}, {len(report['alarms'][letter]):,} alarms ({as_text(name)})")
    if sources:
        print()
        output.list(LIST, list(_lines(sources)), "")


def _lines(sources: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, object]]:
    for item in sources:
        a, b = item["a"], item["b"]
        if a and b and [a[key] for key in ("rule", "scope", "at")] == [b[key] for key in ("rule", "scope", "at")]:
            yield a | item | {"by": "A B"}
            continue
        for by, ban in (("A", a), ("B", b)):
            if ban:
                yield ban | item | {"by": by}
