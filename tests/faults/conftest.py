"""What the jobs need, and what each of them writes when nothing stops it."""

from functools import cache

import pytest

from tests.faults.jobs import make_inputs
from tests.faults.killed import undisturbed


@pytest.fixture(scope="package")
def inputs(trained_run, tmp_path_factory):
    return make_inputs(tmp_path_factory.mktemp("inputs"), trained_run)


@pytest.fixture(scope="package")
def place_of(tmp_path_factory):
    """A folder for each job; files may hold its path."""
    made = tmp_path_factory.mktemp("faults")

    def place(job):
        folder = made / job.name.replace(" ", "_")
        folder.mkdir(exist_ok=True)
        return folder

    return place


@pytest.fixture(scope="package")
def whole_of(inputs, place_of):
    """What a job writes into ``out`` in its folder; computed once."""
    return cache(lambda job: undisturbed(job, inputs, place_of(job) / "out"))
