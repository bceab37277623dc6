"""How a command ends and what it says on the way: one line an error on stderr, the right exit code, no traceback."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import click

from vxedit.errors import VxeditError

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""


def say(line: str) -> None:
    """One line on stderr; stdout is for the result alone."""
    click.echo(line, err=True)


def exit_code_of(command: click.Command, argv: Sequence[str] | None, *, name: str) -> int:
    """Run a click command as the process's whole work; errors in its use become one line and code 2."""
    try:
        code = command.main(None if argv is None else list(argv), prog_name=name, standalone_mode=False)
    except click.ClickException as err:
        help_of = err.ctx.command_path if isinstance(err, click.UsageError) and err.ctx else name
        say(f"vxedit: error: {err.format_message()} (see {help_of} --help)")
        return err.exit_code
    except click.Abort:
        say("vxedit: interrupted")
        return INTERRUPTED
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    return code if isinstance(code, int) else 0


@contextmanager
def reporting(*, verbosity: int) -> Iterator[None]:
    """Whatever goes wrong inside leaves as SystemExit, said in one line; from verbosity 2 on after its traceback."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, SystemExit):
        raise
    except KeyboardInterrupt as err:
        _trace(verbosity)
        say("vxedit: interrupted")
        raise SystemExit(INTERRUPTED) from err
    except VxeditError as err:
        _trace(verbosity)
        say(f"vxedit: error: {err}")
        raise SystemExit(err.exit_code) from err
    except Exception as err:
        _trace(verbosity)
        hint = "" if verbosity >= 2 else "; rerun with -vv for the traceback"
        said = " ".join(str(err).split())
        say(f"vxedit: error: unexpected {type(err).__name__}{f': {said}' if said else ''}{hint}")
        raise SystemExit(1) from err


def _trace(verbosity: int) -> None:
    if verbosity >= 2:
        say(traceback.format_exc().rstrip())


class Voice(logging.Handler):
    """Says the library's log records on stderr, and remembers them so that no warning is said twice."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        self.said.add(message)
        say(f"vxedit: {record.levelname.lower()}: {message}" if record.levelno >= logging.WARNING else message)

    def warn(self, messages: Iterable[str]) -> None:
        """The warnings that came back with a result, but for those that were logged while it was made."""
        if self.level <= logging.WARNING:
            for message in messages:
                if message not in self.said:
                    self.said.add(message)
                    say(f"vxedit: warning: {message}")


@contextmanager
def voice(*, verbosity: int) -> Iterator[Voice]:
    """Log to stderr from warnings up; -v adds what is going on, -vv all, -q leaves errors alone. Restored on leaving.

    Other packages' deprecation warnings are for developers: they pass from -v on.
    """
    level = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}[max(-1, min(2, verbosity))]
    logger, handler = logging.getLogger("vxedit"), Voice()
    before = logger.level, logger.propagate
    handler.setLevel(level)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            if verbosity < 1:
                warnings.simplefilter("ignore")
                os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
                os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
            if verbosity < 0 or not sys.stderr.isatty():
                os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
