"""The process of the supplements, clause by clause of docs/supplements.md: each test runs a real one."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from guard.core.alarm import Alarm, Kind
from guard.core.ban import Op
from guard.core.outcome import Outcome
from guard.core.units import Instant
from guard.daemon import supplements as module
from tests.daemon.linking import run
from tests.daemon.supplementing import Running, Site, ban, wanted
from tests.events import event

TREE = Path(__file__).parents[2]


@pytest.fixture
def site(monkeypatch):
    site = Site()
    monkeypatch.syspath_prepend(site.path)
    yield site
    site.remove()


@pytest.fixture
def running(caplog, site):
    """Run a story with some supplements; at its end they are stopped."""
    caplog.set_level(logging.INFO, "astguard")

    def tell(text, told):
        async def whole():
            all_of_it = Running(caplog)
            all_of_it.supplements.start(wanted(text))
            try:
                await told(all_of_it)
            finally:
                await all_of_it.supplements.stop()
            return all_of_it

        return run(whole())

    return tell


ALL = """
    class make:
        def __init__(self, options): self.name = options.get("as", "one")
        def after_ban(self, ban): print(self.name, "ban", ban.address, ban.observed, ban.stored)
        def after_unban(self, unban): print(self.name, "unban", unban.address, unban.early)
        def on_alarm(self, alarm): print(self.name, "alarm", alarm.kind, alarm.account)
        def on_outcome(self, outcome): print(self.name, "outcome", outcome.address, outcome.account, outcome.outcome)
        def close(self): print(self.name, "close")
"""


def test_each_thing_is_told_once_in_order_and_at_the_end_they_may_close(running, site):
    site.install("all", ALL)

    async def told(it):
        await it.up()
        it.supplements.weighed([event(account="1\x1b01")], [Outcome.COUNTED])
        it.supplements.changed(ban(1), stored=True)
        it.supplements.changed(ban(2, Op.OBSERVE), stored=True)
        it.supplements.changed(ban(1, Op.REMOVE), stored=True)
        it.supplements.changed(ban(2, Op.EXPIRE), stored=True)
        it.supplements.alarmed(Alarm(kind=Kind.BROKEN_PHONE, at=Instant(0), text="x", account="\u202e101"))

    it = running("supplements: {name: all}", told)
    assert it.said == [
        r"one outcome 198.51.100.7 1\x1b01 counted", "one ban 198.51.100.1 False True", "one ban 198.51.100.2 True False",
        "one unban 198.51.100.1 True", "one unban 198.51.100.2 False", r"one alarm broken-phone \u202e101", "one close",
    ]  # fmt: skip
    assert (it.count("told"), it.count("dropped"), it.count("failed"), it.count("restarts")) == (6, 0, 0, 0)


def test_lower_priorities_come_first(running, site):
    for name in ("one", "two", "three"):
        site.install(name, ALL)

    async def told(it):
        await it.up()
        it.supplements.changed(ban(), stored=True)

    it = running(
        "supplements: [{name: one, options: {as: a}}, {name: two, priority: 9, options: {as: b}},"
        " {name: three, priority: 10, options: {as: c}}]",
        told,
    )
    assert [line[0] for line in it.said if "ban" in line] == ["b", "c", "a"]


def test_what_happens_before_they_are_up_waits_for_them(running, site):
    site.install("all", ALL)

    async def told(it):
        it.supplements.changed(ban(), stored=True)
        await it.until(lambda: it.said)

    assert running("supplements: {name: all}", told).said[0] == "one ban 198.51.100.7 False True"


def test_outcomes_are_written_only_if_somebody_wants_them(running, site):
    site.install(
        "bans", "class make:\n def __init__(self, options): pass\n def after_ban(self, ban): print(ban.address)\n"
    )

    async def told(it):
        await it.up()
        it.supplements.weighed([event()], [Outcome.COUNTED])
        it.supplements.alarmed(Alarm(kind=Kind.MUTED, at=Instant(0), text="x"))
        it.supplements.changed(ban(), stored=True)

    it = running("supplements: {name: bans}", told)
    assert (it.said, it.count("told")) == (["198.51.100.7"], 1)


def test_values_cannot_be_changed_and_an_error_ends_one_call_only(running, site):
    site.install("vandal", """
        class make:
            def __init__(self, options):
                try: options["x"] = "y"
                except TypeError: print("options are fixed")
            def after_ban(self, ban):
                ban.address = "192.0.2.1"
    """)  # fmt: skip
    site.install("all", ALL)

    async def told(it):
        await it.up()
        for number in (1, 2):
            it.supplements.changed(ban(number), stored=True)

    it = running("supplements: [{name: vandal, priority: 1}, {name: all}]", told)
    assert "options are fixed" in it.said
    assert [line for line in it.said if " ban " in line] == [f"one ban 198.51.100.{n} False True" for n in (1, 2)]
    assert (it.count("failed"), it.count("restarts")) == (2, 0)
    assert sum(line.startswith("vandal: after_ban raised AttributeError") for line in it.said) == 2


def test_one_that_cannot_be_made_is_left_out_and_named(running, site):
    site.install("broken", "def make(options): raise ValueError('colour is missing')")
    site.install("gone", "raise SystemExit(3)")
    site.install("all", ALL)

    async def told(it):
        await it.up()
        assert it.supplements.missing == {
            "broken": "cannot be made: ValueError: colour is missing", "gone": "cannot be made: SystemExit: 3",
        }  # fmt: skip
        it.supplements.changed(ban(), stored=True)

    it = running("supplements: [{name: broken}, {name: gone}, {name: all}]", told)
    assert it.count("failed") == 2
    assert "one ban 198.51.100.7 False True" in it.said
    assert any("supplement broken: cannot be made" in line for line in it.log)


CRASHES = """
    import os
    class make:
        def __init__(self, options): pass
        def after_ban(self, ban):
            if ban.address.endswith(".13"): os._exit(7)
            print("told of", ban.address)
        def lost(self, count): print("lost", count)
