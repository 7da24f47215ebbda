"""Checks the public types with mypy: right programs pass, and each wrong line is rejected for its own reason.

A line of `bad.py` that must fail ends in `# E: code`. Every other line must pass.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest
from mypy import api

from tests.source import ROOT

HERE: Final = Path(__file__).parent
MARK: Final = re.compile(r"  # E: ([a-z-]+)$")
FATAL: Final = 2  # mypy's exit status when it could not do its work

# Both files in one process, so that mypy reads the package once.
pytestmark = pytest.mark.xdist_group("mypy")


def expected(path: Path) -> list[tuple[int, str]]:
    """List the errors that a file announces in its marks, as line and code."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(number, mark[1]) for number, line in enumerate(lines, 1) if (mark := MARK.search(line))]


def reported(*paths: Path, cache: Path) -> dict[Path, list[tuple[int, str]]]:
    """List the errors that mypy finds in these files, as line and code; what they import is not their matter."""
    options = ["--strict", f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={cache}"]
    output = ["--output=json", "--no-error-summary"]
    out, err, status = api.run([*options, *output, *(str(path) for path in paths)])
    if status == FATAL or err:
        pytest.fail(f"mypy could not check {[path.name for path in paths]}: {err or out}")
    found: dict[Path, list[tuple[int, str]]] = {path: [] for path in paths}
    for line in out.splitlines():
        error = json.loads(line)
        place = (Path.cwd() / error["file"]).resolve()
        if error["severity"] == "error" and place in found:
            found[place].append((error["line"], error["code"]))
    return {path: sorted(errors) for path, errors in found.items()}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, list[tuple[int, str]]]:
    """Run mypy once over both files."""
    return reported(HERE / "good.py", HERE / "bad.py", cache=tmp_path_factory.mktemp("mypy"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["good.py", "bad.py"])
def test_the_public_types(ours: dict[Path, list[tuple[int, str]]], name: str) -> None:
    """Type checking accepts what should work and rejects each wrong line with the announced error and no other."""
    assert ours[HERE / name] == expected(HERE / name)


def test_every_kind_of_misuse_is_on_record() -> None:
    """The file of wrong programs announces errors, and the file of right programs announces none."""
    assert expected(HERE / "bad.py")
    assert expected(HERE / "good.py") == []


@pytest.mark.parametrize(
    ("line", "agrees"),
    [
        pytest.param('x: int = "a"  # E: assignment', True, id="announced"),
        pytest.param('x: int = "a"', False, id="not announced"),
        pytest.param("x: int = 1  # E: assignment", False, id="announced in vain"),
        pytest.param('x: int = "a"  # E: arg-type', False, id="announced with another code"),
        pytest.param("x: int = 1", True, id="right"),
    ],
)
def test_the_comparison_sees_a_difference(tmp_path: Path, line: str, agrees: bool) -> None:
    """A mark and what mypy reports agree only when both the line and the code are the same."""
    program = tmp_path.resolve() / "program.py"
    program.write_text(f"from __future__ import annotations\n\n{line}\n", encoding="utf-8")
    found = reported(program, cache=ROOT / ".mypy_cache" / "typing")
    assert (found[program] == expected(program)) is agrees
