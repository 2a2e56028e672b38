"""A journald of a few lines: it reads what was written for the real one."""

from __future__ import annotations


def read_line(data):
    """Read a datagram as journald does; ValueError where it would not understand."""
    fields = {}
    while data:
        head, _, rest = data.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if equals:
            data = rest
        else:
            length = int.from_bytes(rest[:8], "little")
            value, data = rest[8 : 8 + length], rest[8 + length + 1 :]
            if len(value) != length or rest[8 + length : 8 + length + 1] != b"\n":
                raise ValueError("cut short")
        if name.decode() in fields:
            raise ValueError(f"{name!r} twice")
        fields[name.decode()] = value.decode()
    return fields
