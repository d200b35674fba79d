"""Two ranks train like one process; an error on one of them ends both with one line."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from tasks.shared import generator_training
from tasks.shared.stage import Stage

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("rank_trainings.py")
MARK = "GANPRESS_TEST_RANKS"
"""Environment variable by which a test knows the processes that it has started."""
EXACT = (
    *("gan", "gan-augmented", "wgan-clip", "wgan-gp", "r3gan", "student", "student-kept", "student-joint", "supernet"),
    *("spade", "cyclegan, no pool", "distil-paired", "distil-unpaired", "distil-supernet"),
)
OTHERWISE = {
    "pix2pix": "each rank draws dropout masks of its own",
    "cyclegan": "each rank has a pool of pictures of its own",
}
"""Trainers whose ranks agree with each other, and differ from one process, and why."""
BOUND = 1e-8
"""Of the difference of images in float64, in parts of how far the training moved them."""


def environment(folder, **variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GANPRESS")}
    own = {"PYTHONPATH": str(CHECKOUT), "GANPRESS_TRACKING": "off", "GANPRESS_DEVICE": "cpu", MARK: str(folder)}
    return kept | own | variables


def left_running(folder):
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def start(folder, program, *arguments, **variables):
    command = [sys.executable, *program, *map(str, arguments)]
    pipe, env = subprocess.PIPE, environment(folder, **variables)
    return subprocess.Popen(command, cwd=folder, env=env, stdout=pipe, stderr=pipe, text=True)


def ended(process):
    _, said = process.communicate(timeout=300)
    return process.returncode, said.strip().splitlines()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders with the images of generators that one process and two ranks trained."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    names = (*EXACT, *OTHERWISE)
    launch = """
import sys, torch
from pathlib import Path
from tasks.shared.rank_processes import run_ranks
torch.set_num_threads(1)
raise SystemExit(run_ranks("test", 2, torch.device("cpu"), sys.argv[1:]))
"""
    alone, together = folders
    runs = [start(alone, [PROGRAM], alone, *names), start(together, ["-c", launch], PROGRAM, together, *names)]
    for run in runs:
        code, said = ended(run)
        assert code == 0, said
    return folders


@pytest.fixture(scope="module")
def distances(trained):
    """Of the images of one process and of two ranks, by trainer."""
    one, two = trained

    def distance(name):
        before, alone, together = (
            torch.load(folder / f"{name}-{which}.pt") for folder, which in ((one, "start"), (one, 0), (two, 0))
        )
        return float((together - alone).norm() / (alone - before).norm())

    return {name: distance(name) for name in (*EXACT, *OTHERWISE)}


@pytest.mark.timeout(300)
@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_two_ranks_train_what_one_process_trains(name, distances):
    assert distances[name] < BOUND


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERWISE)
def test_where_ranks_have_draws_of_their_own_the_result_is_another(name, distances):
    assert distances[name] > BOUND


@pytest.mark.slow
@pytest.mark.parametrize("name", [*EXACT, *OTHERWISE])
def test_ranks_keep_the_same_weights(name, trained):
    images = [torch.load(trained[1] / f"{name}-{rank}.pt") for rank in (0, 1)]
    assert torch.equal(*images)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERWISE)
def test_resuming_equals_not_stopping(name, trained):
    """What each rank has for itself is in the checkpoint, too."""
    for rank in (0, 1):
        whole, resumed = (torch.load(trained[1] / f"{name}-{kind}{rank}.pt") for kind in ("", "resumed-"))
        assert torch.equal(whole, resumed)


@pytest.mark.slow
def test_a_loss_that_is_nan_on_one_rank_stops_all_with_the_same_words(trained):
    said = [(trained[1] / f"diverged-{rank}").read_text() for rank in (0, 1)]
    assert said[0].startswith("student: mse became nan between 0 and ")
    assert said[0] == said[1]


# What goes wrong on one rank, in a stage.

STAGE = """
import os, signal, sys
import torch
from torch import nn, optim
from ganpress.basics.ranks import rank, ranks
from ganpress.config.training_section import DistillationTraining
from ganpress.training.image_pool import ImagePool
from ganpress.training.loop import OfEachRank, RandomStream, TrainingRun
from tasks.shared.generator_training import checkpointing
from tasks.shared.rank_processes import training_main
from dataclasses import replace
from pathlib import Path

WHAT, AT, IMAGES = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.argv[1:] = []
LENGTH = DistillationTraining(train_images=IMAGES, batch_size=4, learning_rate=1e-3, beta1=0.5, ema_half_life_images=0)

