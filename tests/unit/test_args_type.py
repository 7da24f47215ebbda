"""Types of arguments that JSON cannot hold are refused where the handler is declared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec
import pytest

from supervisor.errors import ConfigError, InvalidPayload
from supervisor.jobs.payload import Payload
from tests.unit.orders import Item, Order, Size

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


@dataclass
class Secretive:
    data: dict[str, list[bytes]]


@dataclass
class Tree:
    children: list[Tree]


@dataclass
class Unread:
    item: Sequence[int]


@pytest.mark.parametrize(
    ("args_type", "message"),
    [
        (set[int], "args: a set has no place"),
        (list[frozenset[int]], r"args\[\]: a set has no place"),
        (Secretive, r"args\.data\[\]\[\]: bytes have no place"),
        (dict[int, str], "args: the keys of a JSON object are texts"),
        (dict[Size, str], "args: the keys of a JSON object are texts"),
        (complex, "args: complex is not a type that JSON can hold"),
        (tuple[int, msgspec.Raw], r"args\[1\]: raw JSON is not checked"),
        (Item | Order, "cannot be decoded"),
    ],
)
def test_a_type_that_json_cannot_hold_is_refused(args_type: type[object], message: str) -> None:
    """A type that can never work is refused when the handler is declared, by its path."""
    with pytest.raises(ConfigError, match=f"job 'x': .*{message}"):
        Payload("x", args_type)


def test_a_type_may_contain_itself() -> None:
    """A recursive type is inspected once and works."""
    payload = Payload("tree", Tree)
    tree = Tree([Tree([]), Tree([Tree([])])])
    assert payload.decode(payload.encode(tree)) == tree


@dataclass
class Box(Generic[T]):
    content: T
    label: str = field(default="", compare=False)


def test_a_generic_class_is_looked_into() -> None:
    """The parameters of a generic dataclass count, and so do its fields with compare=False."""
    payload = Payload("box", Box[int])
    assert payload.decode(payload.encode(Box(1, "x"))).label == "x"
    with pytest.raises(InvalidPayload, match=r"args\.label: bytes"):
        payload.encode(Box(1, b"x"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"args\.content: a set"):
        Payload("box", Box[set[int]])


def test_a_field_whose_type_is_not_there_at_run_time_is_refused() -> None:
    """A field type that was imported for type checkers only is named, with the remedy."""
    with pytest.raises(ConfigError, match=r"needs 'Sequence', .*: import it outside `if TYPE_CHECKING:`"):
        Payload("x", Unread)
