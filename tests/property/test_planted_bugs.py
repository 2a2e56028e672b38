"""Bugs planted on purpose, one line each: the tests named beside them must catch every one.

A law that no planted bug breaks is a law nobody checks. Runs with --full; each bug is a copy of the tree with one
line changed, and the tests run on that copy.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
LAWS = "tests/property/test_laws.py"
ATTEMPTS = "tests/unit/test_attempt.py"
JUDGING = "tests/unit/test_judge.py"
EXPLAINING = "tests/unit/test_explain.py"

PLANTED = [
    ("the window is closed at its old end", "core/window.py", "bisect_right(stamps, floor)", "bisect_left(stamps, floor)", LAWS),
    ("the oldest offences are kept", "core/window.py", "stamps[-self.most :]), floor)\n        return len", "stamps[: self.most]), floor)\n        return len", LAWS),
    ("late offences are not sorted in", "core/window.py", "stamps if in_order else tuple(sorted(stamps))", "stamps", LAWS),
    ("an offence too old for the window counts", "core/window.py", "if at <= floor:", "if at < floor - 50:", LAWS),
    ("a network ban covers the allowlist", "core/response.py", "if self.allow.touches(source) or (due", "if (due", LAWS),
    ("the allowlist is looked up once", "core/hosts.py", "if host.version != version:", "if host.version < 0:", LAWS),
    ("allowing a host leaves its network banned", "core/engine.py", "[*self.ledger.inside(source), *filter(None, around)]", "self.ledger.inside(source)", LAWS),
    ("forged offences make a proven ban", "core/response.py", "if weighed.proven >= needed", "if weighed.total >= needed", LAWS + " tests/unit/test_engine.py"),
    ("an unproven ban closes everything", "core/radius.py", "rule.scope if proven or rule.scope is Scope.SLOW else Scope.SIP", "rule.scope", LAWS),
    ("an unproven ban lasts the whole rung", "core/response.py", "span = min(span, ladder[min(strike, len(ladder)) - 1], self.unproven_max)", "pass", "tests/unit/test_engine.py"),
    ("a ban of the SIP ports hides a guesser elsewhere", "core/ports.py", "web_only is not None and (web_only or event.transport not in WEB)", "True", "tests/unit/test_engine.py"),
    ("the window goes on after a ban", "core/track.py", "self._all.forget(source)", "pass", LAWS),
    ("an event from the future counts as such", "core/engine.py", "max(wall - event.at, 0)", "wall - event.at", "tests/unit/test_engine.py"),
    ("an event may be of any age", "core/engine.py", "min(max(wall - event.at, 0), MAX_AGE)", "max(wall - event.at, 0)", "tests/unit/test_engine.py"),
    ("time goes back", "core/engine.py", "            return self.now\n", "            return now\n", "tests/unit/test_engine.py"),
    ("a swallowed ban ends early", "core/ledger.py", "until=max(ban.until, weaker.until)", "until=ban.until", LAWS),
    ("bans overlap", "core/ledger.py", "(wider.source != ban.source or wider.until >= ban.until)", "wider.until >= ban.until", LAWS),
    ("a ban ends a tick late", "core/ledger.py", "self._ends[0][0] <= now", "self._ends[0][0] < now", LAWS),
    ("a set holds one ban too many", "core/ledger.py", "len(bans) < self._capacity", "len(bans) <= self._capacity", LAWS),
    ("a lifted ban keeps its strike", "core/ledger.py", "strikes.pop(source)\n        if", "if", "tests/unit/test_ledger.py"),
    ("strikes are never forgotten", "core/ledger.py", "if now - last_end >= forget:", "if False:", "tests/unit/test_ledger.py"),
    ("repeats have no end", "core/sender.py", "0 < times <= REPEATS", "0 < times", ATTEMPTS),
    ("an insider clears a scan", "core/identify.py", "len(names) >= NAMES_LIMIT", "False", ATTEMPTS),
    ("a broken phone excuses everything", "core/response.py", "_PHONES.issuperset(rule.weights) and service is not Service.AMI", "True", JUDGING),
    ("one offence too few is told", "core/explain.py", "max(1, needed - total)", "max(1, needed - total - 1)", EXPLAINING),
    ("a proven ban is told as unproven", "core/explain.py", "if proven >= threshold else Evidence.UNPROVEN", "if False else Evidence.UNPROVEN", EXPLAINING),
    ("forged senders push out the proven", "core/window.py", "table = self._sure if proven else self._heavy", "table = self._heavy", "tests/unit/test_window.py"),
    ("texts are kept whole", "core/judge.py", "self._judge(trim(event), at, now)", "self._judge(event, at, now)", ATTEMPTS),
    ("a retransmission is a guess", "core/attempt.py", "if event.sensor is not Sensor.MESSAGES and session.answered_before(event):", "if False:", ATTEMPTS),
    ("a success clears attempts of other sessions", "core/attempt.py", "sender.sessions.get(event.session) if sender else None", "next(iter(sender.sessions.values()), None) if sender else None", ATTEMPTS),
    ("holding delays a scan", "core/attempt.py", "if len(opened) > limit else Outcome.HELD", "if len(opened) > 999 else Outcome.HELD", ATTEMPTS),
    ("held attempts are forgotten", "core/attempt.py", "out.append(self._count(request))\n        return out\n\n    def dump", "pass\n        return out\n\n    def dump", LAWS + " " + ATTEMPTS),
    ("twins count twice under a rule", "core/track.py", "if not rule.weights.keys().isdisjoint(attempt.before):", "if False:", ATTEMPTS),
    ("every session has a ration", "core/track.py", "own.session == session", "True", ATTEMPTS),
    ("a ration has no end", "core/track.py", "and attempt.number <= RATION", "", ATTEMPTS),
    ("a success takes off everybody's failures", "core/track.py", "self._stamps.pop((source, account))", "next((self._stamps.pop(key) for key, _ in list(self._stamps.items())), None)", JUDGING),
    ("trust is immunity", "core/trust.py", "min(float(MOST), 1 + PER_ACCOUNT * freshness)", "1e9 if freshness else 1.0", JUDGING),
    ("trust lasts for ever", "core/trust.py", "1 - max(now - at, 0) / LASTS", "1.0", JUDGING),
    ("an office is closed for one phone", "core/radius.py", "_SCOPES.get(word, rule.scope)", "rule.scope", JUDGING),
    ("forged senders close a phone", "core/radius.py", "scope if proven else Scope.SLOW", "scope", JUDGING),
    ("a network ban does not look who lives in it", "core/trust.py", "if covers(source, other):", "if False:", JUDGING),
    ("first come is first served", "core/limit.py", "max(self._waiting, key=lambda held: self._waiting[held][0])", "next(iter(self._waiting))", JUDGING),
    ("a rung is climbed without going on", "core/ledger.py", "count + 1 if at >= last_end else max(count, 1)", "count + 1", JUDGING),
    ("the log and AMI are added up", "core/sender.py", "return counts[mine] <= counts[1 - mine], counts[mine]", "return False, counts[mine]", ATTEMPTS),
    ("a reload forgets what was counted", "core/tracks.py", "if track is not None and track.follow(rule, mode):", "if track is None:", LAWS),
    ("a shorter window forgets too much at its next turn", "core/window.py", "max(self._turn_at, self._turn_at - self.span + span)", "self._turn_at - self.span + span", LAWS),
    ("who waits is banned by a rule that only observes", "core/judge.py", "due.track.observes or due.track not in self._tracks", "False", "tests/unit/test_engine_reload.py"),
    ("what is allowed for a time stays allowed", "daemon/permits.py", "if until is not None and until <= now", "if until is not None and until <= 0", "tests/unit/test_permits.py"),
    ("rules ban in a pause", "daemon/pause.py", "return self._mode if self.span is None else Mode.OBSERVE", "return self._mode", "tests/daemon/test_pause.py"),
    ("a pause lasts longer than it was meant to", "daemon/pause.py", "min(until - wall, until - since)", "until - wall", "tests/daemon/test_pause.py"),
    ("a name may have any number of addresses", "sensors/names.py", "frozenset(found[:RECORDS_LIMIT])", "frozenset(found)", "tests/unit/test_names.py"),
    ("a name's last addresses stay for ever", "sensors/names.py", "self._now() - self._good_at[name] >= KEPT", "False", "tests/unit/test_names.py"),
    ("a touched entry stands in both halves", "core/generations.py", "self._old.pop(key, None)\n            if len", "if len", "tests/unit/test_generations.py"),
    ("a turn drops the young half", "core/generations.py", "dropped, self._old, self._young = self._old, self._young, {}", "dropped, self._old, self._young = self._young, self._old, {}", "tests/unit/test_generations.py"),
    ("a restart forgets what was counted", "core/track.py", 'yield from cut(window.dump(), "window", name)', "pass", "tests/property/test_restart.py"),
    ("a restart forgets what is held", "core/recall.py", 'self._held.append((read.whole(place), request))\n            case ["held"', 'pass\n            case ["held"', "tests/property/test_restart.py"),
    ("a restart gives a ban more time", "store/rows.py", "min(until - self._wall, length)", "until - self._wall", "tests/unit/test_store.py"),
    ("a ban is reported before it is stored", "daemon/recorder.py", "            self.keeper.keep(change)", "            self._report(change)\n            self.keeper.keep(change)", "tests/daemon/test_keeper.py"),
    ("a disk that refuses is believed", "daemon/receipts.py", "self._tell(count, stored=not problem)", "self._tell(count, stored=True)", "tests/daemon/test_keeper.py"),
    ("old windows of another rule are taken back", "core/tracks.py", "self._earlier.get(track.rule.name) == track.rule.fingerprint", "True", "tests/unit/test_memory.py"),
    ("who is allowed now is banned again", "core/memory.py", "or (allow is not None and allow.touches(ban.source))", "", "tests/unit/test_memory.py"),
    ("the neighbour rule is forgotten", "wire/amievent.py", "if self._torn or (behind_sip", "if (behind_sip", "tests/replay"),
    ("a foreign block counts as clean", "wire/amievent.py", "elif not self._torn and _FOREIGN.fullmatch(block):", "elif _FOREIGN.fullmatch(block):", "tests/replay tests/unit/test_amievent.py"),
    ("lines end with a bare CR too", "wire/amievent.py", r'_TEXT = r"[^\r]*(?:\r(?!\n)[^\r]*)*"', r'_TEXT = r"[^\r]*"', "tests/replay"),
    ("a half-read end of a block is missed", "wire/amievent.py", "max(len(buffer) - 3, 0)", "len(buffer)", "tests/replay"),
    ("setup overwrites an edit", "host/disk.py", "if load(path) != before:", "if False:", "tests/unit/host/test_host_disk.py"),
    ("a link of Asterisk's user leads root anywhere", "host/disk.py", "status.st_uid not in (0, os.geteuid())", "False", "tests/unit/host/test_host_disk.py"),
    ("anybody's record is taken back", "setup/record.py", "part.stat().st_mode & 0o022", "False", "tests/unit/setup/test_setup_carry.py"),
    ("undo throws edits away", "setup/carry.py", "if digest(data) == step.after:", "if True:", "tests/unit/setup/test_setup_carry.py"),
    ("a failed setup leaves half of it", "setup/carry.py", "for change in reversed(done):", "for change in ():", "tests/unit/setup/test_setup_carry.py"),
    ("the first rule of an ACL decides", "asterisk/manager.py", "            allowed = rule.permit\n", "            return rule.permit\n", "tests/unit/asterisk/test_manager.py"),
    ("a template is in force", "asterisk/conffile.py", "*([] if self._section.template else [self._named])", "self._named", "tests/unit/asterisk"),
    ("a doctor who cannot tell says all is well", "doctor/__init__.py", "if check.needs in unable:", "if False:", "tests/unit/doctor"),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("name", "file", "right", "wrong", "tests"), PLANTED, ids=[bug[0] for bug in PLANTED])
def test_a_planted_bug_is_caught(name, file, right, wrong, tests, tmp_path):
    for folder in ("guard", "tests", "rules"):
        shutil.copytree(TREE / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TREE / "pyproject.toml", tmp_path)
    source = tmp_path / "guard" / file
    text = source.read_text()
    assert text.count(right) == 1, "the line to change has moved: plant it anew"
    source.write_text(text.replace(right, wrong).replace("import bisect_right", "import bisect_left, bisect_right"))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split()],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 1, f"nobody noticed that {name}:\n{run.stdout[-2000:]}{run.stderr[-2000:]}"


def test_every_planted_bug_still_finds_its_line():
    lost = [name for name, file, right, _, _ in PLANTED if (TREE / "guard" / file).read_text().count(right) != 1]
    assert not lost
