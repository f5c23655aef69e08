"""Sweeps on Ray Tune itself, with tiny networks. Ray is large: it is not among the `dev` extras."""

import gc
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("ray", reason="Ray Tune is not installed (extra sweep)")
pytest.importorskip("torch")

import ray
import torch
from models.training_cases import BIN_WIDTH, small_recording, tiny_spec, waves

from bci_lfads.errors import BciLfadsError, ModelError
from bci_lfads.models.history import TrainingSettings
from bci_lfads.models.model import Model
from bci_lfads.models.objective import nll
from bci_lfads.models.reference import infer_float
from bci_lfads.recordings import write
from bci_lfads.sweep import cluster as clusters
from bci_lfads.sweep.job import Job
from bci_lfads.sweep.population import SPACE, draw
from bci_lfads.sweep.tuning import sweep

pytestmark = [
    pytest.mark.slow,
    # Of Ray's own making: what it leaves open, and what it calls that is old.
    pytest.mark.filterwarnings("ignore"),
]
SETTINGS = TrainingSettings(epochs=6, batch=32, warm_up=2, patience=None)


def _job(kind: str) -> Job:
    space = {**SPACE, "learning_rate": SPACE["learning_rate"]._replace(low=1e-3, high=3e-2)}
    return Job(tiny_spec(), waves(128), waves(32, seed=1), BIN_WIDTH, SETTINGS, kind, 4, 2, space)


@pytest.mark.parametrize("kind", ["random", "pbt"])
def test_the_winner_is_the_member_with_the_best_likelihood(kind, tmp_path):
    job, told = _job(kind), []
    won = sweep(job, tmp_path / "s", workers=2, on_progress=lambda *n: told.append(n))
    assert told[-1] == (12, 12)
    assert len(won.members) == 4
    likelihoods = [member["judged"] for member in won.members]
    assert likelihoods == sorted(likelihoods)
    assert won.trained.history.best_epoch.validation == likelihoods[0]
    assert [e.epoch for e in won.trained.history.epochs] == list(range(1, 7))
    # The weights are those that scored so.
    held = waves(32, seed=1)
    rates = infer_float(job.spec, won.trained.weights, held).log_rates
    value = nll(torch.from_numpy(rates), torch.from_numpy(held.astype(float)), np.log(BIN_WIDTH))
    assert value.mean().item() == pytest.approx(likelihoods[0], abs=1e-5)
    if kind == "pbt":
        # After two tournaments some learning rate is a neighbour of another member's.
        rates = sorted(member["learning_rate"] for member in won.members)
        first = sorted(
            np.exp(np.random.default_rng([0, k]).uniform(np.log(1e-3), np.log(3e-2)))
            for k in range(4)
        )
        assert rates != pytest.approx(first)
    with pytest.raises(ModelError, match="holds a sweep already"):
        sweep(job, tmp_path / "s")
    with pytest.raises(ModelError, match="has another settings"):
        sweep(replace(job, settings=replace(SETTINGS, epochs=9)), tmp_path / "s", resume=True)
    again = sweep(job, tmp_path / "s", workers=2, resume=True)
    assert again.members == won.members
    with pytest.raises(ModelError, match="no sweep to go on with"):
        sweep(job, tmp_path / "none", resume=True)


def test_a_population_meets_as_a_whole_and_goes_on_where_it_was_cut_short(tmp_path):
    """One worker, so that all but one member always wait; more generations after the cut."""
    job = replace(_job("pbt"), settings=replace(SETTINGS, epochs=12))

    def cut(n: int, total: int) -> None:
        assert total == 24
        if n == 10:
            raise RuntimeError("cut short")

    with pytest.raises(Exception, match="cut short"):
        sweep(job, tmp_path / "s", workers=1, on_progress=cut)
    gc.collect()  # what Ray leaves open when it is cut short, while nothing counts its warnings
    won = sweep(job, tmp_path / "s", workers=1, resume=True)
    assert [e.epoch for e in won.trained.history.epochs] == list(range(1, 13))
    ages = []
    for path in (tmp_path / "s" / "members").glob("*/result.json"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        ages.append(rows[-1]["training_iteration"])
    assert ages == [6] * 4
    first = [draw(job.space, np.random.default_rng([0, k])) for k in range(4)]
    values = [{k: v for k, v in m.items() if k != "judged"} for m in won.members]
    assert sum(v in first for v in values) < 3
    with pytest.raises(ModelError, match="leave out the number of workers"):
        sweep(job, tmp_path / "t", address="127.0.0.1:1", workers=1)


def test_ray_listens_to_the_loopback_interface_alone():
    with clusters.cluster(None, 1):
        nodes = ray.nodes()
        assert [node["NodeManagerAddress"] for node in nodes] == ["127.0.0.1"]
        ports = {nodes[0]["NodeManagerPort"], nodes[0]["ObjectManagerPort"]}
        listening = _listening()
        assert ports <= {port for _, port in listening}
        assert {address for address, port in listening if port in ports} == {"127.0.0.1"}


def _listening() -> set[tuple[str, int]]:
    """Return address and port of every TCP socket that listens, as the kernel says it."""
    found = set()
    for name in ("tcp", "tcp6"):
        with open(f"/proc/net/{name}") as file:
            for line in list(file)[1:]:
                _, local, _, state = line.split()[:4]
                address, port = local.split(":")
                if state == "0A":
                    # The last four bytes, in the machine's order; those of ::ffff:a.b.c.d too.
                    last = bytes.fromhex(address[-8:])[::-1]
                    found.add((".".join(map(str, last)), int(port, 16)))
    return found


def test_a_version_of_ray_that_cannot_be_kept_there_is_refused(monkeypatch):
    monkeypatch.delattr(clusters.services, "resolve_ip_for_localhost")
    with (
        pytest.raises(BciLfadsError, match="cannot be kept on the loopback interface"),
        clusters.cluster(None, 1),
    ):
        pass


def test_the_command_makes_a_model(tmp_path):
    write(small_recording(30), tmp_path / "r.npz")
    arguments = (
        "sweep", "r.npz", "-o", "m.safetensors", "--start", "trial/start", "--bins", "10",
        "--bin-width", "0.02", "--hidden", "4", "--factors", "2", "--members", "2", "--epochs", "2",
        "--generation", "1", "--workers", "1", "--vary", "keep=0.6:0.8", "--vary", "l2=0.1:0.2",
        "--variational", "--gru", "reset_before", "--sample-validation", "0.2", "--json",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "bci_lfads", *arguments], cwd=tmp_path, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    model = Model.load(tmp_path / "m.safetensors")
    assert found["hash"] == model.hash
    assert model.provenance["sweep"] == "random, 2 members, 2 epochs each at most"
    assert model.spec.variational is not None
    assert model.spec.gru == "reset_before"
    for member in found["members"]:
        assert 0.6 <= member["keep"] <= 0.8
        assert 0.1 <= member["l2"] <= 0.2
        assert 1e-3 <= member["kl"] <= 1.0
