"""Checks, when a handler is declared, that the type of its arguments survives the way through the database."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_origin

from msgspec import inspect as shapes

from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFUSED: Final[dict[type[shapes.Type], tuple[str, str]]] = {
    shapes.SetType: ("a set has no place in JSON", "declare a list"),
    shapes.FrozenSetType: ("a set has no place in JSON", "declare a list or a tuple"),
    shapes.BytesType: ("bytes have no place in JSON", "declare a str, such as base64, or pass a reference"),
    shapes.ByteArrayType: ("bytes have no place in JSON", "declare a str, such as base64, or pass a reference"),
    shapes.MemoryViewType: ("bytes have no place in JSON", "declare a str, such as base64, or pass a reference"),
    shapes.RawType: ("raw JSON is not checked", "declare the type that it has, or typing.Any"),
    shapes.ExtType: ("it belongs to MessagePack", "declare a JSON type"),
}


@dataclass(frozen=True, slots=True)
class ArgsShape:
    """What an encoder must know about a type of arguments.

    `loose`: somewhere the type says nothing, or says both int and float, so that the text alone decides what a number
    becomes. `blind`: somewhere `==` leaves out a field, so that it proves nothing.
    """

    loose: bool
    blind: bool


def shape_of(kind: str, args_type: object) -> ArgsShape:
    """Inspect the annotation of a handler's arguments; ConfigError names the place that JSON cannot hold."""
    try:
        root = shapes.type_info(args_type)
    except NameError as error:
        raise ConfigError(
            f"job {kind!r}: the type of args needs {error.name!r}, which its module does not have at run time: "
            "import it outside `if TYPE_CHECKING:`, and define it at the top of a module"
        ) from error
    except TypeError as error:
        raise ConfigError(f"job {kind!r}: the type of args cannot be decoded: {error}") from error
    loose = blind = False
    for path, shape in _walk(root):
        _refuse(kind, path, shape)
        loose = loose or _is_loose(shape)
        blind = blind or (isinstance(shape, shapes.DataclassType) and _is_blind(shape.cls))
    return ArgsShape(loose, blind)


def _walk(root: shapes.Type) -> Iterator[tuple[str, shapes.Type]]:
    """List a type and all in it, each with its path; a class once, also when it contains itself."""
    waiting, seen = [("args", root)], set[object]()
    while waiting:
        path, shape = waiting.pop()
        yield path, shape
        match shape:
            case shapes.StructType() | shapes.DataclassType() | shapes.TypedDictType() | shapes.NamedTupleType():
                if shape.cls not in seen:
                    seen.add(shape.cls)
                    waiting += [(f"{path}.{field.name}", field.type) for field in reversed(shape.fields)]
            case shapes.ListType() | shapes.VarTupleType():
                waiting.append((f"{path}[]", shape.item_type))
            case shapes.TupleType():
                waiting += [(f"{path}[{place}]", item) for place, item in enumerate(shape.item_types)]
            case shapes.DictType():
                waiting.append((f"{path}[]", shape.value_type))
            case shapes.UnionType():
                waiting += [(path, option) for option in shape.types]
            case _:
                pass


def _refuse(kind: str, path: str, shape: shapes.Type) -> None:
    if type(shape) in _REFUSED:
        reason, remedy = _REFUSED[type(shape)]
        raise ConfigError(f"job {kind!r}: {path}: {reason}; {remedy}")
    if isinstance(shape, shapes.CustomType) and shape.cls is not object:
        raise ConfigError(
            f"job {kind!r}: {path}: {shape.cls.__name__} is not a type that JSON can hold; "
            "declare a dataclass, a msgspec.Struct, or JSON types (dict, list, str, int, float, bool, None)"
        )
    if isinstance(shape, shapes.DataclassType) and not dataclasses.is_dataclass(get_origin(shape.cls) or shape.cls):
        raise ConfigError(f"job {kind!r}: {path}: {shape.cls.__name__} is an attrs class; declare a dataclass")
    if isinstance(shape, shapes.DictType) and not _is_text(shape.key_type):
        raise ConfigError(f"job {kind!r}: {path}: the keys of a JSON object are texts; declare dict[str, …]")


def _is_text(key: shapes.Type) -> bool:
    match key:
        case shapes.StrType() | shapes.AnyType():
            return True
        case shapes.LiteralType(values=values):
            return all(isinstance(value, str) for value in values)
        case shapes.EnumType(cls=cls):
            return issubclass(cls, str)
        case _:
            return False


def _is_loose(shape: shapes.Type) -> bool:
    match shape:
        case shapes.AnyType() | shapes.CustomType():
            return True
        case shapes.UnionType(types=types):
            found = {type(each) for each in types}
            return {shapes.IntType, shapes.FloatType} <= found
        case _:
            return False


def _is_blind(cls: type) -> bool:
    return not all(field.compare for field in dataclasses.fields(get_origin(cls) or cls))
