"""Growth curves as SVG: small panels side by side, each a figure over the size, on a logarithmic axis of sizes.

Owns the drawing. Plain text of a few kilobytes, without fonts, scripts or anything fetched; its colours follow the
reader's choice of light or dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final

WIDTH, HEIGHT = 300, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 44, 46
_HEAD: Final = 34
_STYLE: Final = """
  svg { --ink: #1f2328; --faint: #6e7781; --rule: #d8dee4; --curve: #0969da; --bound: #bc4c00; --paper: #ffffff;
        background: var(--paper) }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6edf3; --faint: #9198a1; --rule: #30363d; --curve: #58a6ff; --bound: #f0883e; --paper: #0d1117 }
  }
  text { font-family: system-ui, sans-serif; font-size: 11px; fill: var(--faint) }
  .title { font-size: 13px; font-weight: 600; fill: var(--ink) }
  .value { fill: var(--ink); stroke: var(--paper); stroke-width: 3; paint-order: stroke }
  .rule { stroke: var(--rule) }
  .curve { stroke: var(--curve); stroke-width: 2; fill: none }
  .spread { stroke: var(--curve); stroke-width: 1.5 }
  .point { fill: var(--curve) }
  .bound { stroke: var(--bound); stroke-dasharray: 5 4; stroke-width: 1.5 }
  .bounded { fill: var(--bound) }
"""


@dataclass(frozen=True, slots=True)
class Point:
    """One size and what was measured there: median, smallest, largest."""

    size: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure over the sizes.

    Attributes:
        title: what it is, with its unit.
        points: rising by size.
        bound: what it may not pass; drawn where given.
        bound_name: in words.
    """

    title: str
    points: Sequence[Point]
    bound: float | None = None
    bound_name: str = ""


def draw(title: str, axis: str, panels: Sequence[Panel], columns: int = 3) -> str:
    """The whole picture.

    Args:
        title: of all panels.
        axis: what the sizes are.
        panels: from left to right, and down.
        columns: how many stand side by side.
    """
    rows = -(-len(panels) // columns)
    width, height = WIDTH * min(columns, len(panels)), _HEAD + HEIGHT * rows
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="12" y="22">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        x, y = number % columns * WIDTH, _HEAD + number // columns * HEIGHT
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel, axis), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, axis: str) -> list[str]:
    sizes = [point.size for point in panel.points]
    first, last = log10(min(sizes)), log10(max(sizes))
    top = _above(max([*(point.high for point in panel.points), panel.bound or 0.0]))

    def across(size: float) -> float:
        share = (log10(size) - first) / (last - first) if last > first else 0.5
        return round(_LEFT + 14 + share * (WIDTH - _LEFT - _RIGHT - 28), 1)

    def down(value: float) -> float:
        return round(HEIGHT - _BOTTOM - value / top * (HEIGHT - _TOP - _BOTTOM), 1)

    parts = [f'<text class="title" x="12" y="22">{escape(panel.title)}</text>']
    for step in range(5):
        value, y = top * step / 4, down(top * step / 4)
        parts.append(f'<line class="rule" x1="{_LEFT}" y1="{y}" x2="{WIDTH - _RIGHT}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{short(value)}</text>')
    below = HEIGHT - 28
    parts += [f'<text x="{across(size)}" y="{below}" text-anchor="middle">{short(size)}</text>' for size in sizes]
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(axis)}</text>')
    if panel.bound is not None:
        y = down(panel.bound)
        parts.append(f'<line class="bound" x1="{_LEFT}" y1="{y}" x2="{WIDTH - _RIGHT}" y2="{y}"/>')
        name = escape(f"dashed: {panel.bound_name}")
        parts.append(f'<text class="bounded" x="{WIDTH - _RIGHT}" y="36" text-anchor="end">{name}</text>')
    line = " ".join(f"{across(point.size)},{down(point.value)}" for point in panel.points)
    parts.append(f'<polyline class="curve" points="{line}"/>')
    for point in panel.points:
        x, y = across(point.size), down(point.value)
        parts.append(f'<line class="spread" x1="{x}" y1="{down(point.low)}" x2="{x}" y2="{down(point.high)}"/>')
        parts.append(f'<circle class="point" cx="{x}" cy="{y}" r="3.5"/>')
        # Beside the curve, never upon the bound: above it in the lower half, below it in the upper one.
        below = y < (_TOP + HEIGHT - _BOTTOM) / 2
        beside = down(point.low) + 16 if below else down(point.high) - 8
        parts.append(f'<text class="value" x="{x}" y="{beside}" text-anchor="middle">{short(point.value)}</text>')
    return parts


def _above(value: float) -> float:
    """The next round number, a tenth of room included."""
    if value <= 0:
        return 1.0
    unit = 10 ** floor(log10(value))
    steps = (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10, 12)
    return float(unit * next(step for step in steps if step * unit >= value * 1.1))


def short(value: float) -> str:
    """A number in a few characters: 940, 35.2k, 1M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    if value >= 10 or value == 0 or value == ceil(value):
        return f"{value:.0f}"
    return f"{value:.2g}"
