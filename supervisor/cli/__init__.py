"""The commands of `python -m supervisor`, one file each; what is heavy is imported where it is used."""

from supervisor.cli.program import main

__all__ = ["main"]
