"""What few bits cost, rounded after training and trained with rounding, on the demo's data.

    python benchmarks/quantisation.py [--seeds N] [--epochs N] [--json FILE]

Needs the extra ``train`` and this repository (``replay_data/``). It takes the demo's float weights
and the population that they were trained on; trials of three recordings with seeds of their own
are for training, for choosing the epoch, and for the scores. Post-training quantisation is
deterministic; fine-tuning is repeated with other seeds of order and dropout.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import describe_machine, markdown
from numpy.typing import NDArray

from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.model import Model
from bci_lfads.models.qat import (
    GENTLE,
    QuantisedNetwork,
    as_floats,
    fine_tune,
)
from bci_lfads.models.quantise import quantise
from bci_lfads.models.reference import evaluate
from bci_lfads.models.scores import bits_per_spike, decode_r2
from bci_lfads.models.training import train

REPLAY = Path(__file__).resolve().parent.parent / "replay_data"
N_TRAINING, N_VALIDATION, N_TEST = 2000, 300, 500
TRAINING_SEED, VALIDATION_SEED, TEST_SEED = 1, 2, 3
CHOSEN = -1
FORMATS = (
    (16, 0), (12, 0), (10, 0), (8, 0), (6, 0), (4, 0), (8, 8), (8, 7), (8, 6), (8, CHOSEN),
)  # fmt: skip
"""Bits of the weights; bits that the generator's products drop of its state, 0 where products
have 16 bits, `CHOSEN` where `quantise` chooses. The encoder's drop 8 unless chosen."""
_log = logging.getLogger("quantisation")


class Bench:
    """The demo's model and trials."""

    def __init__(self) -> None:
        demo = _make_demo()
        self.model = Model.load(REPLAY / "demo_model.safetensors")
        self.training = demo.trials(demo.simulate(TRAINING_SEED, N_TRAINING))[0].counts
        self.validation = demo.trials(demo.simulate(VALIDATION_SEED, N_VALIDATION))[0].counts
        batch, self.latents = demo.trials(demo.simulate(TEST_SEED, N_TEST))
        self.test: NDArray[np.uint8] = batch.counts

    def rounded(self, bits: int, drop: int) -> FixedPoint:
        """Return the post-training quantisation, calibrated on training trials."""
        model = self.model
        return quantise(
            model.spec, model.weights, self.training[:512], bits, 8 if drop else 16,
            (8, drop) if drop > 0 else None,
        )  # fmt: skip

    def scores(self, fixed: FixedPoint, weights: Any) -> tuple[float, float]:
        """Return bits per spike and latent R² of the kernel's integers on the test trials."""
        net = QuantisedNetwork(self.model.spec, fixed, weights).eval()
        with torch.no_grad():
            counts = torch.from_numpy(self.test.astype(np.float64))
            factors, log_rates = (v.numpy() for v in net(counts))
        return self._scores(factors, log_rates)

    def float_scores(self, weights: Any) -> tuple[float, float]:
        """Return the same of the float model."""
        trace = evaluate(self.model.spec, weights, self.test)
        return self._scores(trace.factors, trace.log_rates)

    def _scores(self, factors: Any, log_rates: Any) -> tuple[float, float]:
        bits = bits_per_spike(log_rates, self.test, self.model.bin_width)
        return bits, decode_r2(factors, self.latents).mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3, help="repetitions of each fine-tuning")
    parser.add_argument("--epochs", type=int, default=2, help="of each fine-tuning")
    parser.add_argument("--json", type=Path, help="write all numbers here too")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.set_num_threads(1)
    begun = time.monotonic()
    machine = describe_machine()
    bench = Bench()
    settings = replace(GENTLE, epochs=options.epochs)
    rows = [{"format": "float", "after training": bench.float_scores(bench.model.weights)}]
    # The same training further without rounding: what of the gain is not rounding's.
    rows[0]["trained further"] = [_further(bench, settings, s) for s in range(options.seeds)]
    for bits, drop in FORMATS:
        fixed = bench.rounded(bits, drop)
        tuned = [_tuned(bench, fixed, settings, s) for s in range(options.seeds)]
        name = f"{bits} bit"
        if drop:
            how = " as chosen" if drop == CHOSEN else ""
            name += f", recurrent products 8 × 8 bit, generator drops {fixed.generator_drop}{how}"
        after = bench.scores(fixed, bench.model.weights)
        rows.append({"format": name, "after training": after, "trained further": tuned})
        _log.info("%s: %s, %s (%.0f s)", name, after, tuned, time.monotonic() - begun)
    _print(rows, machine, options, time.monotonic() - begun)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2))


def _tuned(bench: Bench, fixed: FixedPoint, settings: Any, seed: int) -> tuple[float, float]:
    model = bench.model
    tuned = fine_tune(
        model.spec, model.weights, fixed, bench.training, bench.validation, model.bin_width,
        replace(settings, seed=seed),
    )  # fmt: skip
    return bench.scores(tuned.fixed, as_floats(tuned.fixed))


def _further(bench: Bench, settings: Any, seed: int) -> tuple[float, float]:
    model = bench.model
    trained = train(
        model.spec, bench.training, bench.validation, model.bin_width,
        replace(settings, seed=seed), start=model.weights,
    )  # fmt: skip
    return bench.float_scores(trained.weights)


def _print(rows: list[dict[str, Any]], machine: str, options: Any, seconds: float) -> None:
    head = [
        "weights", "bits/spike, rounded", "bits/spike, trained with rounding",
        "latent R², rounded", "latent R², trained with rounding",
    ]  # fmt: skip
    cells = []
    for row in rows:
        after, tuned = row["after training"], np.array(row["trained further"])
        cells.append([row["format"], *(
            text
            for k in (0, 1)
            for text in (
                f"{after[k]:.4f}",
                f"{tuned[:, k].mean():.4f} ({tuned[:, k].min():.4f} to {tuned[:, k].max():.4f})",
            )
        )])  # fmt: skip
    sys.stdout.write(
        f"{markdown([head, *cells])}\n\n{N_TEST} test trials (seed {TEST_SEED}); fine-tuning: "
        f"{options.epochs} epochs of {N_TRAINING} trials (seed {TRAINING_SEED}), the best of them "
        f"and none by {N_VALIDATION} trials (seed {VALIDATION_SEED}); mean, least and most of "
        f"{options.seeds} repetitions (seeds 0 to {options.seeds - 1}). {seconds:.0f} s, one "
        f"thread; {machine}; torch {torch.__version__}\n"
    )


def _make_demo() -> Any:
    spec = importlib.util.spec_from_file_location("make_demo", REPLAY / "make_demo.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"{REPLAY} lacks make_demo.py; run this from a checkout")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
