"""`astguard top`: who attacks now, drawn anew every second. Where there is no terminal, once."""

from __future__ import annotations

import select
import shutil
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from guard.cli.client import ask
from guard.cli.options import add_command
from guard.cli.output import Output, paint
from guard.cli.topview import Seen, picture, rates
from guard.errors import ControlError, DaemonUnreachable
from guard.wire.control import ROWS_LIMIT, Call, Request

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from guard.cli.options import Commands
    from guard.cli.topview import Pieces

REFRESH = 1.0
"""Seconds between two pictures, and between the two looks that rates are told of."""
TERMINATED = 143
ENOUGH = 1_000
"""Lines of a picture that is printed and not drawn: all there is."""
_OTHER_SCREEN, _BACK = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[?25h\x1b[?1049l"
"""xterm's alternate screen, and the cursor (console_codes(4), ctlseqs): what stood there comes back at the end."""
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_QUIT = {"q", "Q", "\x1b", "\x03", "\x04", ""}  # Escape, Ctrl-C, Ctrl-D, and a terminal that is gone


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "Show who attacks, which accounts are under attack, and how much happens a second, until q is pressed. "
        "Where there is no terminal it is shown once, after a second."
    )
    add_command(commands, "top", _top, about, "top", "top -o json | jq '.sources[0]'")


def _top(options: Namespace) -> int:
    first = _look(options)
    if Output(options).for_programs or not (sys.stdout.isatty() and sys.stdin.isatty()):
        return _once(options, first)
    return _live(options, first)


def _look(options: Namespace) -> Seen:
    status, top = ask(options, Request(Call.STATUS)), ask(options, Request(Call.TOP, rows=ROWS_LIMIT))
    return Seen(time.monotonic(), status, top)


def _once(options: Namespace, first: Seen) -> int:
    time.sleep(REFRESH)
    now = _look(options)
    output = Output(options)
    if output.for_programs:
        output.data(_data(now, first))
        return 0
    width = shutil.get_terminal_size().columns
    lines = picture(now, first, width, ENOUGH, live=False)
    print("\n".join(_draw(line).rstrip() for line in lines))
    return 0


def _data(now: Seen, before: Seen) -> dict[str, Any]:
    told = {key: now.status.get(key) for key in ("mode", "paused", "link", "bans", "warnings")}
    return {**told, "rates": rates(now, before), **now.top}


def _live(options: Namespace, first: Seen) -> int:
    before = now = first
    with _terminal():
        while True:
            width, height = shutil.get_terminal_size()
            lines = picture(now, before, width, height)
            drawn = (_REST_OF_LINE + "\n").join(map(_draw, lines))
            sys.stdout.write(_HOME + drawn + _REST_OF_LINE + _REST_OF_SCREEN)
            sys.stdout.flush()
            if _pressed(REFRESH) in _QUIT:
                return 0
            before, now = now, _look_again(options, now)


def _look_again(options: Namespace, last: Seen) -> Seen:
    """Look; a daemon that does not answer, because it is restarted perhaps, is no reason to end."""
    try:
        return _look(options)
    except (DaemonUnreachable, ControlError) as error:
        return last._replace(at=time.monotonic(), problem=str(error))


def _pressed(seconds: float) -> str | None:
    """Wait for a key so long; None if there was none."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return sys.stdin.read(1) if ready else None


@contextmanager
def _terminal() -> Iterator[None]:
    """Take the whole screen and each key as it is pressed, for as long as the block; leave all as it was."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    ended = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        tty.setcbreak(sys.stdin)
        sys.stdout.write(_OTHER_SCREEN)
        yield
    finally:
        signal.signal(signal.SIGTERM, ended)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write(_BACK)
        sys.stdout.flush()


def _draw(line: Pieces) -> str:
    return "".join(paint(text, colour) if colour else text for text, colour in line)
