"""Tables on the command line: they fit, they are plain where nobody sees colours, and nothing in them can do harm."""

from __future__ import annotations

import io
import sys

import pytest
from rich.cells import cell_len

from supervisor.cli.text_table import Cell, Column, colours_wanted, table, terminal_width

COLUMNS = (Column("id", right=True), Column("kind", least=8), Column("tenant"), Column("note", least=8))


def test_columns_are_aligned_and_empty_ones_left_out() -> None:
    """Numbers stand to the right, and a column that says nothing is not there."""
    lines = table(COLUMNS, [["7", "send", "", "x"], ["12", "ship", "", ""]], width=80, colours=False)
    assert lines == ["id  kind  note", " 7  send  x", "12  ship"]


@pytest.mark.parametrize("text", ["x" * 300, "宽" * 300])
def test_a_table_fits(text: str) -> None:
    """Long texts give way, those in wide characters too, and an ellipsis says so."""
    lines = table(COLUMNS, [["7", text, "acme", text]], width=80, colours=False)
    assert cell_len(lines[1]) in {79, 80}
    assert lines[1].count("…") == 2


def test_colours_change_nothing_else() -> None:
    """The coloured table is the plain one with colours in it."""
    rows: list[list[Cell | str]] = [["7", Cell("send", "green"), "acme", ""]]
    coloured = table(COLUMNS, rows, width=80, colours=True)
    assert "\033[32msend\033[0m" in coloured[1]
    assert table(COLUMNS, rows, width=80, colours=False)[1] == " 7  send  acme"


def test_a_text_cannot_move_the_cursor() -> None:
    """Control characters of an error are shown, and a line stays a line."""
    (_, line) = table(COLUMNS, [["7", "a\033[2Jb", "", "one\ntwo\x07"]], width=80, colours=False)
    assert line == " 7  a\\x1b[2Jb  one two\\x07"


@pytest.mark.parametrize(("columns", "width"), [("20", 80), ("100", 100), ("500", 120)])
def test_the_width_has_limits(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table is neither squeezed nor stretched without measure."""
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_width() == width


@pytest.mark.parametrize(("terminal", "refused", "wanted"), [(True, "", True), (True, "1", False), (False, "", False)])
def test_colours_are_for_terminals(terminal: bool, refused: str, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe gets none, nor does a user who has refused them."""

    class Out(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    monkeypatch.setattr(sys, "stdout", Out())
    monkeypatch.setenv("NO_COLOR", refused)
    assert colours_wanted() is wanted
