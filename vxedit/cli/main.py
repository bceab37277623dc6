"""The click group `vxedit` and the entry points that stand for one of its commands."""

from __future__ import annotations

from collections.abc import Sequence

import click

from vxedit import __version__
from vxedit.cli.real import command as real_command
from vxedit.cli.report import exit_code_of


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(__version__, prog_name="vxedit")
def vxedit() -> None:
    """Move, resize and reshape an object in a video: name it with a word, say where it should be."""


vxedit.add_command(real_command)


def main(argv: Sequence[str] | None = None) -> int:
    """`vxedit`: every command. Gives the exit code: 0 done, 1 failed, 2 asked for something that can't be."""
    return exit_code_of(vxedit, argv, name="vxedit")


def real(argv: Sequence[str] | None = None) -> int:
    """`vxedit-real`: the same as `vxedit real`."""
    return exit_code_of(real_command, argv, name="vxedit-real")
