"""The members of a sweep, and what Ray Tune does with them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bci_lfads.errors import ModelError
from bci_lfads.models.trainer import Trainer
from bci_lfads.models.training import new_trainer
from bci_lfads.sweep.cluster import tune
from bci_lfads.sweep.job import Job
from bci_lfads.sweep.population import at_rest, perturb, tournament

# After `cluster`, which says where Ray comes from where it is missing.
from ray.tune.schedulers import PopulationBasedTraining  # isort: skip

log = logging.getLogger(__name__)

SCORE = "score"
STATE = "trainer.ckpt"
"""Of a member, in its checkpoint's folder."""
_JUDGED = 5
"""Epochs whose mean likelihood is a member's score: that of one is a noisy judge."""


class Training(tune.Trainable):  # type: ignore[misc]  # Ray is optional and not type-checked
    """One training; a step of it is a generation."""

    def setup(self, config: dict[str, Any], job: Job) -> None:
        """Begin it."""
        torch.set_num_threads(1)
        self._job = job
        self._trainer = self._begin(config)

    def _begin(self, config: dict[str, Any]) -> Trainer:
        job = self._job
        settings = job.settings_of(values_of(config))
        own = replace(settings, seed=settings.seed + int(config["member"]))
        return new_trainer(
            job.spec, job.counts, job.validation, job.bin_width, own, device=job.device
        )

    def step(self) -> dict[str, Any]:
        """Train for a generation; one that diverges scores worse than all others."""
        trainer, score = self._trainer, -math.inf
        try:
            trainer.run(n_epochs=self._job.generation)
            score = -float(np.mean([e.judged for e in trainer.epochs[-_JUDGED:]]))
        except ModelError as error:
            log.warning("%s", error)
        best = max((e.bits_per_spike for e in trainer.epochs), default=-math.inf)
        ended = trainer.ended is not None or (score == -math.inf and self._job.kind == "random")
        return {SCORE: score, "bits_per_spike": best, "done": ended}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write its state."""
        self._trainer.write(Path(checkpoint_dir) / STATE)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Go on from a state, its own or a winner's."""
        self._trainer.read(Path(checkpoint_dir) / STATE)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another member, whose state comes next."""
        self._trainer = self._begin(new_config)
        return True


def values_of(config: dict[str, Any]) -> dict[str, float]:
    """Return a member's hyper-parameters, drawn at first or inherited since."""
    values: dict[str, float] = config.get("values") or config["first"][config["member"]]
    return values


class Tournament(PopulationBasedTraining):  # type: ignore[misc]
    """Ray's synchronous population-based training, with pairs in place of quantiles."""

    def __init__(self, job: Job) -> None:
        space, seed = job.space, job.settings.seed
        rng = np.random.default_rng([seed, job.members])

        def explore(config: dict[str, Any]) -> dict[str, Any]:
            return config | {"values": perturb(values_of(config), space, rng)}

        super().__init__(
            time_attr="training_iteration", metric=SCORE, mode="max", perturbation_interval=1,
            custom_explore_fn=explore, synch=True, log_config=False,
        )  # fmt: skip
        self._rng = rng
        self._winners: dict[Any, Any] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Take up a member; of a sweep that is resumed, where it was.

        Ray's scheduler begins anew then, takes all members for younger than they are and lets them
        wait for a generation that is past.
        """
        super().on_trial_add(tune_controller, trial)
        state, result = self._trial_state[trial], trial.last_result or {}
        state.last_train_time = int(result.get("training_iteration", 0))
        state.last_score = result.get(SCORE)
        ages = [s.last_train_time for t, s in self._trial_state.items() if not t.is_finished()]
        # What is to come next: the youngest one's next generation.
        self._next_perturbation_sync = min(ages, default=0) + 1

    def _quantiles(self) -> tuple[list[Any], list[Any]]:
        scores = {
            trial: state.last_score
            for trial, state in self._trial_state.items()
            if state.last_score is not None and not trial.is_finished()
        }
        self._winners = tournament(scores, self._rng)
        return list(self._winners), list(dict.fromkeys(self._winners.values()))

    def _checkpoint_or_exploit(
        self, trial: Any, tune_controller: Any, upper_quantile: list[Any], lower_quantile: list[Any]
    ) -> None:
        upper = [self._winners[trial]] if trial in lower_quantile else upper_quantile
        super()._checkpoint_or_exploit(trial, tune_controller, upper, lower_quantile)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Accept metric and mode once more: Ray would take that for a contradiction."""
        return True


class Ending(tune.Stopper):  # type: ignore[misc]
    """Ends members after their epochs, and a population that does not get better any more."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._scores: dict[int, float] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether a member has all its epochs."""
        generation = int(result["training_iteration"])
        best = max(float(result[SCORE]), self._scores.get(generation, -math.inf))
        self._scores[generation] = best
        return generation >= self._job.n_reports

    def stop_all(self) -> bool:
        """Return whether the population has come to rest."""
        if self._job.kind != "pbt" or not self._scores:
            return False
        # The newest generation may not be complete.
        done = [self._scores[g] for g in sorted(self._scores)[:-1]]
        return at_rest(np.maximum.accumulate(done).tolist() if done else [])


class Progress(tune.Callback):  # type: ignore[misc]
    """Says how many reports came."""

    def __init__(self, job: Job, tell: Callable[[int, int], None]) -> None:
        self._total = job.members * job.n_reports
        self._tell = tell
        self._n = 0

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Count one."""
        self._n += 1
        self._tell(min(self._n, self._total), self._total)

    def __getstate__(self) -> dict[str, Any]:
        # Ray stores its callbacks; a bar on some terminal is nothing to store.
        return {"_total": self._total, "_n": self._n, "_tell": lambda *_: None}
