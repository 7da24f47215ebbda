"""Statements that move jobs which a switch or a gate stops out of the way of the claims, and bring them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from supervisor.store.job_rows import USUAL

if TYPE_CHECKING:
    from supervisor.store.link import Link


class ParkingState(NamedTuple):
    """What there is to do: look through the whole table, bring parked jobs back. `epoch` is that of the switches."""

    epoch: int
    pass_due: bool
    paused: bool


class Parked(NamedTuple):
    """How many jobs were moved, and the block of `jobs` where to go on; None at the end."""

    next_block: int | None
    moved: int


class Unparked(NamedTuple):
    """How many jobs were brought back or put behind something else, and whether there may be more."""

    moved: int
    left_over: bool


async def state(link: Link, *, within: float = USUAL) -> ParkingState:
    """Return what there is to do; costs the same however many jobs there are."""
    (row,) = await link.fetch("SELECT epoch, pass_due, paused FROM supervisor.parking_state()", within=within)
    return ParkingState(*row)


async def take_turn(link: Link, holder: str, seconds: float, *, within: float = USUAL) -> bool:
    """Take or keep the turn of one host among all for so many seconds; False: it is another's."""
    return bool(
        await link.fetchval("SELECT supervisor.take_parking_turn($1, $2)", holder, float(seconds), within=within)
    )


async def end_turn(link: Link, holder: str, epoch: int, again_in: float, *, within: float = USUAL) -> None:
    """Say that everything was looked through as of `epoch`, and is to be again in so many seconds."""
    sql = "SELECT supervisor.end_parking_turn($1, $2, $3)"
    await link.fetch(sql, holder, epoch, float(again_in), within=within)


async def park(link: Link, from_block: int, blocks: int, *, within: float = USUAL) -> Parked:
    """Park what is stopped in so many blocks of `jobs`."""
    (row,) = await link.fetch(
        "SELECT next_block, moved FROM supervisor.park($1, $2)", from_block, blocks, within=within
    )
    return Parked(*row)


async def unpark(link: Link, most: int, *, gates: bool, within: float = USUAL) -> Unparked:
    """Bring up to `most` jobs back in their order; with `gates`, also what waits behind gates that are no more."""
    (row,) = await link.fetch("SELECT moved, left_over FROM supervisor.unpark($1, $2)", most, gates, within=within)
    return Unparked(*row)
