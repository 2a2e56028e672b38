"""What the tools made of the recordings, as tables for people and as JSON for programs."""

from __future__ import annotations

from statistics import median

from bench.quality.expectations import check, is_false, must_be_stopped, strangers
from bench.quality.judged import NOTHING, SLOW
from bench.quality.tries import ACCOUNTS, CHALLENGE, GUESS, LOGINS, REQUEST

LETTER = {GUESS: "g", REQUEST: "r", CHALLENGE: "c", LOGINS: "l"}
LEGEND = (
    "Tries of a source up to its ban: g guesses, r requests, c unanswered challenges, l AMI logins, a accounts; "
    "- not stopped, slow: let through slowly, FALSE: what must not happen to it, +AMI: closes AMI's port too"
)


class Report:
    """Everything that was measured. `answers` is {tool: {recording name: Judged}}."""

    def __init__(self, recordings, tries, answers):
        self.recordings, self.tries, self.answers = recordings, tries, answers
        self.tools = list(answers)

    def rows(self, recording):
        """Give the lines of a recording's table: attackers who must be stopped, and whom any tool wronged."""
        for source in self._shown(recording):
            cells = [self._cell(tool, recording, source) for tool in self.tools]
            yield [source, recording.who(source), _all(self.tries[recording.name].get(source)), *cells]
        spared = [each for each in recording.attackers if not must_be_stopped(recording, each)]
        stopped = [sum(self._stops(tool, recording, each) for each in spared) for tool in self.tools]
        if any(stopped):
            yield [
                f"{len(spared)} more",
                "attackers who need not be stopped",
                "",
                *(f"{each} stopped" for each in stopped),
            ]

    def needed(self, tool, recording, source, *, at_most=False):
        """Say what a tool saw of a source up to its ban: {kind: count}; None if it never stopped it."""
        judged, mine = self.answers[tool][recording.name], self.tries[recording.name].get(source)
        ban = judged.first(source)
        if ban is None or mine is None:
            return None if ban is None else {}
        until = ban.at + judged.blur * at_most
        return {kind: mine.count(kind, until) for kind in (*LETTER, ACCOUNTS)}

    def summary(self, tool, recordings=None):
        """Sum up one tool: attackers, missed, false bans, and what it needed for those it stopped."""
        attackers, missed, wronged, counts = 0, [], [], []
        for recording in recordings or self.recordings:
            judged = self.answers[tool][recording.name]
            for source in _must_be_stopped(recording):
                attackers += 1
                needed = self.needed(tool, recording, source)
                if needed is None:
                    missed.append([recording.name, source])
                elif source in self.tries[recording.name]:
                    unit = self.tries[recording.name][source].unit
                    counts += [needed[unit]] if unit != CHALLENGE else []
            known = {*recording.attackers, *recording.legit}
            wronged += [[recording.name, source] for source in known if is_false(recording, judged, source)]
            wronged += [[recording.name, source] for source in strangers(recording, judged)]
        return {
            "attackers": attackers,
            "missed": sorted(missed),
            "false": sorted(wronged),
            "median": median(counts) if counts else None,
            "max": max(counts, default=None),
        }

    def checks(self, tool):
        """Give {recording name: expectations} of one tool."""
        return {
            recording.name: list(check(recording, self.answers[tool][recording.name], self.tries[recording.name]))
            for recording in self.recordings
        }

    def as_json(self):
        """Give all of it for programs."""
        return {
            "unit": "tries counted from the AMI stream, or from messages where that shows more",
            "summary": {tool: self.summary(tool) for tool in self.tools},
            "recordings": {recording.name: self._recording_json(recording) for recording in self.recordings},
            "expectations": {
                tool: {
                    name: [{"source": each.source, "says": each.says, "failure": each.failure} for each in checks]
                    for name, checks in self.checks(tool).items()
                }
                for tool in self.tools
            },
        }

    def _recording_json(self, recording):
        return {
            source: {
                "does": recording.who(source),
                "attacker": source in recording.attackers,
                "tools": {tool: self._source_json(tool, recording, source) for tool in self.tools},
            }
            for source in [*recording.attackers, *(each for each in recording.legit if each not in recording.attackers)]
        }

    def _source_json(self, tool, recording, source):
        judged = self.answers[tool][recording.name]
        ban = judged.first(source)
        return {
            "outcome": judged.outcome(source),
            "rule": ban.by if ban else None,
            "seen": self.needed(tool, recording, source),
            "all_ports": judged.closes_all(source),
            "false": is_false(recording, judged, source),
        }

    def _stops(self, tool, recording, source):
        return self.answers[tool][recording.name].outcome(source) != NOTHING

    def _shown(self, recording):
        wanted = _must_be_stopped(recording)
        others = [each for each in recording.legit if each not in wanted]
        judged = [self.answers[tool][recording.name] for tool in self.tools]
        return wanted + [each for each in others if any(tool.worst(each) != NOTHING for tool in judged)]

    def _cell(self, tool, recording, source):
        judged, mine = self.answers[tool][recording.name], self.tries[recording.name].get(source)
        if is_false(recording, judged, source):
            return "FALSE"
        needed = self.needed(tool, recording, source)
        if needed is None:
            return "-" if must_be_stopped(recording, source) else ""
        text = f"{needed[mine.unit]}{LETTER[mine.unit]}" if mine else "yes"
        if mine and (most := self.needed(tool, recording, source, at_most=True)[mine.unit]) > needed[mine.unit]:
            text = f"{needed[mine.unit]}-{most}{LETTER[mine.unit]}"
        text += f" {needed[ACCOUNTS]}a" if mine and mine.unit == REQUEST else ""
        text += " +AMI" if mine and mine.unit == LOGINS and judged.closes_all(source) else ""
        return f"slow {text}" if judged.outcome(source) == SLOW else text


def _must_be_stopped(recording):
    return [each for each in {**recording.attackers, **recording.legit} if must_be_stopped(recording, each)]


def _all(tries):
    """Say all that a source tried."""
    if tries is None or not tries.tries:
        return "nothing seen"
    return f"{tries.count(tries.unit):,}{LETTER[tries.unit]}"


def table(header, rows, *, markdown=False):
    """Set rows in columns."""
    rows = [[str(cell) for cell in row] for row in rows]
    if markdown:
        lines = [header, ["---"] * len(header), *rows]
        return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def summary_rows(report, recordings=None):
    """Give the line of each tool."""
    for tool in report.tools:
        sums = report.summary(tool, recordings)
        middle = "-" if sums["median"] is None else f"{sums['median']:g}"
        worst = "-" if sums["max"] is None else sums["max"]
        yield [tool, sums["attackers"], len(sums["missed"]), len(sums["false"]), middle, worst]


SUMMARY = ["tool", "attackers", "missed", "false bans", "median", "max until the ban"]
