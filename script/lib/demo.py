"""The demo: a recorded attack, a scripted Asterisk, the real daemon and the real kernel. Every number was counted.

script/demo starts it in namespaces of its own with an empty /run, so nothing here can reach the host. It is a test as
well: each step checks that it shows what it says, and a step that does not ends the demo with exit code 1.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path

from tests.netns import add_address, add_route, link, namespace

TREE = Path(__file__).parents[2]
FOLDER = Path("/run/astguard-demo")
RECORDING = "tests/corpus/22.10.1/pjsip-svcrack.ami"  # svcrack against Asterisk 22.10.1: 22 wrong passwords in 0.13 s
SPEED = 0.05  # twenty times slower than it was, so that eyes can follow
PBX, ATTACKER, PHONE = "203.0.113.10", "198.51.100.11", "192.0.2.21"
PORT = 5060
BEAT = 0.05  # seconds between two packets of each sender
SECRET = "played, not kept"
LIMIT = 60  # seconds for all of it
CONFIG = f"""\
ami: {{host: 127.0.0.1, port: 5038, username: astguard, secret: "{SECRET}"}}
firewall: {{backend: nftables}}
rules: ["{TREE}/rules"]
state: {FOLDER}/astguard.db
control: {FOLDER}/astguard.sock
"""
GREEN, RED, BOLD, DIM = "32", "31", "1", "2"


class StepFailed(Exception):
    """A step did not show what it says."""


def paint(text, colour):
    """Colour a text on a terminal alone."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return text if plain else f"\x1b[{colour}m{text}\x1b[0m"


def step(number, text):
    """Begin a step."""
    print(f"\n{paint(f'{number}. {text}', BOLD)}", flush=True)


def say(*lines):
    """Print what a step has to say."""
    print(*(f"   {line}".rstrip() for line in lines), sep="\n", flush=True)


def quote(line):
    """Print a line of the daemon's log."""
    say(*(paint(part, DIM) for part in textwrap.wrap(line, 74, break_on_hyphens=False)))


def expect(right, why):
    """End the demo unless this is so."""
    if not right:
        raise StepFailed(why)


class Sender:
    """One host that sends numbered UDP packets to the PBX."""

    def __init__(self, place, address, stack):
        self.address = address
        with place.inside():
            self._socket = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.bind((address, 0))
        self.sent = self.arrived = self.last_arrived = 0

    def send(self):
        """Send the next packet."""
        self.sent += 1
        self._socket.sendto(str(self.sent).encode(), (PBX, PORT))


class Traffic:
    """Both senders, and the PBX's ear on UDP port 5060 that counts what arrives."""

    def __init__(self, places, stack):
        self.attacker = Sender(places["attacker"], ATTACKER, stack)
        self.phone = Sender(places["phone"], PHONE, stack)
        self._senders = {sender.address: sender for sender in (self.attacker, self.phone)}
        with places["pbx"].inside():
            self._ear = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._ear.bind((PBX, PORT))
        self._ear.setblocking(False)
        self._next = time.monotonic()

    def beat(self):
        """Let each send one packet, and count for the length of a beat what arrives."""
        for sender in self._senders.values():
            sender.send()
        self._next = max(self._next + BEAT, time.monotonic())
        while (left := self._next - time.monotonic()) > 0:
            self._hear(left)

    def settle(self):
        """Count until all that is on its way must have arrived."""
        while self._hear(0.2):
            pass

    def run(self, beats):
        """Send so many packets each; tell how many (attacker's, phone's) of them arrived."""
        before = self.attacker.arrived, self.phone.arrived
        for _ in range(beats):
            self.beat()
        self.settle()
        return self.attacker.arrived - before[0], self.phone.arrived - before[1]

    def _hear(self, seconds):
        if not select.select([self._ear], [], [], seconds)[0]:
            return False
        data, (address, _) = self._ear.recvfrom(100)
        sender = self._senders[address]
        sender.arrived += 1
        sender.last_arrived = int(data)
        return True


class Transcript:
    """What a program writes, line by line."""

    def __init__(self, name):
        self.path = FOLDER / name
        self.lines = []
        self._read = 0
        self.file = self.path.open("wb")

    def update(self):
        """Return the lines that are new, without the clock in front of them."""
        text = self.path.read_bytes()[self._read :]
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        new = [re.sub(r"^[\d-]{10} [\d:,.]+ [A-Z]+ ", "", line) for line in whole.decode().splitlines()]
        self.lines += new
        return new


def wait_for(transcript, pattern, seconds, process):
    """Wait until a program has written a line that matches."""
    deadline = time.monotonic() + seconds
    while True:
        transcript.update()
        for line in transcript.lines:
            if re.search(pattern, line):
                return line
        ended = f" and has ended with exit code {process.returncode}" if process.poll() is not None else ""
        said = "; ".join(transcript.lines[-3:]) or "nothing"
        expect(not ended, f"{transcript.path.name} says no line like {pattern!r}{ended}; it says: {said}")
        expect(time.monotonic() < deadline, f"no line like {pattern!r} within {seconds} s, but: {said}")
        time.sleep(0.02)


def show(place, shown, *command):
    """Run a command on a host and print it with what it prints."""
    command = ["ip", "netns", "exec", place.name, *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    say(paint(f"$ {shown}", BOLD), *(done.stdout + done.stderr).expandtabs(4).splitlines())
    expect(done.returncode == 0, f"`{shown}` ended with exit code {done.returncode}")
    return done.stdout


def main():
    """Play the demo from the first step to the last."""
    FOLDER.mkdir(mode=0o700)
    started = time.monotonic()
    with ExitStack() as stack:
        step(1, "Three hosts, each a network namespace of its own")
        places = {name: stack.enter_context(namespace(name)) for name in ("pbx", "attacker", "phone")}
        pbx = places["pbx"]
        wire_up(places)
        say(f"pbx       {PBX}", f"attacker  {ATTACKER}", f"phone     {PHONE}")

        step(2, f"Before the attack: both send packets to UDP port {PORT} of the PBX")
        traffic = Traffic(places, stack)
        attacker, phone = traffic.attacker, traffic.phone
        arrived = traffic.run(10)
        expect(arrived == (10, 10), f"10 and 10 packets were sent, {arrived[0]} and {arrived[1]} arrived")
        say("attacker  10 sent, 10 arrived", "phone     10 sent, 10 arrived")

        step(3, "astguard starts on the PBX, beside a scripted Asterisk")
        daemon, log, script = start(pbx)
        quote(wait_for(log, "astguard is up", 10, daemon))
        quote(wait_for(log, "link to Asterisk .* is up", 10, daemon))

        step(4, "The attack: svcrack guesses passwords, recorded on a real Asterisk 22")
        say("Asterisk's events are played 20 times slower; packets go on, 20 a second.", "")
        ban_line = watch(traffic, log, script, daemon)
        left_through = attacker.last_arrived
        say("")
        quote(ban_line)

        step(5, "The attacker is cut off, the phone is not")
        arrived = traffic.run(20)
        say(f"attacker  20 sent, {arrived[0]} arrived; packet {left_through} was the last to come through")
        say(f"phone     20 sent, {arrived[1]} arrived")
        expect(arrived[0] == 0, f"{arrived[0]} packets of the banned attacker arrived")
        expect(arrived[1] == 20, f"20 packets of the phone were sent, {arrived[1]} arrived")

        step(6, "Who is banned, in words and in the kernel")
        astguard = [sys.executable, "-m", "guard", "--config", str(FOLDER / "astguard.yaml")]
        bans = json.loads(pbx.run(*astguard, "bans", "list", "-o", "json"))
        expect([ban["source"] for ban in bans] == [f"{ATTACKER}/32"], f"expected one ban, of the attacker, not {bans}")
        scope = bans[0]["scope"]
        show(pbx, "astguard bans list", *astguard, "bans", "list")
        say("")
        elements = show(
            pbx, f"nft list set inet astguard {scope}4_32", "nft", "list", "set", "inet", "astguard", f"{scope}4_32"
        )
        expect(ATTACKER in elements and PHONE not in elements, "the kernel's set holds something else")
        say("")
        counter = show(
            pbx,
            f"nft list counter inet astguard dropped_{scope}",
            "nft",
            "list",
            "counter",
            "inet",
            "astguard",
            f"dropped_{scope}",
        )
        lost = attacker.sent - attacker.arrived
        expect(f"packets {lost} " in counter, f"{lost} packets did not arrive, the kernel counted something else")
        say(
            "",
            f"The attacker has sent {attacker.sent} packets: {attacker.arrived} arrived, {lost} were dropped.",
            f"The phone has sent {phone.sent}: {phone.arrived} arrived.",
        )
        expect(phone.arrived == phone.sent, f"the phone sent {phone.sent} packets, {phone.arrived} arrived")

        step(7, "It was a mistake? One command, and the address is in again")
        show(pbx, f"astguard bans remove {ATTACKER}", *astguard, "bans", "remove", ATTACKER)
        arrived = traffic.run(10)
        say(f"attacker  10 sent, {arrived[0]} arrived", f"phone     10 sent, {arrived[1]} arrived")
        expect(arrived == (10, 10), f"10 and 10 packets were sent, {arrived[0]} and {arrived[1]} arrived")

        step(8, "astguard stops, the three hosts go")
        daemon.send_signal(signal.SIGTERM)
        expect(daemon.wait(10) == 0, f"astguard ended with exit code {daemon.returncode}")
        log.update()
        quote(log.lines[-1])
    expect(not any(Path("/run/netns").iterdir()), "a network namespace is left")
    say(f"{time.monotonic() - started:.1f} s in all. What is left on this host:")


def wire_up(places):
    """Join attacker and phone to the PBX, each by a wire of its own."""
    for name, address in (("attacker", ATTACKER), ("phone", PHONE)):
        gateway = address.rpartition(".")[0] + ".1"
        link(places["pbx"], places[name], [f"{gateway}/24"], [f"{address}/24"], names=(name, "eth0"))
        add_route(places[name], "default", gateway)
    add_address(places["pbx"], f"{PBX}/32", "lo")


def start(pbx):
    """Start the scripted Asterisk, then the daemon; return the daemon, its log, and what the script has played."""
    (FOLDER / "astguard.yaml").write_text(CONFIG)
    script, log = Transcript("asterisk"), Transcript("astguard")
    play = [
        "--host",
        "127.0.0.1",
        "--port",
        5038,
        "--username",
        "astguard",
        "--secret",
        SECRET,
        "--play",
        RECORDING,
        "--speed",
        SPEED,
    ]
    asterisk = pbx.start(
        sys.executable, "-m", "tests.scripted_asterisk", *play, stdout=script.file, stderr=subprocess.STDOUT
    )
    wait_for(script, "listening", 10, asterisk)
    daemon = pbx.start(
        sys.executable,
        "-m",
        "guard",
        "run",
        "--config",
        FOLDER / "astguard.yaml",
        stdout=log.file,
        stderr=subprocess.STDOUT,
    )
    return daemon, log, script


def watch(traffic, log, script, daemon):
    """Print a line each half second until half a second after the attack; return the daemon's line of the ban."""
    attacker, phone = traffic.attacker, traffic.phone
    say(paint("seconds  wrong passwords  attacker's packets   phone's packets", BOLD))
    started, ban_line, over, played = time.monotonic(), "", False, 0
    while not over:
        over = "end" in script.lines
        before = attacker.sent, attacker.arrived, phone.sent, phone.arrived
        for _ in range(10):
            traffic.beat()
        played += script.update().count(f"played ChallengeResponseFailed {ATTACKER}")
        ban_line = next((line for line in log.update() if line.startswith(f"ban {ATTACKER}")), ban_line)
        after = attacker.sent, attacker.arrived, phone.sent, phone.arrived
        sent, came, *of_phone = (new - old for new, old in zip(after, before, strict=True))
        fate = paint(f"{sent} sent, {came} arrived".ljust(19), GREEN if came == sent else RED)
        seconds = time.monotonic() - started
        row = f"{seconds:7.1f}{played:>17}  {fate}  {of_phone[0]} sent, {of_phone[1]} arrived"
        say(row + ("  banned" if ban_line else ""))
        expect(daemon.poll() is None, f"astguard has ended: {'; '.join(log.lines[-3:])}")
        expect(seconds < 20, "the recording was not played to its end within 20 s")
    expect(ban_line, f"the attack is over and nobody was banned; astguard says: {'; '.join(log.lines[-3:])}")
    return ban_line


def give_up(*_):
    """End a demo that hangs."""
    raise StepFailed(f"not over after {LIMIT} s")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT)
    try:
        main()
    except (StepFailed, AssertionError, OSError, subprocess.SubprocessError) as fault:
        sys.exit(f"script/demo: this step did not show what it says: {fault}")
    except KeyboardInterrupt:
        sys.exit(130)
