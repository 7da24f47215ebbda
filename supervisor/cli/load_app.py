"""Finds the application that `--app module:name` names, or says what is wrong and what to do."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.app import App
from supervisor.errors import ConfigError
from supervisor.telemetry.tracebacks import is_empty, render

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def load_app(value: str) -> App:
    """Import `module:name`, also from the working directory, and return the App.

    `name` is an App, or a function without parameters that returns one; it may have dots. Raises
    ConfigError with what was found and the remedy; for an error in the user's own code, with its traceback.
    """
    module_name, _, name = value.partition(":")
    if not module_name or not name:
        raise _wrong(value, "is not of the form module:name", "write it as in shop:app")
    found = _find(value, _import(value, module_name), name)
    if isinstance(found, App):
        return found
    if isinstance(found, type):
        raise _wrong(value, f"is the class {found.__name__}, not an App", "name an App, or a function that returns one")
    if not callable(found):
        raise _wrong(
            value, f"is of type {type(found).__name__}, not App", "name an App, or a function that returns one"
        )
    made = _call(value, found)
    if not isinstance(made, App):
        raise _wrong(value, f"is a function that returned {type(made).__name__}, not App", "let it return an App")
    return made


def _import(value: str, module_name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except SystemExit as end:
        problem = f"importing {module_name} ended with sys.exit({end.code!r})"
        raise _wrong(value, problem, 'put that call under: if __name__ == "__main__":') from None
    except ModuleNotFoundError as error:
        if not is_empty(error):
            raise _failed(value, f"importing {module_name} failed", error) from None
        raise _wrong(
            value, f"there is no module {error.name}, neither in {here} nor installed", _remedy(error.name or "")
        ) from None
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        raise _failed(value, f"importing {module_name} failed", error) from None


def _remedy(missing: str) -> str:
    """Guess what was meant by the name of a module that does not exist."""
    package, _, name = missing.rpartition(".")
    if name == "py":
        return f"write the module without .py: {package}"
    folders = getattr(sys.modules.get(package), "__path__", None) or [str(Path.cwd())]
    near = [module.name for module in pkgutil.iter_modules(folders)]
    if close := difflib.get_close_matches(name, near, n=1):
        return f"did you mean {package}.{close[0]}?" if package else f"did you mean {close[0]}?"
    return "start in the folder of the module, or install the package that has it"


def _find(value: str, module: ModuleType, name: str) -> object:
    found: object = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            apps = sorted(key for key, held in vars(module).items() if isinstance(held, App))
            close = difflib.get_close_matches(part, [*apps, *dir(found)], n=1)
            if meant := apps if len(apps) == 1 else close:
                remedy = f"did you mean {module.__name__}:{meant[0]}?"
            else:
                remedy = f"define it there: {name} = App(...)" if not apps else f"its apps are: {', '.join(apps)}"
            where = f"{module.__name__} ({getattr(module, '__file__', None) or 'a folder'})"
            raise _wrong(value, f"there is no {name} in {where}", remedy) from None
    return found


def _call(value: str, factory: Callable[..., object]) -> object:
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise _wrong(value, f"is a function that cannot be called: {error}", "give its parameters defaults") from None
    except ValueError:  # a builtin without a signature: the call will tell
        pass
    if inspect.iscoroutinefunction(factory):
        raise _wrong(value, "is an async function", "make it a plain one: no event loop runs yet")
    try:
        return factory()
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        raise _failed(value, "the function failed", error) from None


def _wrong(value: str, problem: str, remedy: str) -> ConfigError:
    return ConfigError(f"app = {value!r}: {problem}\n  remedy: {remedy}")


def _failed(value: str, problem: str, error: Exception) -> ConfigError:
    return ConfigError(f"app = {value!r}: {problem}:\n\n{render(error, hide_ours=True)}")
