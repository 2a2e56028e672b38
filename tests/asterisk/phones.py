"""Phones as people have them: baresip, and JsSIP as in a browser. Neither knows that this is a test."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.asterisk.guard import eventually
from tests.asterisk.image import cache_folder
from tests.asterisk.network import end
from tests.asterisk.people import BARESIP_ACCOUNT, BARESIP_CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.asterisk.person import Person


class RealPhone:
    """A phone that runs, and what it has said."""

    def __init__(self, said: Path) -> None:
        self._said = said

    def said(self) -> str:
        """Give all it has said."""
        return self._said.read_text(errors="replace")

    def says(self, *words: str, times: int = 1, seconds: float = 20.0) -> None:
        """Wait until it has said one of these so often."""
        eventually(lambda: sum(map(self.said().count, words)) >= times, seconds, about=self.said)


@contextlib.contextmanager
def baresip(person: Person, account: str, folder: Path, password: str = "") -> Iterator[RealPhone]:
    """Run baresip, which says `200 OK` when it has registered."""
    program = Path("/usr/bin/baresip")
    assert program.exists(), "no baresip; script/test installs it"
    folder = folder / f"baresip-{account}"
    folder.mkdir()
    person.host.run("ip", "address", "replace", f"{person.host.address}/32", "dev", "eth0", check=True)
    person.host.speak_from_here()
    modules = next(Path("/usr/lib").glob("**/baresip/modules"))
    config = BARESIP_CONFIG.format(address=person.host.address, port=5077, modules=modules)
    right = password or f"right-{account}"
    (folder / "config").write_text(config)
    (folder / "accounts").write_text(BARESIP_ACCOUNT.format(account=account, password=right, pbx=person.pbx.address))
    (folder / "contacts").touch()
    with _running(person, folder / "said", [program, "-f", folder, "-v"]) as phone:
        yield phone


@contextlib.contextmanager
def jssip(person: Person, account: str, folder: Path, password: str = "", url: str = "ws:8088") -> Iterator[RealPhone]:
    """Run JsSIP, which says `registered`, or `failed` once a second."""
    node = cache_folder() / "node/node_modules"
    assert (node / "jssip").exists(), "no JsSIP; script/test installs it"
    scheme, _, port = url.partition(":")
    pbx, script = person.pbx.address, Path(__file__).with_name("browser_phone.js")
    words = [f"{scheme}://{pbx}:{port}/ws", person.host.address, account, password or f"right-{account}", pbx]
    with _running(person, folder / f"jssip-{account}", ["node", script, *words], NODE_PATH=str(node)) as phone:
        yield phone


@contextlib.contextmanager
def _running(person: Person, said: Path, words: list[Path | str], **environment: str) -> Iterator[RealPhone]:
    with said.open("w") as output:
        process = subprocess.Popen(
            person.host.command(*words), env={**os.environ, **environment},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield RealPhone(said)
    finally:
        end(process, 3)