"""


def test_a_crash_costs_a_restart_and_what_was_in_the_pipe(running, site, monkeypatch):
    monkeypatch.setattr(module, "AGAIN_FIRST", 0.05)
    site.install("crashes", CRASHES)

    async def told(it):
        await it.up()
        it.supplements.changed(ban(1), stored=True)
        await it.until(lambda: it.said)
        for number in (13, 2, 3):
            it.supplements.changed(ban(number), stored=True)
        await it.until(lambda: it.count("restarts") == 1)
        assert it.supplements.problem == "their process ended with code 7"
        it.supplements.changed(ban(4), stored=True)
        await it.up(times=2)
        await it.until(lambda: it.said[-1].startswith("lost"))
        assert it.supplements.problem == ""

    it = running("supplements: {name: crashes}", told)
    assert "told of 198.51.100.1" in it.said
    assert it.said[-2:] == ["told of 198.51.100.4", "lost 3"]
    assert (it.count("told"), it.count("dropped"), it.count("restarts")) == (5, 3, 1)


def test_one_that_hangs_costs_a_restart(running, site, monkeypatch):
    for name, value in (("HANG", 0.5), ("LOOK", 0.05), ("AGAIN_FIRST", 0.05)):
        monkeypatch.setattr(module, name, value)
    site.install("hangs", """
        import time
        class make:
            def __init__(self, options): pass
            def after_ban(self, ban):
                if ban.address.endswith(".13"): time.sleep(1000)
                print("told of", ban.address)
    """)  # fmt: skip

    async def told(it):
        await it.up()
        it.supplements.changed(ban(13), stored=True)
        await it.until(lambda: it.count("restarts") == 1)
        await it.up(times=2)
        it.supplements.changed(ban(1), stored=True)
        await it.until(lambda: it.said[-1] == "told of 198.51.100.1")

    it = running("supplements: {name: hangs}", told)
    assert any("their process hung for" in line for line in it.log)


def test_a_crash_in_a_row_waits_longer_each_time(running, site, monkeypatch):
    monkeypatch.setattr(module, "AGAIN_FIRST", 0.05)
    site.install("dies", "import os\nos._exit(1)")

    async def told(it):
        await it.until(lambda: it.count("restarts") == 3)

    it = running("supplements: {name: dies}", told)
    waits = [line.rpartition("again in ")[2] for line in it.log if "again in" in line]
    assert waits == sorted(waits)


def test_a_full_pipe_is_never_waited_for_and_all_are_accounted_for(running, site):
    site.install("slow", """
        import time
        class make:
            def __init__(self, options): self.told = self.gone = 0
            def after_ban(self, ban):
                if not self.told: time.sleep(1)
                self.told += 1
            def lost(self, count): self.gone += count
            def close(self): print("told", self.told, "lost", self.gone)
    """)  # fmt: skip
    number = 20_000

    async def told(it):
        await it.up()
        for _ in range(number):
            it.supplements.changed(ban(), stored=True)
        assert it.count("dropped") > 1_000, "so many do not fit, and nobody has waited"
        await it.until(lambda: it.supplements._handled == it.supplements._told)
        it.supplements.changed(ban(), stored=True)

    it = running("supplements: {name: slow}", told)
    assert it.count("told") + it.count("dropped") == number + 1
    assert it.said[-1] == f"told {it.count('told')} lost {it.count('dropped')}"


def test_what_they_write_is_bounded_and_shown_harmless(running, site):
    site.install("loud", r"""
        class make:
            def __init__(self, options): pass
            def after_ban(self, ban):
                print("\x1b[2J\u202eboo")
                print("x" * 100_000)
                for _ in range(500): print("again")
    """)  # fmt: skip

    async def told(it):
        await it.up()
        it.supplements.changed(ban(), stored=True)
        await it.until(lambda: it.count("unsaid") > 400)

    it = running("supplements: {name: loud}", told)
    assert it.said[0] == r"\x1b[2J\u202eboo"
    assert all(len(line) <= 500 for line in it.said)
    assert len(it.said) <= module.LINES_A_MINUTE


TRIES = """
    import ctypes, fcntl, os, signal, socket, struct, subprocess, threading
    def queue(pid):  # rt_sigqueueinfo; as signal 0 it only asks whether it might
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.sigqueue(pid, 0, ctypes.c_void_p(0)):
            raise OSError(ctypes.get_errno(), "sigqueue")
    class make:
        def __init__(self, options): self.options = options
        def after_ban(self, ban):
            for name, act in (
                ("state", lambda: open(self.options["state"]).read()),
                ("write", lambda: open(self.options["state"] + ".new", "w")),
                ("beside", lambda: os.listdir(os.path.dirname(self.options["state"]))),
                ("unix", lambda: socket.socket(socket.AF_UNIX).connect(self.options["socket"])),
                ("kill", lambda: os.kill(os.getppid(), 0)),
                ("queue", lambda: queue(os.getppid())),
                ("owner", lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid())),
                ("group", lambda: fcntl.ioctl(0, 0x8901, struct.pack("i", os.getppid()))),
                ("memory", lambda: open(f"/proc/{os.getppid()}/mem", "rb").read(1)),
                ("limits", lambda: __import__("resource").prlimit(os.getppid(), 7, (9, 9))),
                ("netlink", lambda: socket.socket(16, socket.SOCK_RAW, 12).send(b"")),
                ("root", lambda: os.setuid(0)),
                ("program", lambda: subprocess.run(["/usr/bin/id"], check=True, stdout=-3) and "ran"),
                ("inet", lambda: socket.create_connection(("127.0.0.1", 1))),
                ("thread", lambda: threading.Thread(target=int).start()),
            ):
                try: print(name, "ok", act())
                except BaseException as error: print(name, "no", type(error).__name__)
            held = []
            for number in range(3, 64):
                try: held.append(os.readlink(f"/dev/fd/{number}") or os.fstat(number))
                except OSError:
                    try: held.append(os.fstat(number).st_mode)
                    except OSError: pass
            print("descriptors", len(held), "groups", os.getgroups(), "root", os.getuid() == 0)
