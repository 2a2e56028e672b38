"""What the guard warns of now: each with what is seen, and a remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict

from guard.daemon.exposure import REMEDY
from guard.supplements.voters import REMEDY as REPAIR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guard.daemon.allowance import Allowance
    from guard.daemon.enforcer import Enforcer
    from guard.daemon.pause import Pause
    from guard.sensors.amilink import AmiLink
    from guard.sensors.logs import LogSensor

LAG_WARNED = 30_000
"""Milliseconds of lag that are warned of: the shortest stock window is two minutes."""
UNREADABLE = (
    "attacks that AMI is silent about are not seen; let astguard read Asterisk's files (usermod -aG asterisk astguard, "
    "then restart it), or name the log in astguard.yaml (logs.messages)"
)


class Warned(TypedDict):
    """A warning as `status` tells it."""

    text: str
    remedy: str


class Watched(NamedTuple):
    """The parts that may give cause; `exposed` says which door is open to forgers, empty if none is.

    `supplements` has what is wrong with each of them, by name.
    """

    enforcer: Enforcer
    allowance: Allowance
    pause: Pause
    link: AmiLink
    logs: LogSensor
    exposed: str
    supplements: Mapping[str, str]


def warnings(watched: Watched) -> Iterator[Warned]:
    """Give what is wrong now."""
    if watched.pause.span is not None:
        yield {"text": "paused: nobody is kept out", "remedy": "'astguard resume' puts the bans back"}
    if watched.link.problem:
        yield {"text": f"link: {watched.link.problem}", "remedy": "attacks are not seen until this is mended"}
    if watched.link.lag_ms > LAG_WARNED:
        text = f"link: events are {watched.link.lag_ms // 1000} s old when they are read, too old for short windows"
        yield {"text": text, "remedy": "set the clocks of this host and of Asterisk's; a backlog passes by itself"}
    keeper = watched.enforcer.recorder.keeper
    if keeper is not None and keeper.receipts.problem:
        text = f"state: what is banned now is not on the disk: {keeper.receipts.problem}"
        yield {
            "text": text,
            "remedy": "make room or mend the disk; the kernel alone keeps these bans, a reboot ends them",
        }
    if watched.logs.deaf:
        yield {"text": f"log: no messages log is read: {watched.logs.deaf}", "remedy": UNREADABLE}
    for path, problem in watched.logs.problems.items():
        if problem:
            yield {"text": f"log: {path} {problem}", "remedy": UNREADABLE}
    if watched.enforcer.problem:
        yield {"text": f"firewall: {watched.enforcer.problem}", "remedy": "bans are tried again every few seconds"}
    dispute = watched.enforcer.upkeep.dispute()
    if dispute and not watched.enforcer.problem:
        yield {"text": f"firewall: {dispute}", "remedy": "keep that program from table inet astguard"}
    names = watched.allowance.names
    for name in names.unknown():
        text = f"allow: {name} has no address, so it protects nobody"
        yield {"text": text, "remedy": "mend the resolver or the name, or write addresses in its place"}
    for name, over in names.cut.items():
        text = f"allow: {name} has {over} addresses more than are taken from a name"
        yield {"text": text, "remedy": "write the networks in its place"}
    if watched.exposed:
        yield {"text": watched.exposed, "remedy": REMEDY}
    for name, problem in watched.supplements.items():
        yield {"text": f"supplement {name}: {problem}", "remedy": REPAIR}
    tampered = watched.enforcer.engine.tally.counts["tampered"]
    if tampered:
        text = f"{tampered} blocks on the AMI socket were tampered with, and not believed"
        yield {"text": text, "remedy": "see docs/asterisk.md; close HTTP AMI to the outside"}
