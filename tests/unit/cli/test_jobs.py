"""The command `jobs` before it comes to a database: what it refuses, and how it says so."""

from __future__ import annotations

import pytest

from supervisor.cli import main
from supervisor.process.exit_code import ExitCode


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "--status", "faild"], "did you mean failed?"),
        (["list", "--status", "x"], "the states are pending, running,"),
        (["list", "--since", "yesterday"], "or a duration, as in 90s"),
        (["list", "--limit", "0"], "greater than or equal to 1"),
        (["show", "x"], "valid integer"),
        (["retry"], "either some ids, or --failed"),
        (["retry", "1", "--failed"], "either some ids, or --failed"),
        (["retry", "1", "--kind", "x"], "--kind and --since go with --failed"),
        (["cancel"], "Missing argument 'ID"),
        (["resolve", "1", "charge"], "either --done with its result"),
        (["resolve", "1", "charge", "--done", "1", "--again"], "either --done with its result"),
        (["resolve", "1", "charge", "--done", "{x}"], "is not JSON"),
    ],
)
def test_a_mistake_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is tried with a command line that is wrong: exit code 2, and the remedy is said."""
    assert main(["jobs", *words]) == ExitCode.USAGE
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("group", ["jobs", "queue"])
def test_the_page_of_a_group_lists_its_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command has a whole sentence there."""
    main([group, "--help"])
    page = capsys.readouterr().out
    assert "..." not in page.split("Commands:")[1]
    assert page.count(".\n") >= 3
