"""``make check-gpu`` where there is no GPU, and what it takes for a difference."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def check_gpu():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("check_gpu", BENCHMARKS / "check_gpu.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["check_gpu"] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))
        sys.modules.pop("check_gpu", None)


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
