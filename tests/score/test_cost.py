"""Cost is counted, timed, and added up."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from vxedit.score.cost import Cost, measure, peak_memory


def test_a_block_is_timed_and_counted() -> None:
    with measure() as meter:
        time.sleep(0.05)
        meter.forwards += 3
        meter.flops = 2e9
    cost = meter.cost
    assert cost.forwards == 3 and cost.flops == 2e9 and 0.05 <= cost.seconds < 120
    assert cost.peak_bytes == pytest.approx(peak_memory(), abs=2**24) and cost.peak_bytes > 2**23


def test_a_block_that_fails_is_timed_too() -> None:
    with pytest.raises(KeyError), measure() as meter:
        time.sleep(0.02)
        raise KeyError
    assert meter.cost.seconds >= 0.02 and meter.cost.flops is None


def test_the_peak_is_in_bytes_and_stays() -> None:
    code = """
from vxedit.score.cost import peak_memory
before = peak_memory()
block = b"x" * 2**27
grown = peak_memory()
del block
print(grown - before, peak_memory() - grown)
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    grown, given_back = map(int, run.stdout.split())
    assert 0.9 * 2**27 < grown < 1.3 * 2**27 and given_back > -(2**22)  # the system counts in batches


def test_stages_add_up() -> None:
    total = Cost(2, 10.0, 1.5, 700) + Cost(3, 5.0, 0.5, 900)
    assert total == Cost(5, 15.0, 2.0, 900)
    assert (total + Cost(1, None, 0.0, 0)).flops is None


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, vxedit.score.cost, vxedit.score.boxes, vxedit.score.fidelity, vxedit.score.detect; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
