"""Runs in the peers' tree, with fail2ban's own Python: reads jobs, writes who was banned and when (see fail2ban.py)."""

# ruff: noqa: SLF001 - what its socket would reach is private here

import json
import sys
from pathlib import Path

sys.path.insert(0, "/usr/lib/python3/dist-packages")

from fail2ban.client.jailreader import JailReader
from fail2ban.server.mytime import MyTime
from fail2ban.server.server import Server

NAME = "asterisk"


def configured(maxretry, allow):
    """Make the jail as its own reader and server make it, without actions and log files."""
    reader = JailReader(NAME, force_enable=True, basedir="/etc/fail2ban")
    if not (reader.read() and reader.getOptions()):
        sys.exit("the jail cannot be read")
    server = Server()
    for command in reader.convert(allow_no_files=True, systemd_if_nologs=False):
        if command[0] == "add":
            command = ["add", NAME, "polling"]  # noqa: PLW2901 - no file is watched, the lines come from here
        if "addaction" not in command and "action" not in command:
            obey(server, command)
    if maxretry is not None:
        obey(server, ["set", NAME, "maxretry", str(maxretry)])
    for source in allow:
        obey(server, ["set", NAME, "addignoreip", source])
    return server._Server__jails[NAME]


def obey(server, command):
    """Give the server a command as its socket would."""
    failed, answer = server._Server__transm.proceed(command)
    if failed:
        sys.exit(f"{command}: {answer}")


def bans(jail, lines):
    """Give the filter each line at its time; a ticket for the actions is a ban."""
    jail.filter.inOperation = True
    banned = {}
    for at, line in lines:
        MyTime.setTime(at)
        jail.filter.processLineAndAdd(line)
        while ticket := jail.getFailTicket():
            banned.setdefault(str(ticket.getID()), at)
    return list(banned.items())


def main(jobs, answer):
    """Do all jobs."""
    answers = []
    for job in json.loads(Path(jobs).read_text()):
        jail = configured(job["maxretry"], job["allow"])
        found = bans(jail, job["lines"])
        who = {"tool": job["tool"], "recording": job["recording"]}
        answers.append({**who, "bans": found, "errors": jail.filter._errors})
    Path(answer).write_text(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
