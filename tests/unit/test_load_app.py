"""`--app module:name` finds the user's application, or says what is wrong in a way that leads to the remedy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from supervisor.app import App
from supervisor.cli.load_app import load_app
from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Files = Callable[..., None]

GOOD = "from supervisor import App\napp = App()\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """Write modules into the working directory; whatever is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def failure(value: str) -> str:
    """Return the error that this value is answered with."""
    with pytest.raises(ConfigError) as caught:
        load_app(value)
    assert str(caught.value).startswith(f"app = {value!r}: ")
    return str(caught.value)


def test_an_app_is_found_in_the_working_directory(project: Files) -> None:
    """A module beside the user is found, whatever `sys.path` was."""
    project(shop_one=GOOD)
    assert isinstance(load_app("shop_one:app"), App)


def test_a_function_makes_the_app(project: Files) -> None:
    """A function without parameters is called for the App."""
    project(shop_two="from supervisor import App\nmade = App()\ndef make(fast=True): return made\n")
    assert load_app("shop_two:make") is sys.modules["shop_two"].made


def test_names_and_modules_may_have_dots(project: Files) -> None:
    """A module of a package, and an attribute of an attribute, are found."""
    project(shop_three__site=f"{GOOD}class live:\n    app = app\n")
    assert isinstance(load_app("shop_three.site:live.app"), App)


@pytest.mark.parametrize("value", ["shop", "shop:", ":app", ""])
def test_the_form_is_checked(value: str) -> None:
    """A value that is not module:name is answered with an example."""
    assert "write it as in shop:app" in failure(value)


@pytest.mark.parametrize(
    ("value", "problem", "remedy"),
    [
        ("shp_four:app", "there is no module shp_four", "did you mean shop_four?"),
        ("nothing_like_it:app", "there is no module nothing_like_it", "start in the folder of the module"),
        ("shop_four.py:app", "there is no module shop_four.py", "write the module without .py: shop_four"),
        ("shop_pack.sit:app", "there is no module shop_pack.sit", "did you mean shop_pack.site?"),
        ("shop_four.more.parts:app", "there is no module shop_four.more", "start in the folder"),
    ],
)
def test_a_missing_module_is_named(project: Files, value: str, problem: str, remedy: str) -> None:
    """The error tells which part does not exist, and what was perhaps meant."""
    project(shop_four=GOOD, shop_pack__site=GOOD)
    text = failure(value)
    assert problem in text
    assert remedy in text
    assert "Traceback" not in text


def test_an_import_error_inside_the_module_shows_the_users_traceback(project: Files, tmp_path: Path) -> None:
    """A module that exists but cannot be imported is told from a missing one, with the user's frames alone."""
    project(shop_five="import shop_five_stock\n", shop_five_stock="import not_installed_anywhere\n")
    text = failure("shop_five:app")
    assert "importing shop_five failed:" in text
    assert f'File "{tmp_path}/shop_five.py", line 1' in text
    assert f'File "{tmp_path}/shop_five_stock.py", line 1' in text
    assert text.endswith("ModuleNotFoundError: No module named 'not_installed_anywhere'")
    assert "importlib" not in text
    assert "load_app.py" not in text


@pytest.mark.parametrize(
    ("source", "last"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def (", "SyntaxError: invalid syntax"),
        ("from supervisor import Child\nChild('', object)", "free of '/'"),
    ],
)
def test_any_error_inside_the_module_is_shown(project: Files, source: str, last: str) -> None:
    """Whatever the module raises comes with the user's file and without frames of ours."""
    project(shop_six=source)
    text = failure("shop_six:app")
    assert "shop_six.py" in text
    assert last in text.splitlines()[-1]
    assert "supervisor/tree" not in text


def test_a_module_that_exits_is_explained(project: Files) -> None:
    """A script without the main guard does not end the process without a word."""
    project(shop_seven="import sys\nsys.exit(3)\n")
    text = failure("shop_seven:app")
    assert "sys.exit(3)" in text
    assert '__name__ == "__main__"' in text


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("shop_eight:ap", "did you mean shop_eight:app?"),
        ("shop_eight:service", "did you mean shop_eight:app?"),
        ("shop_many:thrid", "its apps are: first, second"),
        ("shop_many:secnd", "did you mean shop_many:second?"),
        ("shop_none:service", "define it there: service = App(...)"),
    ],
)
def test_a_missing_name_is_answered_with_those_that_exist(project: Files, value: str, remedy: str) -> None:
    """The error names the apps that the module has."""
    project(
        shop_eight=GOOD,
        shop_many="from supervisor import App\nfirst = App()\nsecond = App()\n",
        shop_none="x = 1\n",
    )
    text = failure(value)
    assert f"there is no {value.partition(':')[2]} in {value.partition(':')[0]}" in text
    assert remedy in text


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("number", "is of type int, not App"),
        ("App", "is the class App, not an App"),
        ("needy", "cannot be called: missing a required argument: 'name'"),
        ("later", "is an async function"),
        ("empty", "returned NoneType, not App"),
    ],
)
def test_a_wrong_thing_is_named(project: Files, name: str, problem: str) -> None:
    """The error tells what the name stands for instead of an App."""
    project(
        shop_nine="from supervisor import App\nnumber = 3\n"
        "def needy(name): ...\nasync def later(): ...\ndef empty(): ...\n"
    )
    text = failure(f"shop_nine:{name}")
    assert problem in text
    assert "remedy: " in text


def test_an_error_in_the_function_shows_the_users_traceback(project: Files, tmp_path: Path) -> None:
    """A function that fails is shown with the user's frames alone."""
    project(shop_ten="def make():\n    raise RuntimeError('no stock')\n")
    text = failure("shop_ten:make")
    assert f'File "{tmp_path}/shop_ten.py", line 2, in make' in text
    assert text.endswith("RuntimeError: no stock")
    assert "load_app.py" not in text
