"""The options of `limits set`: what they mean, and how a mistake in them is named."""

from __future__ import annotations

import pytest

from supervisor.cli import main
from supervisor.cli.limit_options import Amount, amount_of, amount_text, per
from supervisor.process.exit_code import ExitCode


@pytest.mark.parametrize(
    ("option", "text", "meant", "written"),
    [
        ("window", "10/1h", Amount(form="window", amount=10, period=3600.0), "10/h"),
        ("window", " 10 / hour ", Amount(form="window", amount=10, period=3600.0), "10/h"),
        ("window", "100/15min", Amount(form="window", amount=100, period=900.0), "100/15m"),
        ("window", "3/1.5s", Amount(form="window", amount=3, period=1.5), "3/1.5s"),
        ("window", "0/2d", Amount(form="window", amount=0, period=172800.0), "0/2d"),
        ("rate", "5/s", Amount(form="rate", amount=5, period=1.0), "5/s"),
        ("rate", "90/m", Amount(form="rate", amount=90, period=60.0), "90/m"),
        ("quota", "1000/day", Amount(form="quota", amount=1000, unit="day"), "1000/day"),
        ("quota", "1000/1d", Amount(form="quota", amount=1000, unit="day"), "1000/day"),
        ("budget", "49.50/month", Amount(form="budget", amount=49.5, unit="month"), "49.5/month"),
        ("budget", "7/week", Amount(form="budget", amount=7, unit="week"), "7/week"),
    ],
)
def test_an_amount_is_read_and_written(option: str, text: str, meant: Amount, written: str) -> None:
    """An amount in a time is read as people write it, and written so that it can be read again."""
    assert amount_of({option: text, "concurrency": None}) == meant
    assert amount_text(meant.form, meant.amount, meant.period, meant.unit) == written
    assert amount_of({option: written}) == meant


def test_a_number_at_the_same_time() -> None:
    """A limit on how many run at once has no time."""
    assert amount_of({"window": None, "concurrency": 3}) == Amount(form="concurrency", amount=3)
    assert amount_text("concurrency", 3, None, None) == "3"


def test_what_is_counted_by() -> None:
    """Names and fields of the arguments can be joined, and one that comes twice counts once."""
    assert per(None) == ()
    assert per("tenant, kind,args.customer.id,tenant") == ("tenant", "kind", "args.customer.id")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say how much with one of --window 10/1h"),
        (["--window", "1/h", "--rate", "1/s"], "not --window and --rate at once"),
        (["--window", "ten/h"], "--window: 'ten' is not a whole number from 0"),
        (["--window", "-1/h"], "is not a whole number from 0"),
        (["--window", "nan/h"], "is not a whole number from 0"),
        (["--window", "1.5/h"], "is not a whole number from 0"),
        (["--window", "9999999999999/h"], "is not a whole number from 0"),
        (["--window", "10"], "--window: '10' is no amount in a time; write it as in 10/1h"),
        (["--window", "10/month"], "'month' is no unit of time here"),
        (["--window", "10/0h"], "--window: '10/0h': a time must be above 0"),
        (["--rate", "5/parsec"], "--rate: '5/parsec': 'parsec' is no unit of time here"),
        (["--quota", "5/s"], "it turns with the calendar"),
        (["--quota", "5/2d"], "or take --window for any other length"),
        (["--quota", "5/day", "--zone", "Berlin"], "--zone: 'Berlin' is no time zone"),
        (["--quota", "5/day", "--zone", "../etc/passwd"], "is no time zone"),
        (["--window", "5/h", "--zone", "Europe/Berlin"], "--zone: goes with --quota and --budget"),
        (["--window", "5/h", "--burst", "3"], "--burst: goes with --rate"),
        (["--window", "5/h", "--per", "host"], "--per: 'host' is nothing to count by"),
        (["--window", "5/h", "--per", "args"], "or a field of the arguments"),
        (["--window", "5/h", "--service", ""], "service has 0 characters"),
        (["--concurrency", "-1"], "greater than or equal to 0"),
        (["--window", "5/h", "--at", "noon"], "'noon' is not one of"),
        (["--window", "5/h"], "--reason: say why"),
    ],
)
def test_a_mistake_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, with the option, the value and the remedy."""
    assert main(["limits", "set", "scans", *words]) == ExitCode.USAGE
    assert said in " ".join(capsys.readouterr().err.split())
