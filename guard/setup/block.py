"""Marked lines at the end of somebody else's file: put there, renewed, found again and taken out, byte for byte.

Nothing is ever changed between other lines. Asterisk takes the last value of a name, so what stands at the end is in
force; a file of YAML takes further keys there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN, END = ">>> astguard setup", "<<< astguard setup"


def put_block(data: bytes, lines: Sequence[str], sign: str) -> bytes:
    """Return a file with these lines as its only block; `sign` begins a comment in it."""
    rest = cut_block(data, sign)
    if rest and not rest.endswith(b"\n"):
        rest += b"\n"
    head = f"{sign} {BEGIN}: 'astguard setup --undo' takes these lines away"
    return rest + "".join(f"{line}\n" for line in (head, *lines, f"{sign} {END}")).encode()


def cut_block(data: bytes, sign: str) -> bytes:
    """Return a file without our block; one whose end is missing is left alone, since nobody knows what is ours."""
    kept: list[bytes] = []
    block: list[bytes] = []
    inside = False
    for line in data.splitlines(keepends=True):
        inside = inside or line.startswith(f"{sign} {BEGIN}".encode())
        (block if inside else kept).append(line)
        if inside and line.rstrip() == f"{sign} {END}".encode():
            inside, block = False, []
    return data if block else b"".join(kept)


def has_block(data: bytes, sign: str) -> bool:
    """Tell whether a file holds a block of ours."""
    return cut_block(data, sign) != data
