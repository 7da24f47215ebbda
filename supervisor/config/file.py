"""Reads `supervisor.toml`: what it says, with the line of each setting."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from supervisor.config.mistakes import mistake, printable
from supervisor.config.rows import PREFIX

if TYPE_CHECKING:
    from pathlib import Path

Given: TypeAlias = tuple[str, object, str]
"""A name, its value as written, and where that stands."""

_FILE: Final = "supervisor.toml"


def read_file(flag: object, variable: str | None, directory: Path) -> tuple[list[Given], list[str]]:
    """Return what the file says, and the mistake if it cannot be read; it need not exist if nothing names it."""
    import tomllib  # noqa: PLC0415 - as slow to import as half of this package

    named, origin = (variable, f"environment {PREFIX}CONFIG") if variable else (_FILE, "default")
    named, origin = (str(flag), "flag --config") if flag is not None else (named, origin)
    label = printable(str(directory / named))
    text = ""
    try:
        text = (directory / named).read_bytes().decode("utf-8-sig")
        return [(key, raw, label + _line_of(key, text)) for key, raw in tomllib.loads(text).items()], []
    except OSError as error:
        if origin == "default" and isinstance(error, FileNotFoundError):
            return [], []
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        problem, origin = "is not UTF-8", f"{label} line {error.object[: error.start].count(10) + 1}"
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else len(text.splitlines())
        problem, origin = f"is not valid TOML: {error}", f"{label} line {line}"
    except (ValueError, RecursionError):
        problem = "cannot be read: no file has such a name, or it has a number too long, or values nested too deeply"
    remedy = f"correct it, or go without it: {_FILE} is optional"
    return [], [mistake(f"config = {label} ({origin})", problem, "the path of a TOML file in UTF-8", remedy)]


def _line_of(key: str, text: str) -> str:
    """Return ` line N` for a key of the top level, or nothing when a plain search leaves a doubt."""
    start = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[=.\]]""")
    found = [number for number, line in enumerate(text.split("\n"), 1) if start.match(line)]
    return f" line {found[0]}" if len(found) == 1 else ""
