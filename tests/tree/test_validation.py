"""What cannot work is refused where it is written, with a message that names the field, the value and the remedy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from supervisor import (
    Actor,
    AutoShutdown,
    Backoff,
    Child,
    DynamicSupervisor,
    OnStall,
    Restart,
    Supervisor,
)
from supervisor.errors import ConfigError
from supervisor.tree.intensity import Intensity
from tests.tree.actors import Puppet

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[], object]


def child(**options: object) -> Child[object]:
    """Make a child named `a` with these options."""
    return Child("a", Puppet, **options)  # type: ignore[arg-type]


def refused(make: Make) -> str:
    """Return the message with which `make` is refused."""
    with pytest.raises(ConfigError) as caught:
        make()
    return str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("start_timeout", 0, "must be more than 0"),
        ("start_timeout", -1.5, "must be more than 0"),
        ("start_timeout", math.nan, "must be more than 0"),
        ("stop_timeout", -0.1, "must be 0 seconds or more"),
        ("stop_timeout", math.nan, "must be 0 seconds or more"),
        ("cancel_grace", -1, "must be 0 seconds or more"),
        ("teardown_timeout", -1, "must be 0 seconds or more"),
        ("stall_after", 0, "must be a positive number of seconds, or None"),
        ("stall_after", -5, "must be a positive number of seconds, or None"),
        ("stall_after", math.inf, "must be a positive number of seconds, or None"),
        ("stall_after", math.nan, "must be a positive number of seconds, or None"),
        ("capacity", 0, "must hold at least 1"),
        ("capacity", -3, "must hold at least 1"),
    ],
)
def test_a_childs_limits_must_make_sense(option: str, value: float, remedy: str) -> None:
    """A number of a child that cannot work is refused with the child's name, the option, the value and the rule."""
    message = refused(lambda: child(**{option: value}))
    assert "child 'a'" in message
    assert f"{option} = {value}" in message
    assert remedy in message


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "\x00", "\ud800"])
@pytest.mark.parametrize(
    "make", [lambda name: Child(name, Puppet), Supervisor, DynamicSupervisor], ids=["child", "supervisor", "dynamic"]
)
def test_a_name_must_fit_into_a_path(make: Callable[[str], object], name: str) -> None:
    """A name that could not be told apart in a path or a log line is refused."""
    message = refused(lambda: make(name))
    assert repr(name) in message
    assert "must be printable, not empty, and free of '/'" in message


@pytest.mark.parametrize("factory", [Puppet(), 7, None, "tests.tree.actors:Puppet"])
def test_a_factory_must_make_actors(factory: Callable[[], Actor[object]]) -> None:
    """An actor instance, or anything else that cannot be called, is refused, and the message shows what to write."""
    message = refused(lambda: Child("a", factory))
    assert "child 'a'" in message
    assert type(factory).__name__ in message
    assert "Child('a', lambda: …)" in message


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("first", -1, "must be a finite number of seconds, 0 or more"),
        ("first", math.inf, "must be a finite number of seconds, 0 or more"),
        ("first", math.nan, "must be a finite number of seconds, 0 or more"),
        ("cap", -1, "must be a finite number of seconds, 0 or more"),
        ("cap", math.inf, "must be a finite number of seconds, 0 or more"),
        ("healthy_after", -1, "must be a finite number of seconds, 0 or more"),
        ("healthy_after", math.nan, "must be a finite number of seconds, 0 or more"),
        ("factor", 0.9, "must be 1 or more"),
        ("factor", math.inf, "must be 1 or more"),
        ("factor", math.nan, "must be 1 or more"),
        ("jitter", -0.1, "0 or more and below 1"),
        ("jitter", 1, "0 or more and below 1"),
        ("jitter", math.nan, "0 or more and below 1"),
    ],
)
def test_a_backoff_must_make_sense(field: str, value: float, remedy: str) -> None:
    """A backoff that would shrink, never end or run backwards is refused."""
    message = refused(lambda: Backoff(**{field: value}))
    assert f"{field}={value}" in message
    assert remedy in message


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("max_restarts", 0, "must be 1 or more"),
        ("max_restarts", -1, "must be 1 or more"),
        ("within", 0, "must be a positive, finite number"),
        ("within", -60, "must be a positive, finite number"),
        ("within", math.inf, "must be a positive, finite number"),
        ("within", math.nan, "must be a positive, finite number"),
    ],
)
@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
def test_a_supervisors_patience_must_make_sense(kind: type[Supervisor], field: str, value: float, remedy: str) -> None:
    """A limit that a supervisor could not keep, or could never reach, is refused."""
    message = refused(lambda: kind("root", **{field: value}))  # type: ignore[arg-type]
    assert "supervisor 'root'" in message
    assert f"{field} = {value}" in message
    assert remedy in message


