"""Two nodes that train together, one of which is lost: each "node" is a process of torchrun on this machine."""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from giblet.errors import GibletError, InputError
from giblet.training.processes import agree, check_launcher, lost
from tests.commands import free_port
from tests.training.test_command import (
    ROOT,
    check_learned_the_same,
    config,  # noqa: F401  (a fixture)
    environment,
    processes,
)

OPTIONS = {"steps": 24, "checkpoint_every": 2, "learning_rate": 0.001, "model": {"dropout": 0.0}}


def node(rank: int, port: int, path: Path, *options: str) -> subprocess.Popen:
    """torchrun of one node of two, with one process."""
    argv = [
        "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(rank),
        "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "giblet", *options,
        "-m", "giblet", "train", str(path),
    ]  # fmt: skip
    env = {**environment(), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return subprocess.Popen(
        [sys.executable, *argv], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def step_saved(folder: Path) -> int:
    path = folder / "checkpoints" / "last.json"
    return json.loads(path.read_text())["step"] if path.exists() else 0


def trained_until(folder: Path, step: int, nodes: list[subprocess.Popen]) -> None:
    began = time.monotonic()
    while step_saved(folder) < step:
        assert time.monotonic() - began < 240 and all(one.poll() is None for one in nodes), [n.poll() for n in nodes]
        time.sleep(0.02)


def kill(torchrun: subprocess.Popen) -> None:
    """A node is gone with all that runs on it; torchrun puts its processes into groups of their own."""
    with suppress(psutil.NoSuchProcess):
        own = psutil.Process(torchrun.pid)
        for process in (own, *own.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def ended(nodes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    said = [one.communicate(timeout=240) for one in nodes]
    return [(one.returncode, *texts) for one, texts in zip(nodes, said, strict=True)]


@pytest.mark.slow
@pytest.mark.skipif(os.cpu_count() == 1, reason="two nodes need two processors")
@pytest.mark.parametrize(
    ("killed", "whole_node"),
    [
        pytest.param(1, False, id="the process of the second", marks=pytest.mark.long),
        pytest.param(0, True, id="the first node"),
        pytest.param(0, False, id="the process of the first", marks=pytest.mark.long),
        pytest.param(1, True, id="the second node", marks=pytest.mark.long),
    ],
)
def test_two_nodes_of_which_one_is_killed_learn_what_one_process_learns(config, tmp_path, killed, whole_node):  # noqa: F811
    """torchrun starts a process again by itself; a node is started again by hand, or by the cluster."""
    one, two = config("one", **OPTIONS), config("two", num_nodes=2, strategy="ddp", **OPTIONS)
    assert processes(one, ["-m", "giblet", "train"]).returncode == 0
    output, restarts = tmp_path / "two", () if whole_node else ("--max-restarts", "3")
    with ExitStack() as stack:
        port = free_port()
        nodes = [stack.enter_context(node(rank, port, two, *restarts)) for rank in range(2)]
        stack.callback(lambda: [kill(each) for each in nodes])
        trained_until(output, 4, nodes)
        first = step_saved(output)
        if whole_node:
            kill(nodes[killed])
            status, _, told = ended([nodes[1 - killed]])[0]
            assert status != 0
            if killed == 1:  # the first one keeps the store of torchrun, which ends the second's process without it
                assert "process 0 of 2 cannot reach another one" in told, told
            port = free_port()
            nodes[:] = [stack.enter_context(node(rank, port, two)) for rank in range(2)]
        else:
            psutil.Process(nodes[killed].pid).children()[0].kill()
        done = ended(nodes)
    assert [status for status, _, _ in done] == [0, 0], done
    assert sum(said.count("finished after 24 steps") for _, said, _ in done) == 1  # one of them speaks
    assert first < 24
    check_learned_the_same(*(SimpleNamespace(output=tmp_path / name) for name in ("one", "two")))


def test_restarts_that_would_hang_are_refused_before_anything_is_read(settings):
    """Without the variable, torchrun of torch 2.13 gives restarted processes the addresses of those that are gone."""
    started = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "TORCHELASTIC_MAX_RESTARTS": "3"}
    run = settings(num_nodes=2, batch_size=8)
    with pytest.raises(InputError, match=r"max-restarts is 3.*TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        check_launcher(run, {**started, "TORCHELASTIC_USE_AGENT_STORE": "True"})
    check_launcher(run, {**started, "TORCHELASTIC_USE_AGENT_STORE": "False"})
    check_launcher(run, {**started, "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_MAX_RESTARTS": "0"})


class Processes:
    """What giblet asks of Fabric."""

    global_rank, world_size = 0, 2


@pytest.fixture
def also_read(monkeypatch):
    """The state that the other process has read."""

    def other(one):
        def gather(read, own):
            read[:] = [own, None if one is None else (one["step"], one["sha256"])]

        monkeypatch.setattr(torch.distributed, "all_gather_object", gather)

    return other


def state(step, digest="a" * 64):
    return {"step": step, "sha256": digest}


@pytest.mark.parametrize(
    ("own", "other", "told"),
    [(state(40), None, "step 40, no state"), (None, state(2), "no state, step 2"), (state(4), state(4, "b" * 64), "4")],
)
def test_processes_that_read_different_states_are_refused(own, other, told, also_read, tmp_path):
    """A folder of the same name on each node, for example."""
    also_read(other)
    with pytest.raises(InputError, match=rf"different states in .*{told}.*all nodes see"):
        agree(Processes(), tmp_path, own)


@pytest.mark.parametrize("both", [state(40), None])
def test_processes_that_read_the_same_state_go_on(both, also_read, tmp_path):
    also_read(both)
    agree(Processes(), tmp_path, both)


def test_a_lost_process_is_told_from_other_errors(tmp_path):
    with pytest.raises(GibletError, match="process 0 of 2 cannot reach another one"), lost(Processes(), tmp_path):
        raise RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer")
    with pytest.raises(RuntimeError, match="shapes"), lost(Processes(), tmp_path):
        raise RuntimeError("shapes differ")
