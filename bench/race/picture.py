"""The picture for the README: three groups of bars, drawn by hand in SVG, for light and dark pages."""

from __future__ import annotations

from html import escape

from bench.race.plan import LOAD, SVCRACK
from bench.race.report import ASTGUARD, UNGUARDED

WIDTH, LEFT, RIGHT, BAR, STEP = 760, 110, 150, 16, 24
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px }
.value { fill: #59636e }
.bar { fill: #8c959f }
.ours { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .value { fill: #9198a1 }
  .bar { fill: #656c76 }
  .ours { fill: #3fb950 }
}
"""


def picture(report):
    """Draw the medians."""
    guards = [tool for tool in report.tools if tool != UNGUARDED]
    groups = [
        (
            "Passwords svcrack could still try after the one that decided",
            [(tool, report.middle(tool, SVCRACK.name, "answered_after"), "{:,.0f}") for tool in guards],
        ),
        (
            f"From the deciding packet to the last one that reached Asterisk, {LOAD.name}",
            [(tool, report.middle(tool, LOAD.name, "last_ms"), "{:,.0f} ms") for tool in guards],
        ),
        (
            f"What a flood of {LOAD.name} costs in {LOAD.seconds:.0f} s: CPU of Asterisk and the guard",
            [(tool, _cpu(report, tool), "{:.1f} s") for tool in report.tools],
        ),
    ]
    return draw([(title, [bar for bar in bars if bar[1] is not None]) for title, bars in groups])


def _cpu(report, tool):
    parts = [report.middle(tool, LOAD.name, who, "cpu_seconds") for who in ("asterisk", "guard")]
    return None if None in parts else sum(parts)


def draw(groups):
    """Draw groups of (title, [(name, value, format)]), each to its own linear scale."""
    parts, y = [], 8
    for title, bars in groups:
        y += 18
        parts.append(f'<text class="title" x="8" y="{y}">{escape(title)}</text>')
        y += 10
        most = max((value for _, value, _ in bars), default=0) or 1
        for name, value, form in bars:
            width = max(1.0, value / most * (WIDTH - LEFT - RIGHT))
            kind = "ours" if name == ASTGUARD else "bar"
            parts += [
                f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
                f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>',
                f'<text class="value" x="{LEFT + width + 8:.1f}" y="{y + 13}">{escape(form.format(value))}</text>',
            ]
            y += STEP
        y += 8
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img">\n'
        f"<style>{STYLE}</style>\n{inside}\n</svg>\n"
    )
