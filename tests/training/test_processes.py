"""Who else trains: copies that a cluster started, and other processes in the same folder."""

import subprocess
import sys

import pytest

from giblet.errors import InputError
from giblet.files import claimed
from giblet.training.processes import check_launcher
from giblet.training.trainer import Trainer

IN_STEP = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_STEP_ID": "0"}


def slurm(tasks: int, **more: str) -> dict[str, str]:
    """The environment of a task of srun."""
    n = str(tasks)
    return {**IN_STEP, "SLURM_NTASKS": n, "SLURM_STEP_NUM_TASKS": n, "SLURM_PROCID": "0", **more}


SBATCH = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}
"""Of the script of a job that asked for two tasks: one process runs it."""


@pytest.mark.parametrize(
    ("environment", "devices", "nodes", "message"),
    [
        (slurm(2), 1, 1, r"srun started 2 processes, devices is 1, num_nodes 1: that makes 1\."),
        (slurm(4), 1, 2, r"srun started 4 processes, devices is 1, num_nodes 2: that makes 2\."),
        (slurm(1), 2, 1, r"srun started 1 process, devices is 2"),
        ({**IN_STEP, "SLURM_NTASKS": "3", "SLURM_PROCID": "0"}, 1, 1, "srun started 3"),  # older SLURM
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, 1, 1, "srun started 2"),
        (SBATCH, 2, 1, r"one process in a job of SLURM: start the 2 processes with srun"),
        (slurm(2, SLURM_JOB_NAME="bash"), 1, 1, "srun started 2"),
        (slurm(2, SLURM_JOB_NAME="interactive"), 2, 1, "'interactive', a name that marks"),
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, 1, 1, "torchrun started 2"),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, 2, 1, "torchrun started 1 process, devices is 2"),
        ({"OMPI_COMM_WORLD_SIZE": "3"}, 1, 1, "mpirun started 3"),
        ({"PMI_SIZE": "3"}, 1, 1, "mpiexec started 3"),
        ({"MV2_COMM_WORLD_SIZE": "2"}, 1, 1, "mpirun started 2"),
        ({"JSM_NAMESPACE_SIZE": "6"}, 1, 1, "jsrun started 6"),
        ({**slurm(1), "OMPI_COMM_WORLD_SIZE": "2"}, 1, 1, "mpirun started 2"),  # mpirun starts its helpers by srun
        ({**slurm(2), "RANK": "0", "WORLD_SIZE": "8"}, 1, 1, "torchrun started 8"),
        ({"SLURM_STEP_NUM_TASKS": "two"}, 1, 1, "SLURM_STEP_NUM_TASKS is 'two'"),
    ],
)
def test_wrong_number_of_launched_processes_is_refused_with_both_numbers(
    settings, environment, devices, nodes, message
):
    run = settings(devices=devices, num_nodes=nodes, batch_size=8)
    with pytest.raises(InputError, match=message) as told:
        check_launcher(run, environment)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        ({}, 1),
        ({}, 2),
        (SBATCH, 1),  # one python in a job that asked for more tasks
        ({**SBATCH, "SLURM_STEP_ID": "4294967291"}, 1),  # the number of all scripts of jobs
        ({k: v for k, v in SBATCH.items() if k != "SLURM_NTASKS"}, 2),  # Lightning starts the second one itself
        (slurm(1), 1),
        (slurm(2), 2),
        ({**slurm(2), "PMI_SIZE": "2"}, 2),  # srun --mpi=pmi2 speaks for MPI too
        (slurm(1, SLURM_JOB_NAME="bash"), 2),  # a shell by srun --pty
        (
            {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "NODE_RANK": "0"},
            1,
        ),  # left behind by an earlier training in a notebook
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "1", "NODE_RANK": "0"}, 2),  # started by Lightning
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, 2),
        ({**slurm(1), "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, 2),  # torchrun within srun
    ],
)
def test_the_right_number_of_processes_is_let_through(settings, environment, devices):
    check_launcher(settings(devices=devices, batch_size=8), environment)


def test_mpi_needs_mpi4py_for_its_processes_to_find_each_other(settings, monkeypatch):
    run = settings(devices=2)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="by mpi4py only"):
        check_launcher(run, {"OMPI_COMM_WORLD_SIZE": "2"})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: "there")
    check_launcher(run, {"OMPI_COMM_WORLD_SIZE": "2"})


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},
        {**SBATCH, "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"},
        slurm(1),
    ],
)
@pytest.mark.parametrize("strategy", ["auto", "ddp"])
def test_one_process_in_the_script_of_a_job_of_several_tasks_trains(settings, monkeypatch, environment, strategy):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Trainer(settings(steps=1, strategy=strategy)).fit().status == "finished"


def test_a_second_task_of_srun_trains_nothing_and_writes_nothing(settings, monkeypatch):
    run = settings(steps=1)
    for name, value in slurm(2, SLURM_PROCID="1").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="srun started 2 processes"):
        Trainer(run).fit()
    assert not run.output.exists()


HOLD = (
    "import sys, time; from giblet.files import claimed\n"
    "with claimed(sys.argv[1]): print('held', flush=True); time.sleep(60)"
)


def test_folder_in_use_is_refused_and_a_killed_process_does_not_block_it(settings):
    run = settings(steps=1)
    with subprocess.Popen([sys.executable, "-c", HOLD, run.output], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another process is at work in"):
            Trainer(run).fit()
        other.kill()
        other.wait()
    assert [path.name for path in run.output.iterdir()] == [".lock"]
    assert Trainer(run).fit().status == "finished"
    assert not (run.output / ".lock").exists()


def test_claimed_folder_is_released_and_removed_if_empty(tmp_path):
    folder = tmp_path / "new"
    for _ in range(2):
        with claimed(folder):
            assert (folder / ".lock").exists()
            with pytest.raises(InputError, match="another process"), claimed(folder):
                pass
        assert not folder.exists()
    folder.mkdir()
    with claimed(folder):
        pass
    assert folder.exists() and not list(folder.iterdir())
