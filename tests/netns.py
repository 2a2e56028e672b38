"""Network namespaces for tests and the demo: made, wired, used and always cleaned up.

    with namespace("pbx") as pbx, namespace("attacker") as attacker:
        link(pbx, attacker, ["192.0.2.1/24"], ["192.0.2.66/24"])
        attacker.run("ping", "-c1", "192.0.2.1")
        with pbx.inside():
            server = socket.socket(...)      # lives in the namespace for good, whoever uses it

Names carry the pid of their maker, so parallel runs do not meet, and sweep() removes what a killed run left behind.
Needs root and iproute2; reason_not_to_run() says what is missing.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import shutil
import subprocess
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PREFIX = "agtest"
_NETNS = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


class Namespace:
    """One namespace, from namespace(); every process started through it ends with it."""

    def __init__(self, name):
        self.name = name
        self.path = _NETNS / name
        self.processes = []

    def run(self, *command, check=True, **options):
        """Run a command to its end and return what it printed; a failure shows its stderr."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, *map(str, command)],
            check=False,
            capture_output=True,
            text=True,
            **options,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(map(str, command))} in {self.name}: exit {done.returncode}\n{done.stderr}{done.stdout}"
            )
        return done.stdout

    def start(self, *command, **options):
        """Start a command that runs until the namespace goes (or until it is ended by the caller)."""
        process = subprocess.Popen(["ip", "netns", "exec", self.name, *map(str, command)], **options)
        self.processes.append(process)
        return process

    @contextmanager
    def inside(self):
        """Put the calling thread into the namespace for a while. Its sockets stay there; its children start there."""
        home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
            try:
                yield self
            finally:
                _setns(home)
        finally:
            os.close(there)
            os.close(home)

    def sysctl(self, key, value):
        """Set a kernel parameter of the namespace: `net/ipv6/conf/all/accept_dad`."""
        with self.inside():
            Path("/proc/sys", key).write_text(f"{value}\n")

    def end(self):
        """End every process that was started here, the stubborn ones too."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
        self.processes.clear()


def _setns(descriptor):
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def namespace(label="ns"):
    """Make a namespace with `lo` up; it goes, with its links, rules and processes, when the block ends."""
    with ExitStack() as stack:
        made = Namespace(f"{PREFIX}{os.getpid()}-{next(_numbers)}-{label}")
        _ip("netns", "add", made.name)
        stack.callback(_ip, "netns", "delete", made.name)
        stack.callback(made.end)
        # Duplicate address detection would keep a new IPv6 address unusable for one to two seconds.
        made.sysctl("net/ipv6/conf/default/accept_dad", 0)
        made.sysctl("net/ipv6/conf/default/router_solicitations", 0)
        _ip("-n", made.name, "link", "set", "lo", "up")
        yield made


def link(one, other, addresses_of_one=(), addresses_of_other=(), *, names=("eth0", "eth0")):
    """Join two namespaces by a veth pair with these addresses (`192.0.2.1/24`, `2001:db8::1/64`), both ends up."""
    ends = tuple(zip((one, other), names, (addresses_of_one, addresses_of_other), strict=True))
    _ip("link", "add", names[0], "netns", one.name, "type", "veth", "peer", "name", names[1], "netns", other.name)
    for place, name, addresses in ends:
        for address in addresses:
            add_address(place, address, name)
        _ip("-n", place.name, "link", "set", name, "up")


def add_address(place, address, name="eth0"):
    """Give an interface one more address."""
    flags = ["nodad"] if ":" in address else []
    _ip("-n", place.name, "address", "add", address, "dev", name, *flags)


def add_route(place, network, gateway=None, name="eth0"):
    """Send what is for a network (or `default`) through a gateway, or straight out of an interface."""
    via = ["via", gateway] if gateway else []
    _ip(
        "-n",
        place.name,
        *(["-6"] if ":" in network + (gateway or "") else []),
        "route",
        "add",
        network,
        *via,
        "dev",
        name,
    )


def sweep():
    """Remove namespaces of ours whose makers are gone: a killed test run cleans up nothing."""
    for path in _NETNS.glob(f"{PREFIX}*") if _NETNS.is_dir() else ():
        match = re.fullmatch(rf"{PREFIX}(\d+)-.*", path.name)
        if match and not Path("/proc", match[1]).exists():
            subprocess.run(["ip", "netns", "delete", path.name], check=False, capture_output=True)


def reason_not_to_run(*tools):
    """Say why namespaces cannot be used here, or None. `tools` are further commands that are needed."""
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    missing = [tool for tool in ("ip", *tools) if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    try:
        with namespace("probe"):
            return None
    except AssertionError as fault:
        return f"cannot make network namespaces here: {fault}"


def _ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
