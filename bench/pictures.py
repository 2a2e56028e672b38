"""The pictures of docs/performance.md, drawn by hand in SVG for light and dark pages: bars beside peers, and curves."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from statistics import median

from bench.race.picture import STYLE, draw
from bench.show import number

BESIDE = {
    "throughput": "Events a second",
    "latency": "From the event to the kernel, milliseconds",
    "bans": "Bans a second",
    "restore": "Seconds until the bans are back after a reboot",
    "heal": "Seconds of a processor until flushed bans are back",
    "packet": "Nanoseconds for a dropped packet",
}
"""The benches whose first figure with something beside it is drawn, and what its bars mean."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 340, 70, 310, 40, 40
SHADES = ("#1a7f37", "#8250df", "#bc4c00", "#0969da", "#bf3989", "#59636e")


def draw_all(folder, found):
    """Draw what these benches gave: {name: (figures, lines)}."""
    groups = [group for name, title in BESIDE.items() if name in found for group in bars(title, found[name][0])]
    if groups:
        (folder / "performance.svg").write_text(draw(groups))
    for name, (_, lines) in found.items():
        if len(lines) > 1:
            (folder / f"{name}.svg").write_text(curves(lines))


def bars(title, figures):
    """Give the group of bars of the first figure that has something beside it."""
    for one in figures:
        if one.beside:
            names = {"astguard": one.values} | one.beside
            form = "{:,.0f}" if one.value >= 100 else "{:,.2f}"
            yield f"{title}: {one.what}", [(name, median(values), form) for name, values in names.items()]
            return


def curves(lines):
    """Draw curves, both axes logarithms, each to its own first value: where it lies at 10, it costs ten times that."""
    points = {line: [(size, value / line.points[0][1]) for size, value in line.points] for line in lines}
    sizes = [size for run in points.values() for size, _ in run]
    values = [value for run in points.values() for _, value in run]
    x0, x1 = floor(log10(min(sizes))), ceil(log10(max(sizes)))
    y0, y1 = min(floor(log10(min(values))), 0), max(ceil(log10(max(values))), 1)

    def place(size, value):
        x = LEFT + (log10(size) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (log10(value) - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    parts = [f'<text class="title" x="8" y="20">{escape("What each costs, times what it costs for its fewest")}</text>']
    for power in range(x0, x1 + 1):
        x, y = place(10**power, 10**y0)
        parts += [_grid(x, TOP, x, y), f'<text x="{x}" y="{y + 20}" text-anchor="middle">{10**power:,}</text>']
    for power in range(y0, y1 + 1):
        x, y = place(10**x0, 10**power)
        parts += [
            _grid(x, y, WIDTH - RIGHT, y),
            f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{10.0**power:g}</text>',
        ]
    ends = _apart([place(*run[-1])[1] for run in points.values()])
    for at, (line, run) in enumerate(points.items()):
        shade = SHADES[at % len(SHADES)]
        path = " ".join(f"{x},{y}" for x, y in (place(*point) for point in run))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{shade}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="4" fill="{shade}"/>' for x, y in (place(*point) for point in run)]
        told = f"{line.name}: {number(line.points[-1][1], line.unit)}"
        parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{ends[at] + 4}" style="fill: {shade}">{escape(told)}</text>')
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img">\n<style>{STYLE}</style>\n{inside}\n</svg>\n'
    )


def _grid(x, y, to_x, to_y):
    return f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="#8c959f" stroke-opacity="0.3"/>'


def _apart(heights, gap=18):
    """Move labels down until none stands on another."""
    placed = {}
    for at in sorted(range(len(heights)), key=heights.__getitem__):
        placed[at] = max(heights[at], max(placed.values(), default=-gap) + gap)
    return placed
