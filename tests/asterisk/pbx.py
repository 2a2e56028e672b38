"""A running Asterisk: its configuration, its process inside a network namespace and its root tree, and its AMI."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from tests.asterisk.network import end
from tests.asterisk.sip import Caller

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.asterisk.network import Host

AMI_SECRET = "read-only-events"
ACCOUNTS = ("100", "101", "102")
"""SIP accounts of the PBX; the password of 100 is right-100, and so on."""

CERTIFICATE = Path(__file__).parents[1] / "daemon/localhost.pem"
"""For localhost and 127.0.0.1, signed by itself; its key is of no use anywhere else."""

START_LIMIT = 60.0

CONFIGURATION = {
    "asterisk.conf": """\
[directories]
astcachedir => /lab/cache
astetcdir => /lab/etc
astmoddir => {modules}
astvarlibdir => /var/lib/asterisk
astdbdir => /lab/db
astkeydir => /lab/keys
astdatadir => /usr/share/asterisk
astagidir => /usr/share/asterisk/agi-bin
astspooldir => /lab/spool
astrundir => /lab/run
astlogdir => /lab/log
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
tlsenable=yes
tlsbindaddr=127.0.0.1:5039
tlscertfile=/lab/keys/localhost.pem

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
    "pjsip.conf": """\
[udp]
type=transport
protocol=udp
bind=0.0.0.0:5060

[tcp]
type=transport
protocol=tcp
bind=0.0.0.0:5060
""",
}
ACCOUNT = """
[{name}]
type=endpoint
auth={name}
aors={name}

[{name}]
type=auth
auth_type=userpass
username={name}
password=right-{name}

[{name}]
type=aor
max_contacts=1
remove_existing=yes
"""
MODULES = """
    res_pjproject res_sorcery_config res_sorcery_memory res_sorcery_astdb res_timing_timerfd
    res_pjsip res_pjsip_authenticator_digest res_pjsip_endpoint_identifier_user res_pjsip_registrar
"""
"""Enough to register and to be refused; no calls are made here."""


class Ami:
    """A bare reader of AMI, to see what Asterisk says without any code of astguard's."""

    def __init__(self, pbx: Host) -> None:
        with pbx.entered():
            self._socket = socket.create_connection(("127.0.0.1", 5038), timeout=10)
        self._unread = b""
        self._socket.sendall(f"Action: Login\r\nUsername: astguard\r\nSecret: {AMI_SECRET}\r\n\r\n".encode())

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
    ) -> None:
        """`changes` replaces or adds files of the configuration; accounts of its own come with a pjsip.conf."""
        self._root, self._host, self._neighbour, self._folder = root, host, neighbour, folder
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("etc", "log", "run", "spool", "db", "keys", "cache"):
            (folder / name).mkdir(parents=True)
        shutil.copy(CERTIFICATE, folder / "keys")
        there = next(path for path in root.glob("usr/lib/**/asterisk/modules") if path.is_dir())
        loads = "".join(f"load = {name}.so\n" for name in modules.split())
        accounts = "".join(ACCOUNT.format(name=name) for name in ACCOUNTS)
        files = {**CONFIGURATION, "pjsip.conf": CONFIGURATION["pjsip.conf"] + accounts, **changes}
        for name, text in files.items():
            filled = text.replace("{modules}", f"/{there.relative_to(root)}").replace("{loads}", loads)
            (folder / "etc" / name).write_text(filled)

    def start(self) -> None:
        """Start it, and wait until SIP and AMI both answer: AMI comes first, PJSIP some time later."""
        # `ip netns exec` gives the process a mount namespace of its own: what is mounted here vanishes with it.
        mount = 'mount --bind "$1" "$2/lab" && mount -t proc proc "$2/proc" && mount --rbind /dev "$2/dev"'
        start = f'{mount} && exec chroot "$2" /usr/sbin/asterisk -f -C /lab/etc/asterisk.conf'
        with (self._folder / "console").open("w") as console:
            command = self._host.command("sh", "-c", start, "sh", self._folder, self._root)
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        deadline = time.monotonic() + START_LIMIT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Asterisk does not answer:\n{self._complaints()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            end(self._process)

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            Caller(self._neighbour, self._host, "tcp") as caller,
            contextlib.closing(Ami(self._host)),
        ):
            return caller.register(ACCOUNTS[0], f"right-{ACCOUNTS[0]}") is True
        return False

    def _complaints(self) -> str:
        said = "".join(
            path.read_text() for path in (self._folder / "console", self._folder / "log/messages") if path.exists()
        )
        return "\n".join(said.splitlines()[-30:])
