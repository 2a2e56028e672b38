"""One life of the daemon: the real service with all its parts, on virtual time, with a simulated kernel and Asterisk.

What is put in place of the real thing: clocks, threads, the sockets to Asterisk and to people, this host's addresses,
scheduling. All else is what `astguard run` runs.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from guard.daemon import allowance, logwatch, service
from guard.daemon.inputs import Inputs
from guard.errors import GuardError
from guard.sensors import amilink, names
from guard.sensors.amilink import Endpoint
from guard.settings.config import parse_config
from guard.settings.rulefile import RuleSet
from guard.store import writer
from tests.sim.clockwork import Crash, Loop, Thread, Time
from tests.sim.disk import SimClaim
from tests.sim.kernel import Front

SECRET = "s3cret-of-the-simulation"


def inputs_of(folder, rules, *, mode="enforce", allow=("192.0.2.0/28",), ports=(5060, 5061), logs=True, names=()):
    """Make what the daemon reads from files, without the files."""
    listed = "".join(f"  - {entry}\n" for entry in (*allow, *names))
    logs_text = (
        f"{{messages: {folder}/messages.log, security: {folder}/security.log, timezone: UTC}}"
        if logs
        else "{messages: no, security: no}"
    )
    text = (
        f"mode: {mode}\nami: {{secret: {SECRET}}}\nallow:\n{listed}state: {folder}/state.db\n"
        f"control: {folder}/control.sock\nlogs: {logs_text}\n"
        f"firewall: {{backend: memory, sip_ports: [{', '.join(map(str, ports))}], bans_max: 1000}}\n"
    )
    config = parse_config(text.encode(), folder / "astguard.yaml")
    ruleset = RuleSet(tuple(rules), {rule.name: Path(f"/rules/{rule.name}.yaml") for rule in rules}, {}, {})
    endpoint = Endpoint("127.0.0.1", 5038, "astguard", SECRET)
    return Inputs(config, ruleset, endpoint, (SECRET,), logs)


class Life:
    """From a start to a stop or a crash. `dead` tells everything of it to change nothing any more."""

    def __init__(self, world, inputs):
        self.world = world
        self.clock, self.disk, self.chance = world.clock, world.disk, world.chance
        self.inputs = inputs
        self.dead = False
        self.is_up = False
        self.writers, self.claims = [], []
        self.answers = []
        self.loop = Loop(world.clock, world.chance, world.asterisk, self._fault)
        self.front = Front(world.kernel, hears=world.chance.random() < 0.7)
        self.read_at = (0, 0)
        self.service = None
        self.task = None

    @contextmanager
    def _in_place(self):
        """Put the simulation's parts in place for as long as this life runs."""
        world, clock = self.world, Time(self.clock)
        claim = type("Claim", (SimClaim,), {"life": self})
        own = SimpleNamespace(Thread=Thread(lambda: self.loop, world.chance))
        made = partial(names.Names, mono_ns=clock.monotonic_ns, resolve=world.resolve)
        with ExitStack() as stack:
            for place, name, value in (
                (service, "time", clock),
                (logwatch, "time", clock),
                (writer, "time", clock),
                (writer, "write", world.disk.write),
                (names, "threading", own),
                (allowance, "Names", made),
                (amilink, "secrets", SimpleNamespace(token_hex=lambda _: f"token-{world.chance.getrandbits(40):x}")),
                (service, "choose", lambda _backend: self.front),
                (service, "Claim", claim),
                (service, "ControlServer", _NoSocket),
                (service, "Priority", _NoPriority),
                (service, "watch_own", self._watch_own),
                (service, "_spare_the_collector", lambda: None),
            ):
                stack.enter_context(mock.patch.object(place, name, value))
            yield

    def begin(self):
        """Start the daemon."""
        with self._in_place():
            asyncio.events._set_running_loop(self.loop)
            try:
                self.service = service.Service(self.inputs, self.world.own, read=lambda: self.inputs)
            finally:
                asyncio.events._set_running_loop(None)
            self.world.laws.watch(self)
            self.task = self.loop.create_task(self.service.run())

    def live(self, duration):
        """Let virtual time pass; False if the daemon has ended or was killed meanwhile."""
        with self._in_place():
            try:
                self.loop.run_for(duration)
            except Crash:
                self.die()
                return False
            if self.task.done():
                self._end()
                return False
        self.is_up = self.service._desk._opened.is_set()
        return True

    def ask(self, what, question, *arguments):
        """Ask the desk, as the control socket does; laws get the answer."""

        async def whole():
            try:
                await self.service._desk.ready()
                answer = question(*arguments)
                if asyncio.iscoroutine(answer):
                    answer = await answer
            except GuardError as error:
                self.world.laws.answered(self, what, arguments, error)
            else:
                self.world.laws.answered(self, what, arguments, answer)

        task = self.loop.create_task(whole())
        self.answers.append(task)
        task.add_done_callback(self._asked)

    def _asked(self, task):
        self.answers.remove(task)
        if not task.cancelled() and task.exception() is not None:
            self.world.laws.fault({"message": "a question failed", "exception": task.exception()})

    def _fault(self, context):
        if not self.dead:
            self.world.laws.fault(context)

    def stop(self):
        """Send SIGTERM and wait for the end."""
        self.loop.kill(signal.SIGTERM)
        for _ in range(40):
            if not self.live(1_000_000_000):
                return
        raise AssertionError("the daemon did not stop within 40 s")

    def _end(self):
        error = None if self.task.cancelled() else self.task.exception()
        if error is not None and not isinstance(error, GuardError):
            raise error
        self.world.note(f"ended {error!r}")
        self.die()

    def die(self):
        """Be gone at once, as after kill -9: nothing of it acts any more, and its files are closed by the system."""
        self.world.laws.buried(self)
        self.dead = self.front.dead = True
        self.is_up = False
        for made in self.writers:
            made._close()
        for claim in self.claims:
            claim.release()
        tasks = asyncio.all_tasks(self.loop)
        logging.disable(logging.CRITICAL)  # the dead say nothing
        try:
            for task in tasks:
                task._log_destroy_pending = False
                _bury(task.get_coro())
            for task in tasks:
                _bury(task.get_coro())
        finally:
            logging.disable(logging.NOTSET)
        self.loop.close()

    async def _watch_own(self, on_change):
        while True:
            on_change(self.world.own)
            await asyncio.sleep(60)


def _bury(coroutine):
    """Let a coroutine that will never go on give up its frames, whatever it wants to say on the way."""
    for _ in range(50):
        try:
            coroutine.close()
        except (RuntimeError, GuardError, AssertionError):
            continue
        except BaseException:  # noqa: BLE001 - it is dead
            continue
        return


class _NoSocket:
    """In place of the control socket: nobody calls, the questions come straight to the desk."""

    def __init__(self, *_, **__):
        pass

    async def start(self):
        pass

    async def stop(self):
        pass


class _NoPriority:
    """In place of the scheduler's favour."""

    def __init__(self, *_, **__):
        pass

    def start(self):
        pass

    stop = spend = start
