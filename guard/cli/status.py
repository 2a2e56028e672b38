"""`astguard status`: is the guard up, does it hear Asterisk, what has it done."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from guard.cli.client import ask
from guard.cli.options import WIDTH, add_command
from guard.cli.output import BOLD, GREEN, RED, YELLOW, Output, paint
from guard.cli.table import align, as_text, local_time, span
from guard.core.text import printable
from guard.wire.control import Call, Request

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from guard.cli.options import Commands

UP = "up"
WARNING_LIMIT = 1_000


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = "Tell whether the guard is up, whether it hears Asterisk, and what it has counted since its start."
    add_command(commands, "status", _status, about, "status", "status -o json | jq .link")


def _status(options: Namespace) -> int:
    answer = ask(options, Request(Call.STATUS))
    output = Output(options)
    if output.for_programs:
        output.data(answer)
        return 0
    for line in page(answer):
        print(line)
    return 0


def page(status: dict[str, Any]) -> Iterator[str]:
    """Write the answer for people: what runs, what was counted, what is wrong."""
    link, firewall = _part(status, "link"), _part(status, "firewall")
    mode = as_text(status.get("mode"))
    mode = paint("observe: bans are said, not made", YELLOW) if mode == "observe" else mode
    if status.get("paused"):
        mode = paint(f"PAUSED: nobody is kept out, {_rest(_part(status, 'paused'))}", RED)
    process = f"up {span(status.get('uptime_seconds'))}, process {as_text(status.get('pid'))}"
    yield from _lines(
        ("astguard", f"{as_text(status.get('version'))}, {process}"),
        ("mode", mode),
        ("asterisk", ", ".join(_link(link))),
        ("", ", ".join(_health(link))),
        ("logs", _logs(_part(status, "logs"))),
        ("firewall", f"{as_text(firewall.get('backend'))}, {_number(firewall.get('dropped'))} packets dropped"),
        ("", as_text(firewall.get("why"))),
        ("bans", _number(status.get("bans"))),
        ("allow", _number(status.get("allow"))),
        *_rates(_part(status, "rates")),
    )  # fmt: skip
    counts = [(as_text(name), _number(count)) for name, count in _part(status, "counts").items() if count]
    if counts:
        yield ""
        width = max(len(count) for _, count in counts)
        yield from align([[name, count.rjust(width)] for name, count in counts])
    for warning in status.get("warnings") or ():
        yield ""
        yield from _warning(*(printable(str(warning.get(key) or ""), WARNING_LIMIT) for key in ("text", "remedy")))


def _rest(pause: dict[str, Any]) -> str:
    left = pause.get("left_seconds")
    return f"for {span(left)} more" if left is not None else "until 'astguard resume'"


def _warning(*texts: str) -> Iterator[str]:
    head, gap = "warning", " " * len("warning  ")
    for text in texts:
        for line in wrap(text, WIDTH - len(gap), break_on_hyphens=False):
            yield f"{paint(head, RED)}  {line}" if head else f"{gap}{line}"
            head = ""


def _link(link: dict[str, Any]) -> Iterator[str]:
    state = as_text(link.get("state")) or "unknown"
    yield paint(state, GREEN if state == UP else RED)
    if link.get("asterisk"):
        yield as_text(link["asterisk"])
    if link.get("since"):
        yield f"since {local_time(as_text(link['since']))}"


def _health(link: dict[str, Any]) -> Iterator[str]:
    if link.get("lag_ms") is not None:
        yield f"lag {as_text(link['lag_ms'])} ms"
    if link.get("self_test") is not None:
        yield f"self-test {as_text(link['self_test'])}"


def _logs(logs: dict[str, Any]) -> str:
    read, unread = (logs.get(key) or () for key in ("read", "unread"))
    return ", ".join([*map(as_text, read), *(paint(f"{as_text(path)} (not read)", RED) for path in unread)])


def _rates(rates: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Write what happens in a second, lately and since the start."""
    title = "a second"
    for key, when in (
        ("lately", f"in the last {span(rates.get('lately_seconds'))}"),
        ("since_start", "since the start"),
    ):
        rate = _part(rates, key)
        if rate:
            yield title, ", ".join(f"{as_text(count)} {as_text(name)}" for name, count in rate.items()) + f" {when}"
            title = ""


def _lines(*lines: tuple[str, str]) -> Iterator[str]:
    width = max(len(name) for name, _ in lines)
    return (f"{paint(name.ljust(width), BOLD)}  {value}" for name, value in lines if value)


def _part(status: dict[str, Any], key: str) -> dict[str, Any]:
    part = status.get(key)
    return part if isinstance(part, dict) else {}


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else as_text(value) or "?"
