"""The commands of the control plane before it comes to a database: what they refuse, and whom they say they are."""

from __future__ import annotations

import io
import os
import pwd
import sys

import pytest

from supervisor.cli import main, person
from supervisor.cli.change_options import terms
from supervisor.process.exit_code import ExitCode

WHY = ("--reason", "a test")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["kill-switch", "activate"], "--reason: say why in a few words"),
        (["kill-switch", "activate", "--reason", "  "], "--reason: say why in a few words"),
        (["kill-switch", "activate", "--reason", "x" * 501], "--reason: it has 501 characters; 500 are enough"),
        (["kill-switch", "activate", "--reason", "two\nlines"], "is not one line of plain text"),
        (["kill-switch", "activate", *WHY, "--expires", "soon"], "--expires: 'soon' is no time"),
        (["kill-switch", "activate", *WHY, "--expires", "0"], "0 is no time to be off; leave --expires out"),
        (["kill-switch", "activate", *WHY, "--wait", "long"], "--wait: 'long' is no duration"),
        (["kill-switch", "activate", *WHY, "--wait", "1d"], "--wait: '1d' is more than 600 s"),
        (["kill-switch", "deactivate", *WHY, "--expires", "1h"], "No such option: --expires"),
        (["kill-switch", "actvate"], "Did you mean 'activate'"),
        (["mode", "set", "safe", *WHY], "'safe' is no mode; did you mean safe_mode?"),
        (["mode", "set", "x", *WHY], "the modes are normal, observe_only, safe_mode"),
        (["mode", "set", "normal", "--expires", "1h", *WHY], "do not go with normal"),
        (["service", "disable", *WHY], "Missing argument 'NAME'"),
        (["service", "disable", "billing"], "--reason: say why in a few words"),
        (["tenant", "pause", "", *WHY], "tenant has 0 characters: it must have 1 to 128"),
        (["tenant", "pause", "x" * 129, *WHY], "tenant has 129 characters"),
        (["kind", "pause", "a\tb", *WHY], "has a character that cannot be shown"),
        (["queue", "pause", "a\udcffb", *WHY], "has a character that cannot be shown"),
        (["tenant", "weight", "acme", "0", *WHY], "greater than or equal to 0.01"),
        (["audit", "list", "--since", "yesterday"], "or a duration, as in 90s"),
        (["audit", "list", "--limit", "0"], "greater than or equal to 1"),
    ],
)
def test_a_mistake_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is tried with a command line that is wrong: exit code 2, and the field, the value and the remedy."""
    assert main(words) == ExitCode.USAGE
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("group", ["kill-switch", "mode", "service", "tenant", "kind", "queue", "limits", "audit"])
def test_the_page_of_a_group_lists_its_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command has a whole sentence there."""
    assert main([group, "--help"]) == 0
    listed = capsys.readouterr().out.split("Commands:")[1]
    assert "..." not in listed
    assert listed.count(".\n") >= 2


class Terminal(io.StringIO):
    """Standard input or error of somebody who sits there."""

    def isatty(self) -> bool:
        return True


def test_a_missing_reason_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the reason is asked for once, and what is typed is taken without the blanks around it."""
    monkeypatch.setattr(sys, "stdin", Terminal(" orders are charged twice \n"))
    monkeypatch.setattr(sys, "stderr", asked := Terminal())
    assert terms(reason=None).reason == "orders are charged twice"
    assert "Why?" in asked.getvalue()


def test_a_dry_run_needs_no_reason() -> None:
    """What changes nothing needs no reason, and one that is given is kept."""
    assert terms(reason=None, dry_run=True).dry_run
    assert terms(reason="to see", dry_run=True).reason == "to see"


@pytest.mark.parametrize(
    ("uid", "environ", "told"),
    [
        (1000, {"LOGNAME": "somebody", "USER": "else", "SUDO_USER": "ana"}, "ben@ops-1"),
        (0, {}, "root@ops-1"),
        (0, {"SUDO_USER": "ana"}, "root@ops-1 (sudo: ana)"),
        (0, {"SUDO_USER": "root"}, "root@ops-1"),
        (0, {"SUDO_USER": "a\nb"}, "root@ops-1"),
        (4242, {}, "uid-4242@ops-1"),
    ],
)
def test_the_actor_is_whom_the_kernel_knows(
    uid: int, environ: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user is the process's own whatever the environment says, with who became root by sudo."""

    def known(number: int) -> pwd.struct_passwd:
        names = {0: "root", 1000: "ben"}
        if number not in names:
            raise KeyError(number)
        return pwd.struct_passwd((names[number], "x", number, number, "", "/", "/bin/sh"))

    monkeypatch.setattr(os, "getuid", lambda: uid)
    monkeypatch.setattr(pwd, "getpwuid", known)
    monkeypatch.setattr("socket.gethostname", lambda: "ops-1")
    assert person.actor(environ) == told


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, "command line"),
        ({"SSH_CONNECTION": "192.0.2.7 50122 192.0.2.1 22"}, "command line, ssh from 192.0.2.7"),
        ({"SSH_CONNECTION": "\x1b[2J 1 2 3"}, "command line"),
    ],
)
def test_the_source_says_how_a_command_came(environ: dict[str, str], told: str) -> None:
    """Over ssh the address is told from which somebody came, if it can be shown."""
    assert person.source(environ) == told
