"""A running Asterisk: its configuration, its process inside a network namespace and its root tree, and its AMI."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from tests.asterisk.company import AMI_SECRET, MODULES
from tests.asterisk.network import end
from tests.asterisk.sip import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.asterisk.network import Host

CERTIFICATE = Path(__file__).parents[1] / "daemon/localhost.pem"
"""For localhost and 127.0.0.1, signed by itself; its key is of no use anywhere else."""

START_LIMIT = 60.0

LOGS = "/var/log/asterisk"
"""Where Asterisk and the guard both see the logs."""

CONFIGURATION = {
    "asterisk.conf": f"""\
[directories]
astcachedir => /lab/cache
astetcdir => /lab/etc
astmoddir => {{modules}}
astvarlibdir => /var/lib/asterisk
astdbdir => /lab/db
astkeydir => /lab/keys
astdatadir => /usr/share/asterisk
astagidir => /usr/share/asterisk/agi-bin
astspooldir => /lab/spool
astrundir => /lab/run
astlogdir => {LOGS}
""",
    "logger.conf": "[logfiles]\nsecurity => security\nmessages => notice,warning,error\n",
    "modules.conf": "[modules]\nautoload=no\n{loads}",
    # The least an AMI user needs to hear security events, and loopback only. A reader that stalls gets five seconds;
    # the default of 100 ms would cut it off in the middle of an event.
    "manager.conf": """\
[general]
enabled=yes
webenabled=no
port=5038
bindaddr=127.0.0.1

[astguard]
secret="""
    + AMI_SECRET
    + """
read=security
write=
writetimeout=5000
deny=0.0.0.0/0.0.0.0
permit=127.0.0.1/255.255.255.255
""",
}


class Ami:
    """A bare speaker of AMI, to see what Asterisk says without any code of astguard's."""

    def __init__(self, host: Host, pbx: str = "127.0.0.1", user: str = "astguard", secret: str = AMI_SECRET) -> None:
        """Connect from a host, and log in unless `user` is empty."""
        with host.entered():
            own = ("" if pbx == "127.0.0.1" else host.address, 0)
            self._socket = socket.create_connection((pbx, 5038), timeout=10, source_address=own)
        self._unread = b""
        if user:
            self.say(f"Action: Login\r\nUsername: {user}\r\nSecret: {secret}\r\n\r\n")

    def say(self, text: str) -> None:
        """Say something."""
        self._socket.sendall(text.encode())

    def wait_for(self, **wanted: str) -> dict[str, str]:
        """Read on until a message has these headers; a silence of ten seconds is a TimeoutError."""
        while True:
            while b"\r\n\r\n" not in self._unread:
                piece = self._socket.recv(65_536)
                if not piece:
                    raise ConnectionError("Asterisk closed the AMI connection")
                self._unread += piece
            head, _, self._unread = self._unread.partition(b"\r\n\r\n")
            message = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
            if wanted.items() <= message.items():
                return message

    def close(self) -> None:
        """Leave without a word."""
        self._socket.close()


class Asterisk:
    """Asterisk on a host: its root tree stays as it is, all it writes goes into a folder of its own."""

    def __init__(
        self,
        root: Path,
        host: Host,
        neighbour: Host,
        folder: Path,
        changes: Mapping[str, str] = MappingProxyType({}),
        modules: str = MODULES,
        options: str = "-f",
    ) -> None:
        """`changes` replaces or adds files of the configuration; a pjsip.conf with the account 100 has to be there.

        `options` are Asterisk's own: with `-f -p` it is realtime, as Debian starts it.
        """
        self._root, self._host, self._neighbour, self._folder = root, host, neighbour, folder
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("etc", "log", "run", "spool", "db", "keys", "cache"):
            (folder / name).mkdir(parents=True)
        shutil.copy(CERTIFICATE, folder / "keys")
        there = next(path for path in root.glob("usr/lib/**/asterisk/modules") if path.is_dir())
        self._fill = {
            "{modules}": f"/{there.relative_to(root)}",
            "{loads}": "".join(f"load = {name}.so\n" for name in modules.split()),
        }
        self._files = {**CONFIGURATION, **changes}
        self._environment: list[str] = []
        self._options = options
        self._write(self._files)

    def _write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            filled = text
            for word, meaning in self._fill.items():
                filled = filled.replace(word, meaning)
            (self._folder / "etc" / name).write_text(filled)

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until SIP and AMI both answer: AMI comes first, PJSIP some time later."""
        # `ip netns exec` gives the process a mount namespace of its own: what is mounted here vanishes with it.
        mount = (
            'mount --bind "$1" "$2/lab" && mount --bind "$1/log" "$2$3" && '
            'mount -t proc proc "$2/proc" && mount --rbind /dev "$2/dev"'
        )
        start = f'{mount} && root="$2" && shift 3 && exec chroot "$root" env "$@" -C /lab/etc/asterisk.conf'
        with (self._folder / "console").open("w") as console:
            places = (self._folder, self._root, LOGS)
            asterisk = ("/usr/sbin/asterisk", *self._options.split())
            command = self._host.command("sh", "-c", start, "sh", *places, *self._environment, *asterisk)
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        if wait:
            self.wait_until_up()

    def wait_until_up(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_LIMIT
        while not self._answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Asterisk does not answer:\n{self._complaints()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            end(self._process)

    def kill(self) -> None:
        """End it as the kernel does when memory runs out."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it hang for a while: its sockets stay open, and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def with_environment(self, *words: str) -> Iterator[None]:
        """Run with these words for env(1) for a while; a restart each way."""
        self._environment = list(words)
        try:
            self._again("")
            yield
        finally:
            self._environment = []
            self._again("")

    @property
    def root(self) -> Path:
        """Give the root tree it lives in."""
        return self._root

    @property
    def process(self) -> int:
        """Give its process number."""
        assert self._process is not None
        return self._process.pid

    def say(self, command: str) -> str:
        """Give a command of Asterisk's own command line."""
        assert self._process is not None
        inside = ["nsenter", f"--target={self._process.pid}", "--mount", "--net", "chroot", self._root]
        ask = [*inside, "/usr/sbin/asterisk", "-C", "/lab/etc/asterisk.conf", "-rx", command]
        return subprocess.run(ask, check=True, capture_output=True, text=True, timeout=30).stdout

    @contextlib.contextmanager
    def configured(self, reload: str = "", **files: str) -> Iterator[None]:
        """Change files (`manager_conf=...`) for a while; a restart each way, or the command that reads them again."""
        changed = {name.replace("_conf", ".conf"): text for name, text in files.items()}
        self._write(changed)
        try:
            self._again(reload)
            yield
        finally:
            self._write({name: self._files[name] for name in changed})
            self._again(reload)

    def _again(self, reload: str) -> None:
        if reload:
            self.say(reload)
        else:
            self.stop()
            self.start()

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            Caller(self._neighbour, self._host, "tcp") as caller,
            contextlib.closing(Ami(self._host)),
        ):
            return caller.register("100", "right-100", expires=1) is True
        return False

    def _complaints(self) -> str:
        logs = [self._folder / "console", *sorted((self._folder / "log").glob("messages*"))]
        said = "".join(path.read_text(errors="replace") for path in logs if path.exists())
        return "\n".join(said.splitlines()[-30:])
