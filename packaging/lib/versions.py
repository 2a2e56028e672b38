"""Check that everything that names a version names that of the tag:  python3 packaging/lib/versions.py TAG."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TREE = Path(__file__).parents[2]
PLACES = {
    "pyproject.toml": r'^version = "(.*)"$',
    "guard/__init__.py": r'^__version__ = "(.*)"$',
    "packaging/debian/changelog": r"\Aastguard \((.*?)\)",
}
"""Files, and where in them the version stands."""


def mistakes(tag: str, tree: Path) -> Iterator[str]:
    """Say a line for each place that a release of this tag would make a liar of."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        yield f"{tag}: a tag is written like v1.2.3"
        return
    version = tag.removeprefix("v")
    for name, pattern in PLACES.items():
        found = re.search(pattern, (tree / name).read_text(), re.MULTILINE)
        if found is None or found[1] != version:
            yield f"{name}: says {found[1] if found else 'nothing'}, and the tag {version}"
    if "UNRELEASED" in (tree / "packaging/debian/changelog").read_text().partition("\n")[0]:
        yield "packaging/debian/changelog: its first entry is not released"
    changes = (tree / "CHANGELOG.md").read_text()
    sections = dict(re.findall(r"^## \[(.*?)\](.*?)(?=^## |\Z)", changes, re.MULTILINE | re.DOTALL))
    if version not in sections:
        yield f"CHANGELOG.md: has no section '## [{version}] - DATE'"
    elif not re.match(r" - \d{4}-\d\d-\d\d\n", sections[version]):
        yield f"CHANGELOG.md: the section [{version}] has no date, '## [{version}] - 2026-11-24'"
    if re.search(r"^- ", sections.get("Unreleased", ""), re.MULTILINE):
        yield f"CHANGELOG.md: what stands under [Unreleased] belongs to {version} or to a later tag"


if __name__ == "__main__":
    found = list(mistakes(sys.argv[1], TREE))
    for line in found:
        print(f"packaging/release: {line}", file=sys.stderr)
    sys.exit(1 if found else 0)