def work(stage, run):
    resume = replace(checkpointing(stage, []), pause_seconds=0)
    training = TrainingRun(1, "test", resume)
    random = training.stream("training")
    pool = ImagePool(4, training.stream("pool", rank()))
    network = nn.Linear(3, 1)
    nn.init.ones_(network.weight)
    optimizer = optim.Adam(network.parameters())
    shown = []

    def step(images_shown):
        shown.append(images_shown)
        if images_shown == AT and rank() == 1:
            if WHAT == "killed": os.kill(os.getpid(), signal.SIGKILL)
            if WHAT == "crash": raise ValueError("a fault")
            if WHAT == "disk": raise OSError(28, "No space left on device", "somewhere")
        whole = torch.randn((4, 3), generator=random)
        loss = network(pool.exchange(whole[2 * rank():][:2] if ranks() > 1 else whole)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        nan = WHAT == "nan" and images_shown == AT and rank() == 1
        return {"loss": loss.detach() * (float("nan") if nan else 1.0)}

    state = {"network": network, "optimizer": optimizer, "random": RandomStream(random), "pool": OfEachRank(pool)}
    training.train(network, step, state, LENGTH)
    if rank() == 0:
        print(shown[0], network.weight.tolist(), flush=True)
    if WHAT != "keep":
        resume.forget()

raise SystemExit(training_main("candidate", work))
"""


@pytest.fixture
def root(tmp_path):
    params = yaml.safe_load((CHECKOUT / "params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def stage(root, what="", at=-1, ranks=2):
    process = start(root, ["-c", STAGE], what, at, 400, GANPRESS_RANKS=str(ranks), GANPRESS_THREADS="1")
    out, said = process.communicate(timeout=280)
    assert left_running(root) == []
    return process.returncode, said.strip().splitlines(), out.strip()


def checkpoints(root):
    return sorted(root.glob(".ganpress/checkpoints/*.pt"))


KILLED = (
    "candidate: rank 1 was killed (SIGKILL), and the others were stopped; was there enough memory? "
    "The last checkpoint is kept: run again to continue"
)


@pytest.mark.slow
def test_a_killed_rank_stops_all_with_one_line(root):
    code, said, _ = stage(root, "killed", 204)
    assert code == 2
    assert [line for line in said if not line.startswith("test: ")] == [KILLED]  # beside its progress
    assert len(checkpoints(root)) == 1


def test_the_checkpoint_of_another_number_of_ranks_is_named_and_left_alone(root, monkeypatch, caplog):
    monkeypatch.setattr(Stage, "code", "code")
    monkeypatch.setenv("GANPRESS_DEVICE", "cpu")
    one = Stage("candidate", "d2", root, yaml.safe_load((root / "params.yaml").read_text()))
    with monkeypatch.context() as patch:
        patch.setattr(generator_training, "ranks", lambda: 2)
        theirs = generator_training.checkpointing(one, [])
    theirs.path.parent.mkdir(parents=True)
    theirs.path.touch()
    ours = generator_training.checkpointing(one, [])
    assert ours.path != theirs.path
    assert ours.identity != theirs.identity
    assert caplog.messages == [anew(theirs.path)]


def anew(path):
    return (
        f"candidate@d2: starts from the beginning, because {path} is for 2 ranks and not for 1; "
        "GANPRESS_RANKS=2 would continue it"
    )


@pytest.mark.slow
def test_after_a_kill_the_next_run_goes_on(root):
    assert stage(root, "killed", 204)[0] == 2
    (theirs,) = checkpoints(root)
    code, said, out = stage(root, ranks=1)  # which is another training
    assert (code, out.split()[0]) == (0, "0")
    assert said[0] == anew(theirs).replace("@d2", "")
    code, _, out = stage(root)
    assert (code, out.split()[0]) == (0, "200")
    assert checkpoints(root) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "code", "line"),
    [
        ("nan", 2, "candidate: test: loss became nan between 200 and 212 images; lower the learning rate"),
        ("disk", 2, "candidate: somewhere: No space left on device; free disk space"),
        ("crash", 1, "ValueError: a fault"),
    ],
)
def test_what_happens_to_one_rank_stops_all(root, what, code, line):
    found, said, _ = stage(root, what, 204)
    assert found == code
    assert sum(line in one for one in said) == 1
    others = [one for one in said if not one.startswith("test: ")]  # than its progress
    assert len(others) == 1 or what == "crash"  # a fault of the program has its traceback
    assert len(checkpoints(root)) == 1


def at_work(starter):
    """Both ranks, once they are connected; what they open on the way there is open to this machine only."""
    ranks = psutil.Process(starter.pid).children(recursive=True)
    sockets = [(rank, one) for rank in ranks for one in rank.net_connections()]
    assert {one.laddr.ip for _, one in sockets} <= {"127.0.0.1", "::1"}
    connected = {rank for rank, one in sockets if one.status == psutil.CONN_ESTABLISHED}
    return ranks if len(connected) == 2 else []


@pytest.mark.slow
def test_ranks_listen_to_this_machine_only_and_end_with_whoever_started_them(root):
    process = start(root, ["-c", STAGE], "", -1, 4_000_000, GANPRESS_RANKS="2")
    while not (ranks := at_work(process)):
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.communicate()
    psutil.wait_procs(ranks, timeout=20)
    assert left_running(root) == []
