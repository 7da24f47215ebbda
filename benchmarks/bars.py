"""Draws a bar chart as SVG: a picture for the documentation that needs no program to make it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH: Final = 860
_LABELS: Final = 270
_NUMBERS: Final = 90
_ROW: Final = 30
_BAR: Final = 20
_TOP: Final = 46
_STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .title { font-size: 15px; font-weight: 600; }
  .ours { fill: #2f6f4f; } .best { fill: #8aa4b8; } .rest { fill: #c9d3db; }
  .note { font-size: 12px; fill: #57606a; }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .note { fill: #9198a1; } .ours { fill: #4fae7d; } }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its label, its length, the text after it, and its class: `ours`, `best` or `rest`."""

    label: str
    value: float
    text: str
    look: str


def draw(title: str, note: str, bars: Sequence[Bar]) -> str:
    """Return the picture: the bars from top to bottom, as long as their values."""
    most = max(bar.value for bar in bars)
    height = _TOP + _ROW * len(bars) + 30
    room = _WIDTH - _LABELS - _NUMBERS
    size = f'viewBox="0 0 {_WIDTH} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label={quoteattr(title)}>',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="12" y="26">{escape(title)}</text>',
    ]
    for place, bar in enumerate(bars):
        top = _TOP + place * _ROW
        length = max(1.0, room * bar.value / most)
        lines += [
            f'<text x="{_LABELS - 10}" y="{top + 15}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect class="{bar.look}" x="{_LABELS}" y="{top}" width="{length:.1f}" height="{_BAR}" rx="2"/>',
            f'<text x="{_LABELS + length + 8:.1f}" y="{top + 15}">{escape(bar.text)}</text>',
        ]
    lines += [f'<text class="note" x="12" y="{height - 10}">{escape(note)}</text>', "</svg>", ""]
    return "\n".join(lines)
