"""`astguard flush`: takes all that is astguard's out of the kernel, and nothing else; for the end of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.cli.client import NotRunning, ask
from guard.cli.options import add_command
from guard.cli.output import Output
from guard.cli.table import as_text
from guard.errors import ControlError, FirewallError, FirewallMissing
from guard.wire.control import Call, Request

if TYPE_CHECKING:
    from argparse import Namespace

    from guard.cli.options import Commands


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "Take astguard's own tables, sets and rules out of the kernel, of every backend, and touch nothing else. For "
        "when astguard is removed: while it runs, use 'astguard pause'. What is stored stays, and a later start puts "
        "the bans back whose time is not over."
    )
    add_command(commands, "flush", _flush, about, "flush")


def _flush(options: Namespace) -> int:
    _refuse_while_it_runs(options)
    from guard.firewall.choice import KERNEL_BACKENDS, choose

    taken: list[str] = []
    for name in KERNEL_BACKENDS:
        try:
            backend = choose(name)
        except FirewallError:  # its library is not there, so nothing of it is either
            continue
        try:
            if backend.teardown():
                taken.append(name)
        except FirewallMissing:  # nor can anything be in a kernel that lacks it
            continue
        finally:
            backend.close()
    sentence = f"took all that was astguard's out of {' and '.join(taken)}; nobody is kept out now"
    Output(options).done({"flushed": taken}, sentence if taken else "nothing of astguard was in the kernel")
    return 0


def _refuse_while_it_runs(options: Namespace) -> None:
    try:
        answer = ask(options, Request(Call.STATUS))
    except NotRunning:
        return
    raise ControlError(
        f"astguard runs, process {as_text(answer.get('pid'))}, and would put its bans back; stop it first, or let "
        "everybody in with 'astguard pause'"
    )
