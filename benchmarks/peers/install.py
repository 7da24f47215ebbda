"""Installs the peers on demand, outside the project's own environment: they are measured, never imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE: Final = Path(__file__).resolve().parent
BENCH: Final = HERE.parent.parent / ".bench"
"""Where everything goes that is installed or measured; not under version control."""

_NODE: Final = BENCH / "node"
_PYTHON: Final = BENCH / "python"
_LIMIT: Final = 600.0


class MissingTool(Exception):
    """Something that cannot be installed from here; the message has the remedy."""


def install(say: Callable[[str], None]) -> None:
    """Install what is missing, in the versions that the two lists of requirements pin."""
    BENCH.mkdir(exist_ok=True)
    _install_node(say)
    _install_python(say)


def command(runtime: str, script: str) -> tuple[list[str], Path]:
    """Return how to start a contestant's script, and in which folder."""
    if runtime == "node":
        return [str(_NODE / "node_modules/.bin/node"), script], _NODE
    return [str(_PYTHON / "bin/python"), str(HERE / "python" / script)], HERE


def _install_node(say: Callable[[str], None]) -> None:
    if shutil.which("npm") is None:
        raise MissingTool("npm is not on the PATH: two of the peers are Node.js programs; install Node.js with npm")
    _NODE.mkdir(exist_ok=True)
    wanted = (HERE / "node/package.json").read_text(encoding="utf-8")
    for script in (HERE / "node").glob("*.mjs"):
        shutil.copy(script, _NODE)
    stamp = _NODE / "installed.json"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    say("installing the Node.js peers")
    shutil.copy(HERE / "node/package.json", _NODE)
    _run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"], _NODE)
    stamp.write_text(wanted, encoding="utf-8")


def _install_python(say: Callable[[str], None]) -> None:
    wanted = (HERE / "python/requirements.txt").read_text(encoding="utf-8")
    stamp = _PYTHON / "installed.txt"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    say("installing the Python peers")
    venv.create(_PYTHON, with_pip=True, clear=True)
    requirements = str(HERE / "python/requirements.txt")
    _run([str(_PYTHON / "bin/python"), "-m", "pip", "install", "-qq", "--no-input", "-r", requirements], HERE)
    stamp.write_text(wanted, encoding="utf-8")


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own lists of requirements
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_LIMIT
    )
    if done.returncode:
        sys.stderr.write(done.stderr[-2000:])
        raise MissingTool(f"{command[0]} could not install the peers (exit {done.returncode}); see its words above")
