"""What training reaches: on a recording of reaches, and on a simulation whose latents are known.

    python benchmarks/training.py PART… [--reaches ps4_realdata.mat] [--folder DIR] [--seed N]

Parts are ``reach``, ``held-out``, ``ahead``, ``bits`` (of the model of ``held-out``) and
``lorenz``; each leaves its numbers and its model in the folder, and the tables printed are of all
parts that are there. Needs the extras ``train`` and ``mat``. The recording is that of
docs/training.md: trials of one half train and validate, those of the other are scored; nothing is
chosen by the latter.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import describe_machine, markdown
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from bci_lfads.evaluation import evaluate_model, infer
from bci_lfads.fitting import Sizes, fit_model
from bci_lfads.models.history import Epoch, TrainingSettings, epochs_for
from bci_lfads.models.model import Model
from bci_lfads.models.qat import GENTLE
from bci_lfads.models.scores import bits_per_spike
from bci_lfads.offline import cut
from bci_lfads.preparing import prepare
from bci_lfads.recordings import Recording, read
from bci_lfads.recordings.simulate import simulate_lorenz
from bci_lfads.rig import TrialSettings
from bci_lfads.rounding import quantise_model

WIDTH = 0.01
TRAIN = TrialSettings(mode="trials", start="trial/train/*")
TEST = TrialSettings(mode="trials", start="trial/test/*")
ORBITS = TrialSettings(mode="trials", start="trial/start")
LORENZ = {"n_units": 30, "rate": 8.0, "trial_length": 1.0, "population_seed": 7}
"""Of the simulation: 30 units at 8 Hz; a trial of 1 s, each on an orbit of its own."""
N_ORBITS, N_TEST_ORBITS = 4000, 300
SECONDS = (0.2, 0.7)
"""Of a reach's trial, in which the direction is decoded: the delay after the target is seen."""
STEP = 0.1
BITS = (16, 12, 10, 8)
_log = logging.getLogger("training")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: only the tables")
    parser.add_argument("--reaches", type=Path, help="ps4_realdata.mat")
    parser.add_argument("--folder", type=Path, default=Path("out/training"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="of training, for quick tries")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        machine = describe_machine()
        wall, cpu = time.monotonic(), time.process_time()
        found = PARTS[part](options)
        found |= {
            "machine": f"{machine}; torch {torch.__version__}",
            "seconds": time.monotonic() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "seed": options.seed,
        }
        path = options.folder / f"{part}.json"
        path.write_text(json.dumps(found, indent=2))
        _log.info("%s: %s", part, found)
    _print(options.folder)


def _train(
    recording: Recording,
    window: TrialSettings,
    n_bins: int,
    options: Any,
    *,
    factors: int | None = None,
    epochs: int | None = None,
    **how: Any,
) -> tuple[Model, dict[str, Any]]:
    """Train as `bci-lfads train` does by default."""
    data = prepare(recording, window, n_bins, WIDTH, seed=options.seed, **how)
    epochs = options.epochs or epochs or epochs_for(len(data.parts.training))
    settings = TrainingSettings(epochs=epochs, patience=max(10, epochs // 3), seed=options.seed)
    begun = time.process_time()

    def tell(epoch: Epoch) -> None:
        if epoch.epoch % 20 == 0:
            _log.info("epoch %d: %.4f bits per spike", epoch.epoch, epoch.bits_per_spike)

    sizes = Sizes() if factors is None else Sizes(factors=factors)
    fitted = fit_model(data, sizes, settings, on_epoch=tell)
    return fitted.model, {
        "windows": [len(data.parts.training), len(data.parts.validation)],
        "epochs": [fitted.history.best, fitted.history.epochs[-1].epoch, epochs],
        "training_seconds": fitted.history.epochs[-1].seconds,
        "training_cpu_seconds": time.process_time() - begun,
        "validation": fitted.scores.as_dict(),
    }


def _reaches(options: Any) -> Recording:
    if options.reaches is None:
        raise SystemExit("this part needs --reaches ps4_realdata.mat")
    return read(options.reaches)


def reach(options: Any) -> dict[str, Any]:
    recording = _reaches(options)
    model, found = _train(recording, TRAIN, 70, options)
    model.save(options.folder / "reach.safetensors")
    return found | {
        "test": _scores(evaluate_model(model, recording, TEST)),
        "direction": _directions(model, recording),
    }


def held_out(options: Any) -> dict[str, Any]:
    recording = _reaches(options)
    model, found = _train(recording, TRAIN, 70, options, hold_out=0.25)
    model.save(options.folder / "held-out.safetensors")
    return found | {
        "test": _scores(evaluate_model(model, recording, TEST)),
        "direction": _directions(model, recording),
    }


def ahead(options: Any) -> dict[str, Any]:
    recording = _reaches(options)
    model, found = _train(recording, TRAIN, 50, options, n_ahead=20)
    model.save(options.folder / "ahead.safetensors")
    return found | {"test": _scores(evaluate_model(model, recording, TEST))}


def lorenz(options: Any) -> dict[str, Any]:
    training = simulate_lorenz(N_ORBITS, seed=1, **LORENZ)
    model, found = _train(
        training, ORBITS, 100, options, factors=4, epochs=80, validation=0.1
    )  # fmt: skip
    model.save(options.folder / "lorenz.safetensors")
    test = simulate_lorenz(N_TEST_ORBITS, seed=2, **LORENZ)
    return found | {"test": _scores(evaluate_model(model, test, ORBITS))}


def bits(options: Any) -> dict[str, Any]:
    """Round the model of reaches that sees three quarters of the units, and train it further."""
    recording = _reaches(options)
    model = Model.load(options.folder / "held-out.safetensors")
    training = cut(recording, model, TRAIN)
    test = cut(recording, model, TEST).counts
    _, _, log_rates = infer("torch", model, test)
    found: dict[str, Any] = {"float": bits_per_spike(log_rates, test, WIDTH)}
    settings = replace(GENTLE, seed=options.seed)
    for width in BITS:
        rounded, _ = quantise_model(model, width, training)
        tuned, history = quantise_model(model, width, training, settings)
        values = [
            bits_per_spike(infer("native", m, test)[2], test, WIDTH) for m in (rounded, tuned)
        ]
        found[str(width)] = [*values, history.best if history else 0]
        _log.info("%d bits: %s", width, found[str(width)])
    return found


PARTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "reach": reach, "held-out": held_out, "ahead": ahead, "bits": bits, "lorenz": lorenz,
}  # fmt: skip


def _scores(found: Any) -> dict[str, Any]:
    return {engine: scores.as_dict() for engine, scores in found.engines.items()} | {
        "windows": found.n_windows, "held_out": len(found.held_out), "fitted_on": found.fitted_on,
    }  # fmt: skip


def _directions(model: Model, recording: Recording) -> dict[str, float]:
    """Return how often the direction of test trials is decoded by what fits training trials.

    Linear discriminant analysis (Ledoit-Wolf shrinkage, nothing to choose) of the means of each
    factor in steps of 100 ms from 200 to 700 ms; the same of the spike counts, for comparison.
    """
    halves = [cut(recording, model, window) for window in (TRAIN, TEST)]
    labels = [[label.rsplit("/", 1)[1] for label in half.labels] for half in halves]
    found = {}
    for name in ("torch", "native", "counts"):
        x = [
            _steps(half.counts if name == "counts" else infer(name, model, half.counts)[1])
            for half in halves
        ]
        decoder = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        found[name] = float(decoder.fit(x[0], labels[0]).score(x[1], labels[1]))
    return found


def _steps(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return means in steps of a window's bins, shape ``(n_windows, n_steps * n_channels)``."""
    first, last = (round(t / WIDTH) for t in SECONDS)
    part = values[:, first:last].astype(np.float64)
    n_steps = round((SECONDS[1] - SECONDS[0]) / STEP)
    return part.reshape(len(part), n_steps, -1, part.shape[2]).mean(axis=2).reshape(len(part), -1)


def _print(folder: Path) -> None:
    there = {p: json.loads(f.read_text()) for p in PARTS if (f := folder / f"{p}.json").exists()}
    rows = [["part", "score on test trials", "float", "fixed point", "training, s (CPU)"]]
    for part, found in there.items():
        if part == "bits":
            continue
        test, direction = found["test"], found.get("direction", {})
        names = [n for n in test["native"] if not n.endswith(("_each", "_lag"))]
        cells = [(n.replace("_", " "), test["torch"][n], test["native"][n]) for n in names]
        if direction:
            cells.append(("direction", direction["torch"], direction["native"]))
        took = f"{found['training_seconds']:.0f} ({found['training_cpu_seconds']:.0f})"
        rows += [
            [part, n, f"{a:.4f}", f"{b:.4f}", took if k == 0 else ""]
            for k, (n, a, b) in enumerate(cells)
        ]
    sys.stdout.write(markdown(rows) + "\n\n")
    if "bits" in there:
        found = there["bits"]
        rows = [["weights", "bits/spike, rounded", "loss", "trained with rounding", "loss"]]
        rows.append(["float", f"{found['float']:.4f}", "", "", ""])
        for width in BITS:
            rounded, tuned, _ = found[str(width)]
            rows.append([f"{width} bit", *(
                text
                for v in (rounded, tuned)
                for text in (f"{v:.4f}", f"{100 * (1 - v / found['float']):.2f} %")
            )])  # fmt: skip
        sys.stdout.write(markdown(rows) + "\n\n")
    for part, found in there.items():
        sys.stdout.write(f"{part}: seed {found['seed']}; {found['machine']}\n")


if __name__ == "__main__":
    main()