@pytest.mark.parametrize("value", [0, -1])
def test_a_dynamic_supervisor_must_have_room(value: int) -> None:
    """A dynamic supervisor that could hold nobody is refused."""
    message = refused(lambda: DynamicSupervisor("pool", max_children=value))
    assert message == f"supervisor 'pool': max_children = {value}; must be 1 or more"


def test_the_names_of_siblings_must_differ() -> None:
    """Two children of one name are refused, and cousins of one name are not."""
    message = refused(lambda: Supervisor("root", [child(), Supervisor("b"), Supervisor("a")]))
    assert message == "supervisor 'root': two children are named 'a'; names must differ"
    Supervisor("root", [Supervisor("b", [child()]), Supervisor("c", [child()])])


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        pytest.param(
            lambda: child(significant=True, restart=Restart.PERMANENT),
            "significant and permanent: it would be restarted and never count as ended; use restart=Restart.TRANSIENT",
            id="permanent",
        ),
        pytest.param(
            lambda: Supervisor("b", significant=True),
            "significant and permanent: it would be restarted and never count as ended; use restart=Restart.TRANSIENT",
            id="permanent supervisor",
        ),
        pytest.param(
            lambda: Supervisor("root", [child(significant=True)], auto_shutdown=AutoShutdown.ANY),
            "significant and permanent: it would be restarted and never count as ended; use restart=Restart.TRANSIENT",
            id="permanent by default",
        ),
        pytest.param(
            lambda: Supervisor("root", [child(significant=True, restart=Restart.TEMPORARY)]),
            "is significant, but auto_shutdown is NEVER; use AutoShutdown.ANY or ALL",
            id="no auto_shutdown",
        ),
    ],
)
def test_a_significant_child_must_be_able_to_end_its_supervisor(make: Make, remedy: str) -> None:
    """A significant child that could never count is refused, as in OTP."""
    message = refused(make)
    assert remedy in message
    assert "child 'a'" in message or "child 'b'" in message


@pytest.mark.parametrize(
    ("backoff", "max_restarts", "within", "longest"),
    [
        (Backoff(first=1, cap=60, jitter=0), 5, 31, 31),
        (Backoff(first=1, cap=60, jitter=0.2), 5, 37, 37.2),
        (Backoff(), 20, 60, 91.56),
        (Backoff(first=60, factor=1, cap=60, jitter=0), 1, 60, 60),
    ],
)
@pytest.mark.parametrize("kind", [child, lambda backoff: Supervisor("a", backoff=backoff)], ids=["child", "supervisor"])
def test_a_supervisor_must_be_able_to_give_up(
    kind: Callable[..., Child[object]], backoff: Backoff, max_restarts: int, within: float, longest: float
) -> None:
    """A backoff so slow that the restart limit is out of reach is refused; a shorter one is not."""
    message = refused(lambda: Supervisor("root", [kind(backoff=backoff)], max_restarts=max_restarts, within=within))
    assert "supervisor 'root': child 'a': this supervisor can never give up" in message
    assert f"{max_restarts} restarts take up to {longest:.1f} s of backoff, and within is {within:g} s" in message
    assert "lower max_restarts or the backoff, or raise within" in message
    Supervisor("root", [kind(backoff=backoff)], max_restarts=max_restarts, within=longest + 0.5)


def test_a_temporary_child_may_have_any_backoff() -> None:
    """A child that is never restarted cannot keep its supervisor from giving up."""
    Supervisor("root", [child(restart=Restart.TEMPORARY, backoff=Backoff(first=3600, cap=3600))])


@pytest.mark.parametrize("backoff", [Backoff(), Backoff(first=1, factor=1.5, cap=20, jitter=0.5), Backoff(jitter=0)])
@pytest.mark.parametrize("max_restarts", [1, 3, 7])
def test_the_longest_backoff_is_what_the_delays_add_up_to(backoff: Backoff, max_restarts: int) -> None:
    """A child that always fails at once uses up any window that the check lets pass."""
    longest = backoff.longest(max_restarts)
    intensity = Intensity(max_restarts, longest)
    now = 0.0
    for failures in range(1, max_restarts + 1):
        assert intensity.record(now)
        now += backoff.delay(failures) * (1 + backoff.jitter)
    assert now == pytest.approx(longest)
    assert not intensity.record(math.floor(now * 1e6) / 1e6)


def test_a_restart_on_stall_needs_a_limit() -> None:
    """A child that wants a restart when it stalls must say when it has stalled."""
    assert "without stall_after; set it" in refused(lambda: child(on_stall=OnStall.RESTART))
