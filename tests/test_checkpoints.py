"""What both trainings write checkpoints with."""

import json

import pytest
import torch
from safetensors.torch import save

from giblet.checkpoints import (
    joined,
    optimizer_tensors,
    read_state,
    read_tensors,
    restore_optimizer,
    separated,
    write_tensors,
)
from giblet.errors import CheckpointError


def test_written_bytes_are_those_of_safetensors_itself(tmp_path):
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(3, dtype=torch.float16)}
    path = write_tensors(tmp_path / "new" / "t.safetensors", tensors, {"format": "pt"})
    assert path.read_bytes() == save(tensors, {"format": "pt"})


def test_tensors_that_share_memory_or_need_gradients_come_back_equal(tmp_path):
    base = torch.arange(12.0, requires_grad=True).reshape(3, 4)
    written = {"all": base, "row": base[1], "turned": base.t()}
    found = read_tensors(write_tensors(tmp_path / "t.safetensors", written), "")
    assert found.keys() == written.keys()
    assert all(torch.equal(found[name], written[name]) for name in written)


def test_parts_come_apart_as_they_were_joined():
    parts = {"model": {"a.b": torch.zeros(1), "c": torch.ones(1)}, "optimizer": {"0.step": torch.ones(())}}
    assert separated(joined(parts)) == parts


def test_an_optimizer_goes_on_from_its_tensors_as_if_it_had_not_stopped():
    def stepped(parameter, optimizer):
        optimizer.zero_grad()
        parameter.square().sum().backward()
        optimizer.step()

    one = torch.nn.Parameter(torch.arange(3.0))
    first = torch.optim.AdamW([one])
    stepped(one, first)
    other = torch.nn.Parameter(one.detach().clone())
    second = torch.optim.AdamW([other])
    restore_optimizer(second, optimizer_tensors(first))
    stepped(one, first)
    stepped(other, second)
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read checkpoint .*s\.json .*: do that$"),
        ("{", r"cannot read checkpoint .*s\.json .*: do that$"),
        ("[1]", r"s\.json has format 'list': this version reads 'x-1'; do that$"),
        (json.dumps({"format": "x-0", "step": 1}), r"has format 'x-0': this version reads 'x-1'; do that$"),
        (json.dumps({"format": "x-1", "step": 1}), r"s\.json lacks rows: damaged\? do that$"),
    ],
)
def test_a_state_that_cannot_be_used_says_why_and_what_to_do(tmp_path, content, message):
    if content is not None:
        (tmp_path / "s.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        read_state(tmp_path / "s.json", "x-1", ("step", "rows"), "do that")


def test_damaged_tensors_are_named(tmp_path):
    path = write_tensors(tmp_path / "t.safetensors", {"a": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"cannot read checkpoint .*t\.safetensors.*: do that$"):
        read_tensors(path, "do that")
