"""How slots are shared among tenants: by weight, whoever had least first, and a newcomer at once."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.jobs.fair_shares import Shares, Tenant


def joined(shares: Shares, weights: dict[str, float]) -> dict[str, Tenant]:
    """Put tenants of these weights into the line."""
    made = {name: Tenant(name) for name in weights}
    for name, tenant in made.items():
        shares.join(tenant, weights[name])
    return made


def serve(shares: Shares, room: int, most: int = 60) -> Counter[str]:
    """Share slots once, among tenants that have as many jobs as one may take."""
    given = Counter[str]()
    for tenant, take in shares.choose(room, most):
        given[tenant.name] += take
        shares.served(tenant, take, stays=True)
    return given


@given(
    weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=20),
    rooms=st.lists(st.integers(1, 500), min_size=1, max_size=20),
    most=st.integers(1, 60),
)
def test_every_slot_is_given_and_none_twice(weights: list[float], rooms: list[int], most: int) -> None:
    """As many jobs are asked for as there is room, and at least one of each tenant that is chosen."""
    shares = Shares()
    joined(shares, {str(number): weight for number, weight in enumerate(weights)})
    for room in rooms:
        chosen = shares.choose(room, most)
        assert sum(take for _, take in chosen) == room
        assert min(take for _, take in chosen) >= 1
        assert len(chosen) == min(room, most, len(weights))
        for tenant, take in chosen:
            shares.served(tenant, take, stays=True)


@pytest.mark.parametrize("room", [1, 7, 100])
@pytest.mark.parametrize("most", [2, 60])
def test_shares_are_those_of_the_weights(room: int, most: int) -> None:
    """Over some time each tenant gets its weight's part, however many slots there are at once."""
    shares = Shares()
    weights = {"a": 1.0, "b": 3.0, "c": 6.0}
    joined(shares, weights)
    total = Counter[str]()
    for _ in range(3000 // room):
        total += serve(shares, room, most)
    for name, weight in weights.items():
        assert total[name] / total.total() == pytest.approx(weight / 10, abs=0.05)


def test_a_newcomer_is_among_the_next() -> None:
    """Whoever comes into the line is served next, whatever the others had, and is not paid for its absence."""
    shares = Shares()
    joined(shares, {str(number): 1.0 for number in range(100)})
    for _ in range(1000):
        serve(shares, 3)
    joined(shares, {"new": 1.0})
    total = Counter[str]()
    for _ in range(40):
        total += serve(shares, 3)
    assert 1 <= total["new"] <= 3


def test_who_left_and_comes_back_has_no_debt_forgiven() -> None:
    """A tenant that had much goes on where it was when it comes back before the others have had as much."""
    shares = Shares()
    made = joined(shares, {"a": 1.0, "b": 1.0})
    ((tenant, take),) = shares.choose(1, 60)
    assert (tenant, take, tenant.in_line) == (made["a"], 1, False)
    shares.served(tenant, 100, stays=False)
    assert len(shares) == 1
    shares.join(tenant, 1.0)
    assert sum((serve(shares, 1) for _ in range(50)), Counter()) == {"b": 50}
