"""The click group `vxedit` and the entry points that stand for one of its commands."""

from __future__ import annotations

from collections.abc import Sequence

import click

from vxedit import __version__
from vxedit.cli.batch import command as batch_command
from vxedit.cli.gen import command as gen_command
from vxedit.cli.look import command as look_command
from vxedit.cli.models import command as models_command
from vxedit.cli.real import command as real_command
from vxedit.cli.report import exit_code_of
from vxedit.cli.score import command as score_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(__version__, prog_name="vxedit")
def vxedit() -> None:
    """Move, resize and reshape an object in a video: name it with a word, say where it should be."""


for command in (real_command, gen_command, batch_command, look_command, score_command, models_command):
    vxedit.add_command(command)


def main(argv: Sequence[str] | None = None) -> int:
    """`vxedit`: every command. Gives the exit code: 0 done, 1 failed, 2 asked for something that can't be."""
    return exit_code_of(vxedit, argv, name="vxedit")


def real(argv: Sequence[str] | None = None) -> int:
    """`vxedit-real`: the same as `vxedit real`."""
    return exit_code_of(real_command, argv, name="vxedit-real")


def gen(argv: Sequence[str] | None = None) -> int:
    """`vxedit-gen`: the same as `vxedit gen`."""
    return exit_code_of(gen_command, argv, name="vxedit-gen")


def look(argv: Sequence[str] | None = None) -> int:
    """`vxedit-look`: the same as `vxedit look`."""
    return exit_code_of(look_command, argv, name="vxedit-look")


def score(argv: Sequence[str] | None = None) -> int:
    """`vxedit-score`: the same as `vxedit score`."""
    return exit_code_of(score_command, argv, name="vxedit-score")


def batch(argv: Sequence[str] | None = None) -> int:
    """`vxedit-batch`: the same as `vxedit batch`."""
    return exit_code_of(batch_command, argv, name="vxedit-batch")
