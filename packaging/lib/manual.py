"""Make the manual pages:  python3 packaging/lib/manual.py FOLDER

astguard(1) comes from the command line's own parser, astguard.yaml(5) from the configuration file that is installed,
astguard-rules(5) from docs/rules.md. lowdown makes manual pages of the Markdown.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

TREE = Path(__file__).parents[2]
sys.path.insert(0, str(TREE))

from guard import __version__  # noqa: E402 - the tree is no installed package
from guard.cli.commandline import Option, commands, common  # noqa: E402
from guard.errors import ConfigError, ControlError, DaemonUnreachable, GuardError, NotFound  # noqa: E402

ALSO = {
    "astguard": "**astguard.yaml**(5), **astguard-rules**(5), **nft**(8)",
    "astguard.yaml": "**astguard**(1), **astguard-rules**(5), **systemd.exec**(5) for LoadCredential=",
    "astguard-rules": "**astguard**(1), **astguard.yaml**(5)",
}


ABOUT = """\
astguard listens to the security events that Asterisk sends over its manager interface (AMI), and to its logs, folds
them into attempts, counts those per source in a sliding window, and puts the worst into sets of the kernel whose
entries end by themselves. **astguard run** is the daemon; the other commands talk to it."""


def main(folder: Path) -> None:
    """Write the three pages."""
    folder.mkdir(parents=True, exist_ok=True)
    date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    pages = {("astguard", 1): command(), ("astguard.yaml", 5): config(), ("astguard-rules", 5): rules()}
    for (name, section), text in pages.items():
        whole = f"{text}\n# SEE ALSO\n\n{ALSO[name]}\n\nMore is in /usr/share/doc/astguard.\n"
        settings = {"title": name, "section": section, "source": f"astguard {__version__}", "date": date}
        called = ["lowdown", "-s", "-Tman", "--out-no-smarty", *(f"-m{key}={value}" for key, value in settings.items())]
        page = subprocess.run(called, input=whole, capture_output=True, text=True, check=True).stdout
        (folder / f"{name}.{section}").write_text(page)


def command() -> str:
    """Write astguard(1)."""
    lines = [
        "# NAME\n\nastguard - bans the addresses that attack an Asterisk PBX\n",
        "# SYNOPSIS\n\n**astguard** *COMMAND* [*OPTION*...]\n",
        f"# DESCRIPTION\n\n{ABOUT}\n",
        "# COMMANDS\n",
    ]
    for each in commands():
        lines += [f"## {' '.join(each.words)}\n", f"{_plain(each.about)}\n", f"`{each.usage}`\n"]
        lines += [_described(option) for option in each.options]
        lines += ["```", *each.examples, "```\n"] if each.examples else []
    lines += ["# OPTIONS\n", "Every command takes these.\n", *(_described(option) for option in common())]
    lines += ["# EXIT STATUS\n"]
    codes = {0: "it is done", GuardError.exit_code: "it failed", 2: "the command line means nothing"}
    codes |= {DaemonUnreachable.exit_code: "no daemon answers", NotFound.exit_code: "what was asked for is not there"}
    codes |= {ConfigError.exit_code: "the configuration or a rule has mistakes; systemd does not start it again then"}
    assert ControlError.exit_code in codes, "a request that the daemon refuses is an ordinary failure"
    lines += [f"**{code}** - {_plain(text)}\n" for code, text in sorted(codes.items())]
    lines += ["# FILES\n"]
    files = {
        "/etc/astguard/astguard.yaml": "the configuration, see **astguard.yaml**(5)",
        "/etc/astguard/ami.secret": "the secret of the AMI user, alone on one line",
        "/etc/astguard/rules": "your own rules, see **astguard-rules**(5)",
        "/usr/share/astguard/rules": "the stock rules",
        "/usr/share/astguard/systemd/iptables.conf": "a drop-in for the unit, for `backend: iptables`",
        "/usr/share/astguard/systemd/realtime.conf": "another, to go before a realtime Asterisk for a moment",
        "/run/astguard/astguard.sock": "the control socket; members of the group astguard may use it",
        "/var/lib/astguard": "what outlives a restart",
    }
    return "\n".join([*lines, *(f"`{path}` - {about}\n" for path, about in files.items())])


def config() -> str:
    """Write astguard.yaml(5): the file that is installed explains itself."""
    text = (TREE / "packaging/etc/astguard.yaml").read_text()
    return f"""\
# NAME

astguard.yaml - the configuration of astguard

# SYNOPSIS

`/etc/astguard/astguard.yaml`

# DESCRIPTION

Everything has a default, and an empty file is a valid one. Relative paths are relative to the folder of the file.
**astguard check** names every mistake at once, with file, line and column. These are all keys, each with its default
or an example:

```
{text}```

# THE SECRET

The secret of the AMI user stands best in a file of its own that only astguard can read, `secret_file: ami.secret`.
systemd can hand it over as well, from wherever it is kept: with `LoadCredential=ami.secret:/path/of/the/file` in a
drop-in of the unit (**systemctl edit astguard**) write `secret_file: $CREDENTIALS_DIRECTORY/ami.secret`. No other
variable is read.
"""


def rules() -> str:
    """Write astguard-rules(5) from docs/rules.md: its title becomes the sections that every page has."""
    text = (TREE / "docs/rules.md").read_text()
    code = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _sections(part) for part in code.split(text))


def _sections(prose: str) -> str:
    """Make the sections of a manual page out of those of a page, and drop its links."""
    title = "# NAME\n\nastguard-rules - the rules of astguard\n\n# DESCRIPTION"
    prose = re.sub(r"^# .*$", title, prose, flags=re.MULTILINE)
    prose = re.sub(r"^## (.*)$", lambda found: f"# {found[1].upper()}", prose, flags=re.MULTILINE)
    prose = re.sub(r"^### ", "## ", prose, flags=re.MULTILINE)
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", prose)


def _described(option: Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.names)
    return f"{names}{f' *{option.value}*' if option.value else ''}\n: {_plain(option.about)}\n"


def _plain(text: str) -> str:
    """Give text of the parser in which nothing means anything to Markdown."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
