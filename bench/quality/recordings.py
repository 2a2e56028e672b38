"""The labelled recordings: what was recorded, who in it is who, and what has to happen to them.

A label stands beside its recording, as NAME.truth.json or as truth.json in a folder of its own, or in labels.yaml
here. Its words are those of tests/stories/README.md: `attackers` and `legit` (each source with what it does), `allow`,
`expect` and `limits`. What it does not say of a source, expectations.py assumes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from bench.quality.files import source

TREE = Path(__file__).parents[2]
CORPUS, STORIES = TREE / "tests/corpus", TREE / "tests/stories"
LABELS = Path(__file__).with_name("labels.yaml")
EVERYBODY = "*"


@dataclass(frozen=True)
class Recording:
    """One labelled recording."""

    name: str
    ami: tuple[Path, ...] = ()
    messages: Path | None = None
    security: Path | None = None
    attackers: dict[str, list[str]] = field(default_factory=dict)
    legit: dict[str, list[str]] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    expect: dict[str, list[str]] = field(default_factory=dict)
    limits: dict[str, dict[str, int]] = field(default_factory=dict)

    def who(self, each):
        """Say what a source does, in the label's words."""
        return "; ".join([*self.attackers.get(each, []), *self.legit.get(each, [])])


class LabelError(Exception):
    """A label that cannot be used; the message names it."""


def find(wanted=()):
    """Find all labelled recordings, or those wanted: by a part of their name, or by the path of a label or folder."""
    paths = [Path(text).resolve() for text in wanted if Path(text).exists()]
    words = [text for text in wanted if not Path(text).exists()]
    found = [recording for path in paths for recording in _below(path)]
    if words or not wanted:
        known = [*_below(CORPUS), *_listed(), *_below(STORIES)]
        for word in words:
            if not any(word in recording.name for recording in known):
                raise LabelError(f"no labelled recording has {word!r} in its name, and no file is called so")
        found += [each for each in known if not words or any(word in each.name for word in words)]
    if not found:
        raise LabelError(f"no truth.json in or below {', '.join(map(str, paths))}")
    return found


def _below(path):
    """Give what truth files label: this one, or those in and below this folder."""
    for file in [path] if path.is_file() else sorted([*path.rglob("*.truth.json"), *path.rglob("truth.json")]):
        stem = file.name.removesuffix("truth.json").removesuffix(".")
        yield _recording(_name(file.parent / stem), json.loads(file.read_text()), file, *_files(file.parent, stem))


def _listed():
    """Give what labels.yaml labels."""
    for name, truth in (yaml.safe_load(LABELS.read_text()) or {}).items():
        yield _recording(name, truth or {}, LABELS, *_files((CORPUS / name).parent, Path(name).name))


def _name(path):
    """Name a recording by its path below the tests, or by its own name where it is from elsewhere."""
    for folder in (CORPUS, STORIES):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name


def _files(folder, stem):
    """Find what was recorded: NAME.ami, NAME.messages and NAME.log, or in a story's folder capture.ami and messages."""
    captures = [f"{stem}.ami"] if stem else ["capture.ami", *(f"capture_{number}.ami" for number in range(2, 10))]
    messages = f"{stem}.messages" if stem else "messages"
    logs = [f"{stem}.log"] if stem else ["security", "security.log"]
    ami = [found for name in captures if (found := _there(folder, name))]
    return tuple(ami), _there(folder, messages), next(filter(None, (_there(folder, name) for name in logs)), None)


def _there(folder, name):
    """Give a file that is there, packed or not, and says anything."""
    there = (path for path in (folder / name, folder / f"{name}.xz") if path.exists() and path.stat().st_size)
    return next(there, None)


def _recording(name, truth, label, ami, messages, security):
    if not (ami or messages or security):
        raise LabelError(f"{label}: {name}: there is no recording beside it")
    try:
        return Recording(
            name, ami, messages, security,
            attackers={_source(text): _texts(does) for text, does in (truth.get("attackers") or {}).items()},
            legit={_source(text): _texts(does) for text, does in (truth.get("legit") or {}).items()},
            allow=tuple(truth.get("allow") or ()),
            expect={_source(text): _texts(words) for text, words in (truth.get("expect") or {}).items()},
            limits={_source(text): limit for text, limit in (truth.get("limits") or {}).items()},
        )  # fmt: skip
    except (AttributeError, ValueError) as error:
        raise LabelError(f"{label}: {name}: {error}") from error


def _texts(value):
    return [value] if isinstance(value, str) else list(value or [])


def _source(text):
    found = text if text == EVERYBODY else source(text)
    if found is None:
        raise ValueError(f"{text!r} is no address")
    return found
