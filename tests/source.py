"""Reads the project's own Python files, so that tests can hold the rules which no linter knows.

Everything works on the syntax tree and never imports the code it looks at.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("supervisor", "actors")
PROGRAMS = ("examples", "benchmarks")
TESTS = ("tests",)


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: its path from the project's root, with forward slashes, and its syntax tree."""

    path: str
    tree: ast.Module
    line_count: int

    @property
    def package(self) -> str:
        """Name the package that relative imports in this file start from."""
        return ".".join(Path(self.path).parts[:-1])


@dataclass(frozen=True, slots=True)
class Finding:
    """A place in a file, and what was found there: a dotted name, or a broken rule."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def parse(path: str, text: str) -> Source:
    """Make a `Source` of a text, as if it stood at `path`."""
    return Source(path, ast.parse(text, path), len(text.splitlines()))


@cache
def read(*folders: str) -> tuple[Source, ...]:
    """Read every Python file under these folders of the project; a folder that does not exist has none."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(parse(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths)


def imports(source: Source) -> Iterator[Finding]:
    """List what a file imports, with absolute names, wherever in the file the import stands.

    `from a import b` counts as `a.b`, since only the file system knows whether `b` is a module.
    `import_module("a")` and `__import__("a")` count when the name is a literal.
    """
    for node in ast.walk(source.tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Finding(source.path, node.lineno, alias.name)
            case ast.ImportFrom(names=names):
                base = _absolute(source, node)
                for alias in names:
                    yield Finding(source.path, node.lineno, base if alias.name == "*" else f"{base}.{alias.name}")
            case ast.Call(args=[ast.Constant(value=str(name)), *_]) if _called(node) in {"import_module", "__import__"}:
                yield Finding(source.path, node.lineno, name)
            case _:
                pass


def references(source: Source) -> Iterator[Finding]:
    """List the dotted names a file uses, with import aliases resolved: `aio.sleep` is `asyncio.sleep`."""
    aliases = _aliases(source)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute | ast.Name):
            yield Finding(source.path, node.lineno, dotted(node, aliases))


def calls(source: Source) -> Iterator[tuple[Finding, ast.Call]]:
    """List every call with the dotted name of what it calls, import aliases resolved."""
    aliases = _aliases(source)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            yield Finding(source.path, node.lineno, dotted(node.func, aliases)), node


def dotted(node: ast.expr, aliases: dict[str, str] | None = None) -> str:
    """Write an expression as a dotted name; a call in it becomes `()` and anything else `?`."""
    match node:
        case ast.Name(id=name):
            return (aliases or {}).get(name, name)
        case ast.Attribute(value=value, attr=attribute):
            return f"{dotted(value, aliases)}.{attribute}"
        case ast.Call(func=function):
            return f"{dotted(function, aliases)}()"
        case _:
            return "?"


def _aliases(source: Source) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(source, node)
            found.update({alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names})
    return found


def _absolute(source: Source, node: ast.ImportFrom) -> str:
    module = node.module or ""
    if not node.level:
        return module
    parts = source.package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, module] if module else base)


def _called(node: ast.Call) -> str:
    return dotted(node.func).rpartition(".")[2]