"""
"""What it may have open: the pipe it reads from, and the one it says to the guard what it has done."""


def check_shut_in(said):
    tried = {line.split()[0]: line.split()[1:] for line in said}
    for what in ("state", "write", "beside", "unix", "kill", "queue", "memory", "limits", "root"):
        assert tried[what][:1] == ["no"], (what, tried[what])
    assert tried["inet"] == ["no", "ConnectionRefusedError"]
    assert tried["thread"][0] == "ok"
    assert tried["program"][0] == "ok"
    assert tried["descriptors"][0] == "2"
    assert tried["descriptors"][1:] == ["groups", "[]", "root", "False"] or os.getuid() != 0


def test_they_can_reach_neither_state_nor_socket_nor_guard(running, site, tmp_path):
    site.install("tries", TRIES)
    state = tmp_path / "state.db"
    state.write_text("precious")
    state.chmod(0o600)
    path = tmp_path / "control.sock"

    async def told(it):
        server = await asyncio.start_unix_server(lambda _, writer: writer.close(), path)
        await it.up()
        it.supplements.changed(ban(), stored=True)
        await it.until(lambda: it.said and it.said[-1].startswith("descriptors"))
        server.close()
        await server.wait_closed()

    it = running(f"supplements: {{name: tries, options: {{state: {state}, socket: {path}}}}}", told)
    check_shut_in(it.said)
    assert not state.with_name("state.db.new").exists()


SCRIPT = """
import asyncio, logging, sys, time
from guard.core.tally import Tally
from guard.daemon.supplements import Supplements
from tests.daemon.supplementing import ban, wanted
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
async def main():
    supplements = Supplements(Tally(), now=time.monotonic_ns, wall=time.time_ns)
    supplements.start(wanted(sys.argv[1]))
    supplements.changed(ban(), stored=True)
    await asyncio.sleep(float(sys.argv[2]))
    await supplements.stop()
