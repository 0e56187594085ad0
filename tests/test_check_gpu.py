"""``make check-gpu`` where there is no GPU, and what it takes for a difference."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def check_gpu():
    """The benchmark, as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("check_gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: make check-gpu compares it")
def test_without_a_gpu_the_command_says_so_and_ends_well(check_gpu, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["check_gpu.py"])
    assert check_gpu.main() == 0
    assert (
        capsys.readouterr().out == "there is no GPU here (torch.cuda.is_available() is False): nothing was compared\n"
    )


def test_a_difference_beyond_its_bound_is_bold_and_fails(check_gpu):
    one, far = (
        check_gpu.Found("extract", "share", difference, 1e-3, {"cpu": 10.0, "cuda": 2.0}, 0.5)
        for difference in (1e-4, 2e-3)
    )
    assert one.within and not far.within
    assert one.row("cuda") == "| extract | share | 0.0001 | 0.001 | 10.0 | 2.0 | 5.0 | 0.50 |"
    assert "**0.002**" in far.row("cuda")
    assert not check_gpu.Found("extract", "share", np.nan, 1e-3, {"cpu": 1.0, "cuda": 1.0}, 0.0).within


def test_reconstructions_are_compared_by_the_share_of_codes_that_differ(check_gpu):
    """Codes are names: how far their numbers are apart says nothing."""
    one = np.zeros((10, 8, 112), np.int32)
    other = one.copy()
    other[0, 0, 0] = 1023
    assert check_gpu._share_that_differs(one, other) == 1 / one.size
