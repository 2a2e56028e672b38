"""Whether fail2ban bans for Asterisk on this host too, by its own files."""

from __future__ import annotations

import re
from pathlib import Path

from guard.asterisk.folder import read_text

_OPTION = re.compile(r"([\w.]+)\s*=\s*(.*)")


def fail2ban_asterisk(root: Path = Path("/")) -> tuple[str, ...]:
    """Name what of fail2ban is switched on for Asterisk, in the order in which it reads its files."""
    folder = root / "etc/fail2ban"
    first, second = (sorted((folder / "jail.d").glob(f"*.{ending}")) for ending in ("conf", "local"))
    values: dict[str, dict[str, str]] = {}
    for file in (folder / "jail.conf", *first, folder / "jail.local", *second):
        section = ""
        for line in (read_text(file) or "").split("\n"):
            stripped = line.strip()
            if stripped.startswith("[") and "]" in stripped:
                section = stripped[1:].partition("]")[0].strip()
            elif option := _OPTION.fullmatch(stripped):
                values.setdefault(section, {})[option[1]] = option[2].strip()
    usual = values.pop("DEFAULT", {})
    values.pop("INCLUDES", None)
    return tuple(
        name
        for name, options in sorted(values.items())
        if "asterisk" in f"{name} {options.get('filter', '')} {options.get('logpath', '')}".lower()
        and options.get("enabled", usual.get("enabled", "false")).lower() in ("true", "yes", "on", "1")
    )
