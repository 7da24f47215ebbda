"""`tree`: look at the tree of a running process, or stop, restart and remove a part of it."""

from __future__ import annotations

import contextlib
import threading
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from supervisor.errors import SupervisorError
from supervisor.process.exit_code import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import Console

    from supervisor.cli.tree_view import TreeView
    from supervisor.process.inspector_client import Running

WATCH_EVERY: Final = 1.0
"""Seconds between two looks of `--watch`."""

PIPED_WIDTH: Final = 250
"""Columns of the tree where no terminal sets a limit."""


class Action(StrEnum):
    """What to do with the tree."""

    SHOW = "show"
    STOP = "stop"
    RESTART = "restart"
    REMOVE = "remove"


_DONE: Final = {Action.STOP: "stopped", Action.RESTART: "restarted", Action.REMOVE: "removed"}


def tree(
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="What to do.")] = Action.SHOW,
    path: Annotated[str | None, typer.Argument(metavar="PATH", help="The node, as in root/shop/mailer.")] = None,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The process of this name.")] = None,
    pid: Annotated[int | None, typer.Option(metavar="PID", help="The process of this number.")] = None,
    runtime_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the processes' sockets.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    stacks: Annotated[bool, typer.Option("--stacks", help="Show where each task stands.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew each second, until Ctrl-C.")] = False,
) -> None:
    """Look at the tree of a running process, or change it.

    A node that was stopped stays so until it is restarted, or may be removed.
    """
    if action is not Action.SHOW and path is None:
        raise typer.BadParameter(f"`tree {action}` needs the path of a node; `tree` lists them")
    if watch and (as_json or action is not Action.SHOW):
        raise typer.BadParameter("--watch shows the tree; it goes neither with --json nor with another action")
    process = _choose(name, pid, runtime_dir)
    try:
        if action is Action.SHOW:
            _show(process, path, stacks=stacks, watch=watch, as_json=as_json)
        else:
            _change(process, action, path or "", as_json=as_json)
    except SupervisorError as error:
        _leave(ExitCode.NO_START, str(error))


def _choose(name: str | None, pid: int | None, runtime_dir: Path | None) -> Running:
    """Find the one process that is meant, or leave with a list of those that run."""
    from supervisor.config import load
    from supervisor.process.inspector_client import find
    from supervisor.process.runtime_dir import default_dir

    config = load(flags={"name": name, "runtime_dir": None if runtime_dir is None else str(runtime_dir)})
    folder = config.runtime_dir or default_dir()
    running = find(folder)
    chosen = [process for process in running if config.name in {None, process.name} and pid in {None, process.pid}]
    if not chosen:
        wanted = (f" called {config.name}" if config.name else "") + (f" with pid {pid}" if pid is not None else "")
        others = f"these are:\n{_listed(running)}" if running else f"looked in {folder}"
        _leave(ExitCode.NO_START, f"no process{wanted} is running; {others}")
    if len(chosen) > 1:
        _leave(ExitCode.USAGE, f"several processes are running, so choose with --name or --pid:\n{_listed(chosen)}")
    return chosen[0]


def _listed(running: list[Running]) -> str:
    width = max(len(process.name) for process in running)
    return "\n".join(f"  {process.name:<{width}}  pid {process.pid}" for process in running)


def _show(process: Running, path: str | None, *, stacks: bool, watch: bool, as_json: bool) -> None:
    from supervisor.process.inspector_client import request

    def answer() -> dict[str, object]:
        whole = request(process, {"op": "tree", "stacks": stacks})
        return whole if path is None else {**whole, "tree": _subtree(whole["tree"], path)}

    if as_json:
        typer.echo(_json(answer()))
        return
    from rich.console import Console

    from supervisor.cli.tree_view import TreeView

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    if not watch:
        console.print(TreeView.of(answer()))
    elif console.is_terminal:
        _watch(console, lambda: TreeView.of(answer()))
    else:
        _leave(ExitCode.USAGE, "--watch needs a terminal")


def _watch(console: Console, view: Callable[[], TreeView], pause: Callable[[float], object] | None = None) -> None:
    """Draw `view()` each second, on a screen of its own, until Ctrl-C."""
    from rich.live import Live

    pause = pause or threading.Event().wait
    with contextlib.suppress(KeyboardInterrupt), Live(view(), console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(view(), refresh=True)
            pause(WATCH_EVERY)


def _subtree(root: dict[str, Any], path: str) -> dict[str, Any]:
    found = next((node for node in _walk(root) if node["path"] == path), None)
    if found is None:
        _leave(ExitCode.USAGE, f"there is no node {path!r}; `tree` lists the nodes")
    return found


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node["children"]:
        yield from _walk(child)


def _change(process: Running, action: Action, path: str, *, as_json: bool) -> None:
    from supervisor.process.inspector_client import request

    answer = request(process, {"op": action.value, "path": path})
    typer.echo(_json(answer) if as_json else f"{_DONE[action]} {path}")


def _json(answer: Mapping[str, object]) -> str:
    import orjson

    return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()


def _leave(code: ExitCode, message: str) -> NoReturn:
    typer.echo(f"supervisor: {message}", err=True)
    raise typer.Exit(code)
