"""`astguard setup`: makes what astguard needs to hear Asterisk, after showing it; `--undo` takes it back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from guard.cli import options as common
from guard.cli.lifelines import YOUR_OWN, lifelines
from guard.cli.options import UsageError, add_command, agree, consents
from guard.cli.output import GREEN, YELLOW, Output, note, paint
from guard.core.text import printable
from guard.errors import ConfigError, HostError

if TYPE_CHECKING:
    from argparse import Namespace

    from guard.asterisk.telephony import Trunk
    from guard.cli.options import Commands
    from guard.core.address import Source
    from guard.host.place import Place
    from guard.settings.config import Config
    from guard.setup.plan import Change, Plan

TEXT_LIMIT = 1_000


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "Find Asterisk on this host, show what would be changed, ask, and then make AMI's user with the least rights, "
        "the file with its secret, astguard.yaml in mode observe with a proposed allowlist, and the logs that are "
        "missing; reload Asterisk's manager and logger, and see that a security event arrives. Nothing is restarted, "
        "and what is there already stays. Run again, it does what is missing."
    )
    parser = add_command(commands, "setup", _setup, about, "setup --dry-run", "setup", "setup --undo")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="show every changed line, and change nothing")
    parser.add_argument("--undo", action="store_true", help="take back what setup did on this host")
    parser.add_argument(
        "--bind-loopback",
        action="store_true",
        help="where AMI listens for other hosts, have it listen for this one alone",
    )
    parser.add_argument(
        "--asterisk-conf", type=Path, metavar="FILE", help="Asterisk's asterisk.conf, if it is not found"
    )


def _setup(options: Namespace) -> int:
    from guard.host import access
    from guard.host.place import find_asterisk
    from guard.setup.configuration import config_now
    from guard.setup.plan import LOGGER_RELOAD, MANAGER_RELOAD
    from guard.setup.record import FOLDER

    path: Path = (options.config or common.DEFAULT_CONFIG).absolute()
    if options.undo and (options.dry_run or options.bind_loopback):
        raise UsageError("--undo stands alone; see 'astguard setup --help'")
    config = config_now(path)
    if not access.is_root() and not options.dry_run:
        raise HostError("setup changes files of root and of Asterisk; run it as root, or with --dry-run")
    if options.undo:
        return _undo(options, path.parent / FOLDER)
    place = find_asterisk(options.asterisk_conf)
    plan = make_plan(options, place, path, config)
    output = Output(options)
    if output.for_programs and options.dry_run:
        output.data(_as_json(plan, done=False))
    elif not output.for_programs:
        _show(plan, place, diffs=options.dry_run)
    if options.dry_run:
        return 0
    if plan.changes or plan.join_group:
        agree(options, "Do this?")
        _carry_out(output, plan, place, path.parent / FOLDER)
        return _prove(output, plan, place)
    try:
        return _prove(output, plan, place)
    except HostError:  # all is written, but perhaps the run that wrote it could not tell Asterisk
        _reload(place, [MANAGER_RELOAD, LOGGER_RELOAD])
        return _prove(output, plan, place)


def make_plan(options: Namespace, place: Place, path: Path, config: Config) -> Plan:
    """Look at the host and say what would be changed."""
    from guard.asterisk.folder import read_folder_conf
    from guard.asterisk.manager import read_manager
    from guard.host.access import missing_group
    from guard.setup.configuration import plan_configuration, propose, secret_path
    from guard.setup.plan import Plan, plan_logger, plan_manager, plan_secret

    plan = Plan(username=config.ami.username, join_group=missing_group())
    secret_file = secret_path(config, path)
    doors = read_manager(read_folder_conf(place.etc / "manager.conf")).listeners
    outside = [str(door) for door in doors if not door.is_loopback]
    close = bool(options.bind_loopback)
    if outside and not close:
        where = f"{' and '.join(outside)} is reachable from other hosts"
        close = (
            not options.yes
            and not options.dry_run
            and consents(f"{where}. Have AMI listen for this host alone? Programs elsewhere that use it are cut off")
        )
        if not close:
            plan.notes.append(f"{where}, and stays so; --bind-loopback closes it")
    plan_manager(plan, place, _secret(secret_file), close_ami=close)
    plan_secret(plan, secret_file)
    plan_configuration(plan, path, place, propose(_networks(), _trunks(place), _callers()))
    plan_logger(plan, place)
    return plan


def _secret(path: Path) -> str:
    """Return the secret that is there already, else a new one of 192 bits."""
    from guard.settings.secretfile import read_secret_file

    try:
        return read_secret_file(path) if path.exists() else os.urandom(24).hex()
    except ConfigError as error:
        raise HostError(f"{error}; mend or remove it") from None


def _callers() -> list[Source]:
    from guard.host.machine import parse_who, who

    found = [line.source for line in lifelines(os.environ) if line.what == YOUR_OWN]
    return list(dict.fromkeys([*found, *parse_who(who())]))


def _networks() -> list[Source]:
    from guard.asterisk.folder import read_text
    from guard.host.machine import own_networks

    return own_networks(read_text(Path("/proc/net/route")) or "", read_text(Path("/proc/net/ipv6_route")) or "")


def _trunks(place: Place) -> list[Trunk]:
    from guard.asterisk.folder import read_folder_conf
    from guard.asterisk.telephony import trunks

    return trunks(
        *(read_folder_conf(place.etc / name) for name in ("pjsip.conf", "pjsip_wizard.conf", "sip.conf", "iax.conf"))
    )


def _show(plan: Plan, place: Place, *, diffs: bool) -> None:
    kind = "FreePBX" if place.freepbx else "Asterisk"
    print(f"{kind} in {place.etc}{'' if place.running else ', not running'}; logs in {place.log}")
    if not (plan.changes or plan.join_group):
        print("Everything is there already.")
    for change in plan.changes:
        print(f"  {'make' if change.before is None else 'change'} {change.path}: {change.why}")
        if diffs:
            print("\n".join(f"    {line}" for line in diff(change)))
    if plan.join_group:
        print("  let user astguard join the group asterisk, to read its logs")
    for reload in plan.reloads:
        print(f"  run asterisk -rx '{reload}'")
    for text in plan.notes:
        print(f"{paint('note', YELLOW)}: {printable(text, TEXT_LIMIT)}")


def diff(change: Change) -> list[str]:
    """Write a change as lines, without the secret."""
    from difflib import unified_diff

    old, new = ((data or b"").decode("utf-8", "replace").splitlines() for data in (change.before, change.after))
    lines = list(unified_diff(old, new, "before", "after", lineterm="", n=2))[2:]
    return [_hide(line, whole=change.is_secret) for line in lines]


def _hide(line: str, *, whole: bool) -> str:
    """Leave a value out that nobody may look over a shoulder at; `whole` makes every line one."""
    name, equals, _ = line[1:].partition("=")
    if line[0] != "@" and (whole or (equals and any(word in name.lower() for word in ("secret", "pass")))):
        return f"{line[0]}{name.rstrip() if equals else 'secret'} = (not shown)"
    return printable(line, TEXT_LIMIT)


def _as_json(plan: Plan, *, done: bool) -> dict[str, object]:
    return {
        "done": done,
        "changes": [
            {"path": str(change.path), "new": change.before is None, "why": change.why, "diff": diff(change)}
            for change in plan.changes
        ],
        "reloads": plan.reloads,
        "join_group": plan.join_group,
        "notes": plan.notes,
    }


def _carry_out(output: Output, plan: Plan, place: Place, folder: Path) -> None:
    from guard.setup.carry import carry_out

    for said in carry_out(plan, folder):
        if not output.for_programs:
            print(f"{paint('done', GREEN)}  {printable(said, TEXT_LIMIT)}")
    _reload(place, plan.reloads)


def _reload(place: Place, commands: list[str]) -> None:
    for command in commands if place.running else ():
        place.say(command)


def _prove(output: Output, plan: Plan, place: Place) -> int:
    from guard.setup.carry import hear

    if not place.running:
        note("Asterisk is not running, so nothing could be tried; start it and run 'astguard setup' again")
        if output.for_programs:
            output.data({**_as_json(plan, done=True), "self_test": "not tried"})
        return 0
    heard = hear(plan, os.urandom(8).hex())
    if not heard.own_login:
        raise HostError("AMI lets astguard in, but no security event arrives; 'astguard doctor' says what is wrong")
    if output.for_programs:
        output.data({**_as_json(plan, done=True), "asterisk": f"AMI {heard.version}", "self_test": "ok"})
        return 0
    print(f"{paint('heard', GREEN)} a security event of its own login from Asterisk (AMI {heard.version})")
    if plan.join_group:
        print("Next: 'astguard check', then 'systemctl restart astguard': a group is joined at a start")
    else:
        print("Next: 'astguard check', then 'astguard reload' if it runs, else 'systemctl start astguard'")
    print("It only observes. Content with what it says? Write 'mode: enforce', then 'astguard reload'")
    return 0


def _undo(options: Namespace, folder: Path) -> int:
    from guard.host.place import find_asterisk
    from guard.setup.carry import undo
    from guard.setup.record import read_record

    record = read_record(folder)
    output = Output(options)
    if not record.steps:
        output.done({"undone": []}, "There is nothing to take back: setup has changed nothing here.")
        return 0
    if not output.for_programs:
        for step in record.steps:
            print(f"  {'put back' if step.backup else 'remove'} {step.path}")
    agree(options, "Take this back?")
    said = list(undo(folder))
    output.done({"undone": said}, "\n".join(printable(line, TEXT_LIMIT) for line in said))
    if record.reloads:
        try:
            _reload(find_asterisk(options.asterisk_conf), record.reloads)
        except HostError as error:
            note(f"all is taken back, but Asterisk was not told: {error}")
    return 0
