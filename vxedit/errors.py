"""What vxedit raises at its border: one clear line that says what, got, allowed and what to do."""

from __future__ import annotations


class VxeditError(Exception):
    """Anything that ends a command. `exit_code` is the process's; the message is one line with its remedy."""

    exit_code = 1


class UsageError(VxeditError):
    """What was asked for can't be meant: an unknown word, a path that doesn't parse, a flag out of range."""

    exit_code = 2


class InputError(VxeditError):
    """An input file is missing, damaged or not what it should be."""


class OutputError(VxeditError):
    """The result can't be written where it was asked for."""


class ModelError(VxeditError):
    """A model is unknown, incomplete or can't do what was asked."""