asyncio.run(main())
"""


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user with a capability takes root")
def test_a_guard_that_is_not_root_keeps_its_capability_and_its_files_to_itself(site):
    """As under systemd: the same user, with CAP_NET_ADMIN among its ambient capabilities."""
    site.install("tries", TRIES)
    state = Path(tempfile.mkdtemp(prefix="state-")) / "state.db"
    state.write_text("precious")
    for path in (state, state.parent):
        os.chown(path, 65534, 65534)
    text = f"supplements: {{name: tries, options: {{state: {state}, socket: {state}}}}}"
    became = (
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=+net_admin",
        "--ambient-caps=+net_admin",
    )
    path = os.pathsep.join([str(TREE), str(site.path), *_readable()])
    done = subprocess.run(
        [*became, "/usr/bin/python3", "-B", "-c", SCRIPT, text, "3"],
        cwd="/", env={"PATH": os.defpath, "PYTHONPATH": path}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    shutil.rmtree(state.parent)
    said = [line.removeprefix("supplements: ") for line in done.stdout.splitlines() if line.startswith("supplements: ")]
    assert said, done.stdout + done.stderr
    check_shut_in(said)
    for way in ("owner", "group"):  # of a descriptor, whose signals the kernel would send in its name
        assert f"{way} no PermissionError" in said, said


def _shown(pid):
    """Return what everybody may see of a process, and its environment."""
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


def _readable():
    """Name folders of libraries that any user may enter."""
    return [path for path in sys.path if path.startswith("/usr/")]


def test_they_end_with_the_guard_however_it_ends(site):
    site.install("pid", """
        import os
        class make:
            def __init__(self, options): print("pid", os.getpid())
            def after_ban(self, ban): pass
    """)  # fmt: skip
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TREE), str(site.path), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-B", "-c", SCRIPT, "supplements: {name: pid}", "60"],
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    ) as guard:
        pid = next(int(line.split()[-1]) for line in guard.stdout if "pid" in line)
        descriptor = os.pidfd_open(pid)
        command = _shown(pid)
        guard.kill()
        guard.wait()
    try:
        assert select.select([descriptor], [], [], 10)[0], "it lives on"
    finally:
        os.close(descriptor)
    assert b"supplements.child" in command


def test_options_are_not_to_be_seen_among_the_processes(running, site):
    site.install("pid", """
        import os
        class make:
            def __init__(self, options): print("pid", os.getpid(), options["key"] == "s3cret")
            def after_ban(self, ban): pass
    """)  # fmt: skip

    async def told(it):
        await it.until(lambda: it.said)
        pid = it.said[0].split()[1]
        assert it.said[0].endswith("True")
        found.append(_shown(pid))

    found = []
    it = running("supplements: {name: pid, options: {key: s3cret}}", told)
    assert b"supplements.child" in found[0]
    assert b"s3cret" not in found[0]
    assert not any("s3cret" in line for line in it.log)


def test_a_stop_waits_for_nobody_for_long(running, site, monkeypatch):
    monkeypatch.setattr(module, "STOP_SECONDS", 0.3)
    site.install("stays", """
        import time
        class make:
            def __init__(self, options): pass
            def after_ban(self, ban): print("told"); time.sleep(1000)
    """)  # fmt: skip

    async def told(it):
        it.supplements.changed(ban(), stored=True)
        await it.until(lambda: it.said)

    it = running("supplements: {name: stays}", told)
    assert it.said == ["told"]
