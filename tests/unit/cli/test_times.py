"""Times on the command line: read as people write them, and written so that they can read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import typer

from supervisor.cli import times

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("1.5", 1.5), ("500ms", 0.5), ("90s", 90.0), ("5m", 300.0), ("2h", 7200.0), (" 7d ", 604800.0)],
)
def test_a_duration_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    """Numbers are seconds, and the usual units are understood."""
    assert times.duration(text) == seconds
    assert times.moment_or_age(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5 weeks", "nan", "inf", "99999d", "1e3"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The refusal shows how to write one."""
    with pytest.raises(typer.BadParameter, match=r"500ms, 90s, 5m|ten years"):
        times.duration(text)


@pytest.mark.parametrize("text", ["2026-05-01T12:00Z", "2026-05-01 14:00:00+02:00", "2026-05-01T12:00:00.000+00:00"])
def test_a_moment_says_its_offset(text: str) -> None:
    """A moment is the same on every host."""
    assert times.moment(text) == NOON
    assert times.moment_or_age(text) == NOON


@pytest.mark.parametrize(("text", "said"), [("2026-05-01T12:00", "add Z for UTC"), ("tomorrow", "is no time")])
def test_a_doubtful_moment_is_refused(text: str, said: str) -> None:
    """Local time differs from host to host, so nobody guesses."""
    for read in (times.moment, times.moment_or_age):
        with pytest.raises(typer.BadParameter, match=said):
            read(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0s"), (0.44, "0.4s"), (12.6, "12s"), (185, "3m05s"), (7800, "2h10m"), (356_400, "4d3h")],
)
def test_ages_are_short(seconds: float, text: str) -> None:
    """At most two units are shown."""
    assert times.short(seconds) == text


def test_times_for_people_and_for_programs() -> None:
    """People see how far away a moment is, programs ISO 8601 in UTC."""
    assert times.relative(NOON - timedelta(minutes=5), NOON) == "5m00s ago"
    assert times.relative(NOON + timedelta(hours=2), NOON) == "in 2h00m"
    assert times.absolute(NOON.astimezone(timezone(timedelta(hours=2)))) == "2026-05-01T12:00:00Z"
    assert times.absolute(None) is None
