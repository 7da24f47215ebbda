"""Shows everything about one job: what it is, where it stands, its steps, and how each of its lives ended."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import typer

from supervisor.cli import times
from supervisor.cli.job_table import COLOURS
from supervisor.cli.json_answer import show_json
from supervisor.cli.text_table import Cell, Column, colours_wanted, plain, styled, table, terminal_width

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from supervisor.store.job_lives import Life, ShownProgress, WorkerRow
    from supervisor.store.job_rows import JobView
    from supervisor.store.link import Link
    from supervisor.store.steps import RecordedStep

_STEPS: Final = (
    Column("step", least=10),
    Column("state"),
    Column("recorded"),
    Column("fence", right=True),
    Column("result", least=12),
)
_LIVES: Final = (
    Column("ended"),
    Column("status"),
    Column("tries", right=True),
    Column("worker", right=True),
    Column("error", least=20),
)


@dataclass(frozen=True, slots=True)
class JobPage:
    """All that is known of a job at one moment."""

    now: datetime
    job: JobView
    worker: WorkerRow | None
    progress: ShownProgress | None
    steps: Sequence[RecordedStep]
    lives: Sequence[Life]


async def read_page(link: Link, job: int) -> JobPage | None:
    """Read it; None if nobody knows the job."""
    from supervisor.store import job_listing, job_lives, job_views, steps

    found = await job_views.show(link, job)
    if found is None:
        return None
    return JobPage(
        await job_listing.now(link),
        found,
        None if found.claimed_by is None else await job_lives.worker(link, found.claimed_by),
        await job_lives.progress(link, job),
        await steps.of(link, job),
        await job_lives.lives(link, job),
    )


def show_page(page: JobPage) -> None:
    """Print it for people."""
    colours = colours_wanted()
    job = page.job
    title = f"{styled(f'job {job.id}', 'bold', colours=colours)}  {plain(job.kind)}  "
    typer.echo(title + styled(job.status, COLOURS.get(job.status), colours=colours))
    facts = [(name, text) for name, text in _facts(page) if text]
    width = max(len(name) for name, _ in facts)
    for name, text in facts:
        typer.echo(f"  {name:<{width}}  {plain(text)}")
    _show_text("arguments", json.dumps(json.loads(job.args), indent=2, ensure_ascii=False))
    _show_text("traceback", job.traceback or "")
    _show_table("steps", _STEPS, [_step(step, page.now) for step in page.steps], colours=colours)
    if len(page.lives) > 1 or (page.lives and not job.is_final):
        _show_table(
            "earlier ends" if not job.is_final else "ends",
            _LIVES,
            [_life(life, page.now) for life in page.lives],
            colours=colours,
        )


def show_document(page: JobPage) -> None:
    """Print it for programs."""
    answer = _plain_times(asdict(page))
    answer |= answer.pop("job")
    answer["args"] = json.loads(page.job.args)
    for step, recorded in zip(answer["steps"], page.steps, strict=True):
        step["result"] = None if recorded.result is None else json.loads(recorded.result)
    show_json(answer)


def _facts(page: JobPage) -> Iterator[tuple[str, str]]:
    job, now = page.job, page.now
    yield "queue", job.queue
    yield "service", job.service if job.service != job.queue else ""
    yield "tenant", job.tenant or ""
    yield "priority", str(job.priority)
    yield "waits because", "" if job.reason is None else _REASONS.get(job.reason, job.reason)
    yield "created", _moment(job.created_at, now)
    yield "due", _moment(job.due_at, now)
    yield "started", _moment(job.claimed_at, now)
    yield "deadline", _moment(None if job.is_final else job.deadline_at, now)
    yield "finished", _moment(job.finished_at, now)
    yield "attempts", f"{job.attempts} of {job.max_attempts} failed"
    yield "interruptions", str(job.interruptions or "")
    yield "losses", f"{job.losses}: so many workers died with it" if job.losses else ""
    yield "timeout", times.short(job.timeout)
    yield "worker", _worker(page)
    yield "progress", _progress(page)
    yield "key", job.unique_key or ""
    yield "trace", job.trace_parent or ""
    yield "fence", str(job.lock_version)
    yield "last error", job.last_error or ""


_REASONS: Final[Mapping[str, str]] = {
    "future": "its time has not come",
    "retry": "it failed and is tried again",
    "snoozed": "its handler put it off",
    "paused": "somebody paused what it belongs to",
    "limited": "a limit is reached",
    "blocked": "a person has to say what became of a step: python -m supervisor jobs resolve",
}


def _moment(then: datetime | None, now: datetime) -> str:
    return "" if then is None else f"{then:%Y-%m-%d %H:%M:%S} UTC ({times.relative(then, now)})"


def _worker(page: JobPage) -> str:
    worker = page.worker
    if worker is None:
        return "" if page.job.claimed_by is None else f"{page.job.claimed_by} (forgotten)"
    heard = times.relative(worker.last_heartbeat_at, page.now)
    return f"{worker.id}, {worker.host} pid {worker.pid}, {worker.status}, heard from {heard}"


def _progress(page: JobPage) -> str:
    if page.progress is None:
        return ""
    whole = "" if page.progress.total is None else f" of {page.progress.total}"
    return f"{page.progress.done}{whole} ({times.relative(page.progress.updated_at, page.now)})"


def _step(step: RecordedStep, now: datetime) -> list[Cell | str]:
    state = Cell("done", "green") if step.done else Cell("unknown", "magenta")
    when = times.relative(step.recorded_at, now)
    return [step.name, state, when, str(step.lock_version), step.result or ""]


def _life(life: Life, now: datetime) -> list[Cell | str]:
    worker = "" if life.claimed_by is None else str(life.claimed_by)
    error = (life.last_error or "") if life.status != "completed" else ""
    status = Cell(life.status, COLOURS.get(life.status))
    return [times.relative(life.finished_at, now), status, str(life.attempts), worker, error]


def _show_text(title: str, text: str) -> None:
    if text:
        typer.echo(f"  {title}")
        for line in text.splitlines():
            typer.echo(f"    {plain(line)}")


def _show_table(title: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]], *, colours: bool) -> None:
    if rows:
        typer.echo(f"  {title}")
        for line in table(columns, rows, width=terminal_width() - 4, colours=colours):
            typer.echo(f"    {line}")


def _plain_times(value: Any) -> Any:  # noqa: ANN401 - any JSON
    match value:
        case dict():
            return {key: _plain_times(part) for key, part in value.items()}
        case list() | tuple():
            return [_plain_times(part) for part in value]
        case datetime():
            return times.absolute(value)
        case _:
            return value
