"""The numbers the process ends with are a contract with systemd, Kubernetes and scripts."""

from __future__ import annotations

from supervisor.process.exit_code import ExitCode


def test_numbers_are_the_documented_ones() -> None:
    """The codes do not change: others match on them."""
    assert {code.name: code.value for code in ExitCode} == {
        "CLEAN": 0,
        "DEAD_MAN": 1,
        "USAGE": 2,
        "NO_START": 69,
        "GAVE_UP": 70,
        "ABANDONED": 75,
        "CONFIG": 78,
    }


def test_each_code_has_a_sentence_of_its_own() -> None:
    """`meaning` is a sentence for every code, and no two share one."""
    meanings = {code.meaning for code in ExitCode}
    assert len(meanings) == len(ExitCode)
    assert all(meaning.endswith(".") for meaning in meanings)
