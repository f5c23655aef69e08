"""Sweeps on Ray Tune, on this machine or on a cluster (extra ``sweep``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bci_lfads.errors import ModelError
from bci_lfads.models.history import Epoch, TrainingSettings
from bci_lfads.models.network import weights_from_network
from bci_lfads.models.training import Trained, new_trainer
from bci_lfads.sweep.cluster import cluster, ray, tune
from bci_lfads.sweep.job import Job
from bci_lfads.sweep.members import (
    SCORE,
    STATE,
    Ending,
    Progress,
    Tournament,
    Training,
    values_of,
)
from bci_lfads.sweep.population import draw

_ABOUT = "sweep.json"


@dataclass(frozen=True)
class Swept:
    """The winner of a sweep.

    Attributes
    ----------
    trained
        Its weights and history; of a population, the history of its lineage.
    settings
        Its hyper-parameters; of a population, those it ended with.
    members
        Every member's hyper-parameters and best likelihood that it was judged by (``judged``, nats
        a count, less is better), best first.
    """

    trained: Trained
    settings: TrainingSettings
    members: tuple[dict[str, float], ...]


def sweep(
    job: Job,
    folder: Path,
    *,
    address: str | None = None,
    workers: int | None = None,
    resume: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Swept:
    """Train all members and return the best.

    Parameters
    ----------
    job
        What is trained.
    folder
        Where Ray Tune keeps the members' states; on a cluster, one that all its machines share.
    address
        Of a Ray cluster; default: workers on this machine alone, on the loopback interface.
    workers
        Trainings at a time; default: as many as there are processors. Of a population on a cluster
        they are always as many.
    resume
        Go on with the sweep whose states are in the folder.
    on_progress
        Called with the reports that came, and that can come.

    Raises
    ------
    ModelError
        If every member diverged, the folder holds another sweep or none to resume, or a number of
        workers is given where it cannot be kept.
    BciLfadsError
        If there is no such cluster.
    """
    if job.kind == "pbt" and address is not None and workers is not None:
        raise ModelError(
            "on a cluster a population trains as many members at a time as there are processors; "
            "leave out the number of workers"
        )
    folder = folder.absolute()
    about = folder / _ABOUT
    if resume:
        _check_same(job, about)
    elif about.exists():
        raise ModelError(f"{folder} holds a sweep already; go on with it, or give another folder")
    with cluster(address, workers):
        trainable = tune.with_resources(
            tune.with_parameters(Training, job=job), _resources(job, workers)
        )
        run = folder / "members"
        if resume and tune.Tuner.can_restore(str(run)):
            # The members are drawn anew where none had begun before the cut.
            tuner = tune.Tuner.restore(
                str(run), trainable, resume_errored=True, param_space=_members(job)
            )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            about.write_text(json.dumps(job.about()))
            tuner = _tuner(job, trainable, run, workers, on_progress)
        return _winner(job, tuner.fit())


def _members(job: Job) -> dict[str, Any]:
    """Return what Ray makes the members of: numbers, and the hyper-parameters drawn for each."""
    first = [
        draw(job.space, np.random.default_rng([job.settings.seed, k])) for k in range(job.members)
    ]
    return {"member": tune.grid_search(list(range(job.members))), "first": first}


def _tuner(
    job: Job,
    trainable: Any,
    run: Path,
    workers: int | None,
    on_progress: Callable[[int, int], None] | None,
) -> Any:
    return tune.Tuner(
        trainable,
        param_space=_members(job),
        tune_config=tune.TuneConfig(
            metric=SCORE, mode="max", reuse_actors=True,
            # Ray counts members that wait for the others as running: with a bound on those a
            # population would meet in groups of that size. Processors bound it well enough.
            max_concurrent_trials=None if job.kind == "pbt" else workers,
            scheduler=Tournament(job) if job.kind == "pbt" else None,
        ),
        run_config=tune.RunConfig(
            name=run.name, storage_path=str(run.parent), verbose=0, stop=Ending(job),
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=1, checkpoint_at_end=True,
                num_to_keep=3 if job.kind == "pbt" else 1,
            ),
            callbacks=[] if on_progress is None else [Progress(job, on_progress)],
        ),
    )  # fmt: skip


def _winner(job: Job, results: Any) -> Swept:
    found = []
    for result in results:
        if result.checkpoint is None or result.metrics is None:
            continue
        with result.checkpoint.as_directory() as place:
            state = torch.load(Path(place) / STATE, map_location="cpu", weights_only=True)
        judged = [Epoch(*row).judged for row in state["epochs"]]
        if judged:
            found.append((min(judged), values_of(result.config), result.checkpoint))
    if not found:
        errors = "; ".join(str(e).splitlines()[-1] for e in results.errors[:1])
        raise ModelError(f"no member of the sweep came to anything: {errors or 'all diverged'}")
    found.sort(key=lambda f: f[0])
    _, values, checkpoint = found[0]
    settings = job.settings_of(values)
    trainer = new_trainer(job.spec, job.counts, job.validation, job.bin_width, settings)
    with checkpoint.as_directory() as place:
        trainer.read(Path(place) / STATE)
    history = trainer.finish(f"won a sweep of {job.members}")
    members = tuple({**values, "judged": best} for best, values, _ in found)
    return Swept(Trained(weights_from_network(trainer.net), history), settings, members)


def _check_same(job: Job, about: Path) -> None:
    if not about.is_file():
        raise ModelError(f"there is no sweep to go on with in {about.parent}")
    written, here = json.loads(about.read_text()), job.about()
    if other := [k for k in here if json.loads(json.dumps(here[k])) != written.get(k)]:
        raise ModelError(
            f"the sweep in {about.parent} has another {', '.join(other)}; give the same options"
        )


def _resources(job: Job, workers: int | None) -> Any:
    if job.device == "cpu":
        return {"cpu": 1}
    n_devices = float(ray.cluster_resources().get("GPU", 0))
    share = min(1.0, n_devices / (workers or job.members)) if n_devices else 0
    return {"cpu": 1, "gpu": share}
