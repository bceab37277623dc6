"""What native code prints is caught, and the terminal is given back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vxedit.io.quiet import caught_stderr


def test_caught_and_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), caught_stderr() as caught:
        os.write(2, b"from C++\n")
        subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write('from a child')"], check=True)
        raise RuntimeError
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"
    assert caught.text() == "from C++\nfrom a child"


def test_no_standard_error_at_all() -> None:
    code = """
import os
os.close(2)
from vxedit.io.quiet import caught_stderr
with caught_stderr() as caught:
    print(repr(caught.text()))
"""
    assert subprocess.check_output([sys.executable, "-c", code]).strip() == b"''"
