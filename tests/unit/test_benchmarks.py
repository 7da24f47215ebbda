"""Keeps the benchmarks working: every figure in a tiny size, and every way to show the results."""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING

import pytest

from benchmarks import __main__ as program
from benchmarks.results import Row, at_least, at_most, quantity
from benchmarks.sampling import Plan, Samples, in_turn
from benchmarks.tables import HEADINGS, markdown, plain, show

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Target

FACTS = {"cores": "2"}
FAST = Row("tell", Samples("tell", "/s", (2e6, 2.2e6, 2.4e6)), Samples("queue", "/s", (1e6, 1e6, 1e6)), at_least(1.0))
SLOW = Row("start", Samples("Supervisor", "s", (3.0,)), None, at_most(2.0, "s"))


@pytest.mark.parametrize("figure", program.FIGURES)
def test_a_figure_can_be_measured(figure: str) -> None:
    """Each benchmark runs to its end in a tiny size and finds plausible numbers."""
    # Fewer actors than this may fit into memory that the process has already.
    scale = 0.1 if figure == "population" else 0.0005
    rows = program.FIGURES[figure](Plan(runs=1, scale=scale))
    assert rows
    for row in rows:
        for samples in filter(None, (row.ours, row.other)):
            assert samples.values
            assert all(math.isfinite(value) for value in samples.values)
            assert samples.median >= 0 if samples.unit in {"", "%"} else samples.median > 0


def test_variants_take_turns() -> None:
    """Variants are measured alternately, and the first round is not counted."""
    order: list[str] = []

    def variant(name: str) -> float:
        order.append(name)
        return float(len(order))

    samples = in_turn(Plan(runs=2), "s", {"a": lambda: variant("a"), "b": lambda: variant("b")})
    assert order == ["a", "b"] * 3
    assert samples["a"].values == (3.0, 5.0)
    assert samples["b"].values == (4.0, 6.0)


def test_the_ratio_is_the_median_of_each_run() -> None:
    """A drift that meets both variants alike leaves the ratio as it is."""
    row = Row("x", Samples("a", "s", (2.0, 4.0, 8.0)), Samples("b", "s", (1.0, 2.0, 4.0)), at_most(2.0))
    assert row.ratio == 2.0
    assert row.reached


@pytest.mark.parametrize(
    ("target", "value", "reached"),
    [
        (at_least(1.0, "/s"), 1.0, True),
        (at_least(1.0, "/s"), 0.9, False),
        (at_most(2.0, "s"), 2.0, True),
        (at_most(2.0, "s"), 2.1, False),
        (at_most(2.0), 1.0, False),
    ],
)
def test_a_target_is_met_or_missed(target: Target, value: float, reached: bool) -> None:
    """A bound counts as kept when it is touched, and a ratio to nothing as missed."""
    assert Row("x", Samples("a", target.unit, (value,)), None, target).reached is reached


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2_049_000, "/s", "2.05 M/s"),
        (394_321, "/s", "394 k/s"),
        (4.53e-6, "s", "4.53 µs"),
        (0.06, "s", "60 ms"),
        (507.4, "s", "507 s"),
        (8192, "B", "8 KiB"),
        (0.00696, "%", "0.00696 %"),
        (1234.5, "×", "1234 ×"),
        (0, "", "0"),
        (0, "s", "0 s"),
    ],
)
def test_quantities_are_readable(value: float, unit: str, text: str) -> None:
    """A number is shown with three digits and the unit that suits it."""
    assert quantity(value, unit) == text


def test_the_plain_table_is_aligned() -> None:
    """Away from a terminal the table is plain text with one line for each figure."""
    out = io.StringIO()
    show([FAST, SLOW], FACTS, out)
    heading, rule, fast, slow, *_ = out.getvalue().splitlines()
    assert out.getvalue() == plain([FAST, SLOW], FACTS)
    assert [word for word in HEADINGS if word not in heading] == []
    assert set(rule) == {"-", " "}
    assert " ".join(fast.split()) == "tell 2.2 M/s queue: 1 M/s 2.2 × ≥ 1 × yes"
    assert " ".join(slow.split()) == "start 3 s – – ≤ 2 s no"


def test_the_table_on_a_terminal_says_the_same() -> None:
    """A terminal gets the same cells in a drawn table."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    show([FAST], FACTS, out)
    assert "2.2 M/s" in out.getvalue()
    assert "cores: 2" in out.getvalue()


def test_the_markdown_table_has_a_row_for_each_figure() -> None:
    """The table for the documentation is valid Markdown, with the machine below it."""
    heading, rule, fast, slow, _, facts = markdown([FAST, SLOW], FACTS).splitlines()
    assert heading == "| figure | ours | compared with | ratio | target | reached |"
    assert rule == "| --- | --: | --- | --: | --: | --- |"
    assert fast == "| tell | 2.2 M/s | queue: 1 M/s | 2.2 × | ≥ 1 × | yes |"
    assert slow == "| start | 3 s | – | – | ≤ 2 s | no |"
    assert facts == "Measured on cores: 2."


@pytest.mark.parametrize(("row", "options", "code"), [(FAST, ["--check"], 0), (SLOW, ["--check"], 1), (SLOW, [], 0)])
def test_a_missed_target_fails_a_check(
    row: Row, options: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code tells of a missed target if asked to, and the files are written either way."""
    monkeypatch.setattr(program, "FIGURES", {"one": lambda _: [row], "other": lambda _: pytest.fail("not asked for")})
    json_file, markdown_file = tmp_path / "out.json", tmp_path / "out.md"
    assert program.main(["one", "--json", str(json_file), "--markdown", str(markdown_file), *options]) == code
    (found,) = json.loads(json_file.read_text(encoding="utf-8"))["rows"]
    assert found["ours"]["values"] == list(row.ours.values)
    assert found["reached"] is row.reached
    assert row.figure in markdown_file.read_text(encoding="utf-8")


def test_an_unknown_figure_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong name is a usage error that lists the right ones."""
    with pytest.raises(SystemExit) as stopped:
        program.main(["tel"])
    assert stopped.value.code == 2
    assert "tell" in capsys.readouterr().err
