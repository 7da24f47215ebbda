"""The package offers what it says, from where it says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import supervisor


def test_every_public_name_is_there() -> None:
    """Each name in `__all__` can be had from the package, is listed by `dir`, and nothing else is lazy."""
    assert sorted(supervisor._HOMES) == sorted(supervisor.__all__) == dir(supervisor)
    for name in supervisor.__all__:
        assert getattr(supervisor, name).__name__ == name


def test_type_checkers_see_the_same_homes() -> None:
    """The imports that a type checker follows name the same modules as the lazy table."""
    module = ast.parse(Path(supervisor.__file__).read_text())
    seen = {
        alias.name: (node.module or "").removeprefix("supervisor.")
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("supervisor.")
        for alias in node.names
    }
    assert seen == supervisor._HOMES


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that the package does not have fails as it would in any module."""
    with pytest.raises(AttributeError, match="no attribute 'Aktor'"):
        _ = supervisor.Aktor
