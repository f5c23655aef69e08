"""Checkpoints of lfads-torch's layout, and its equations in NumPy, written for the tests alone.

Nothing here is of the package: the equations are those of the paper (arXiv 2309.01230) with the
names of its tensors, so that an importer that misreads one is found out.
"""

import sys
import types
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HP = {
    "encod_data_dim": 7, "encod_seq_len": 9, "recon_seq_len": 9, "ext_input_dim": 0,
    "ic_enc_seq_len": 0, "ic_enc_dim": 6, "ci_enc_dim": 0, "ci_lag": 1, "con_dim": 0, "co_dim": 0,
    "ic_dim": 5, "gen_dim": 8, "fac_dim": 3, "dropout_rate": 0.3, "variational": True,
    "ic_post_var_min": 1e-4, "cell_clip": 5.0, "lr_init": 4e-3, "kl_ic_scale": 1e-6,
}  # fmt: skip
CONTROLLER = {"ci_enc_dim": 4, "con_dim": 6, "co_dim": 2}


def state(hp: dict[str, Any], n_out: int | list[int], readin: list[int] | None = None, seed=0):
    """Return a state_dict of random float32 arrays; lists are of sessions."""
    rng = np.random.default_rng(seed)
    E, I, G, F = hp["ic_enc_dim"], hp["ic_dim"], hp["gen_dim"], hp["fac_dim"]  # noqa: E741
    Ec, K, C, D = hp["ci_enc_dim"], hp["con_dim"], hp["co_dim"], hp["encod_data_dim"]
    found: dict[str, Any] = {}

    def draw(name: str, *shape: int, scale: float | None = None) -> None:
        by = scale if scale is not None else max(shape[-1], 1) ** -0.5
        found[name] = (by * rng.standard_normal(shape)).astype(np.float32)

    def cell(name: str, size: int, inputs: int) -> None:
        draw(f"{name}.weight_ih", 3 * size, inputs)
        draw(f"{name}.weight_hh", 3 * size, size, scale=1.5 * size**-0.5)
        draw(f"{name}.bias_ih", 3 * size, scale=0.5)
        draw(f"{name}.bias_hh", 3 * size, scale=0.2)

    for i, n in enumerate(readin or []):
        draw(f"readin.{i}.weight", D, n)
        draw(f"readin.{i}.bias", D, scale=0.3)
    draw("encoder.ic_enc_h0", 2, 1, E, scale=0.5)
    for side in ("fwd", "bwd"):
        cell(f"encoder.ic_enc.{side}_gru.cell", E, D)
    draw("encoder.ic_linear.weight", 2 * I, 2 * E)
    draw("encoder.ic_linear.bias", 2 * I, scale=0.5)
    if C:
        draw("encoder.ci_enc_h0", 2, 1, Ec, scale=0.5)
        for side in ("fwd", "bwd"):
            cell(f"encoder.ci_enc.{side}_gru.cell", Ec, D)
    draw("decoder.con_h0", 1, K, scale=0.5)
    draw("decoder.ic_to_g0.weight", G, I)
    draw("decoder.ic_to_g0.bias", G, scale=0.3)
    cell("decoder.rnn.cell.gen_cell", G, C)
    draw("decoder.rnn.cell.fac_linear.weight", F, G, scale=0.7)
    if C:
        cell("decoder.rnn.cell.con_cell", K, 2 * Ec + F)
        draw("decoder.rnn.cell.co_linear.weight", 2 * C, K)
        draw("decoder.rnn.cell.co_linear.bias", 2 * C, scale=0.3)
    for i, n in enumerate([n_out] if isinstance(n_out, int) else n_out):
        draw(f"readout.{i}.weight", n, F, scale=0.5)
        draw(f"readout.{i}.bias", n, scale=0.5)
        found[f"readout.{i}.bias"] -= 2
    if hp["variational"]:
        draw("ic_prior.mean", I, scale=0.1)
        found["ic_prior.logvar"] = np.full(I, np.log(0.1), np.float32)
        if C:
            found["co_prior.logtaus"] = np.full(C, np.log(10), np.float32)
            found["co_prior.lognvars"] = np.full(C, np.log(0.1), np.float32)
    return found


def forward(weights: dict[str, Any], hp: dict[str, Any], counts: Any, session: int = 0):
    """Return factors and log counts a bin, by posterior means, in float64."""
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    clip = hp["cell_clip"]
    T, R, S = hp["encod_seq_len"], hp["recon_seq_len"], hp["ic_enc_seq_len"]
    x = np.asarray(counts, np.float64)
    n = len(x)
    if f"readin.{session}.weight" in w:
        x = x @ w[f"readin.{session}.weight"].T + w[f"readin.{session}.bias"]
    x = x[:, :, : hp["encod_data_dim"]]

    def sigmoid(v: Any) -> Any:
        return 1 / (1 + np.exp(-v))

    def gru(name: str, v: Any, h: Any) -> Any:
        size = h.shape[1]
        a = v @ w[f"{name}.weight_ih"].T + w[f"{name}.bias_ih"]
        U, b = w[f"{name}.weight_hh"], w[f"{name}.bias_hh"]
        z = sigmoid(a[:, :size] + h @ U[:size].T + b[:size])
        r = sigmoid(a[:, size : 2 * size] + h @ U[size : 2 * size].T + b[size : 2 * size])
        c = np.tanh(a[:, 2 * size :] + (r * h) @ U[2 * size :].T + b[2 * size :])
        return np.clip(z * h + (1 - z) * c, -clip, clip)

    def encode(which: str, v: Any) -> tuple[Any, Any]:
        bins = v.shape[1]
        start = w[f"encoder.{which}_h0"]
        states = np.zeros((2, bins, n, start.shape[2]))
        for k, (side, order) in enumerate((("fwd", range(bins)), ("bwd", range(bins - 1, -1, -1)))):
            h = np.repeat(start[k], n, axis=0)
            for t in order:
                h = gru(f"encoder.{which}.{side}_gru.cell", v[:, t], h)
                states[k, t] = h
        return states[0], states[1]

    fwd, bwd = encode("ic_enc", x[:, :S] if S else x)
    ends = np.concatenate([fwd[-1], bwd[0]], axis=1)
    mean = ends @ w["encoder.ic_linear.weight"].T + w["encoder.ic_linear.bias"]
    g = mean[:, : hp["ic_dim"]] @ w["decoder.ic_to_g0.weight"].T + w["decoder.ic_to_g0.bias"]
    W = w["decoder.rnn.cell.fac_linear.weight"]
    W = W / np.linalg.norm(W, axis=1)[:, None]
    f = g @ W.T
    C, Ec, lag = hp["co_dim"], hp["ci_enc_dim"], hp["ci_lag"]
    if C:
        c = np.repeat(w["decoder.con_h0"], n, axis=0)
        fwd, bwd = encode("ci_enc", x[:, S:] if S else x)
    factors, inputs = [], []
    for t in range(R):
        u = np.zeros((n, 0))
        if C:
            seen = np.zeros((n, 2 * Ec))
            k = t - S  # the bin's number among those that the controller's encoder sees
            if 0 <= k < T - S:
                if k - lag >= 0:
                    seen[:, :Ec] = fwd[k - lag]
                if k + lag < T - S:
                    seen[:, Ec:] = bwd[k + lag]
            c = gru("decoder.rnn.cell.con_cell", np.concatenate([seen, f], axis=1), c)
            u = c @ w["decoder.rnn.cell.co_linear.weight"][:C].T
            u = u + w["decoder.rnn.cell.co_linear.bias"][:C]
            inputs.append(u)
        g = gru("decoder.rnn.cell.gen_cell", u, g)
        f = g @ W.T
        factors.append(f)
    factors = np.stack(factors, axis=1)
    log_counts = factors @ w[f"readout.{session}.weight"].T + w[f"readout.{session}.bias"]
    return factors, log_counts, np.stack(inputs, axis=1) if C else None


@contextmanager
def modules_of_lfads_torch():
    """Put empty classes by lfads-torch's and lightning's names where pickles look for them."""
    made = {}
    for module, names in (
        ("lfads_torch", ()), ("lfads_torch.modules", ()),
        ("lfads_torch.modules.priors", ("AutoregressiveMultivariateNormal",)),
        ("lfads_torch.modules.augmentations", ("AugmentationStack", "CoordinatedDropout")),
    ):  # fmt: skip
        made[module] = types.ModuleType(module)
        for name in names:
            setattr(made[module], name, type(name, (), {"__module__": module}))
    sys.modules.update(made)
    try:
        yield made
    finally:
        for module in made:
            del sys.modules[module]


def write(path: Path, weights: dict[str, Any], hp: dict[str, Any], **more: Any) -> Path:
    """Write a checkpoint as lightning 1.6 lays it out, with objects of lfads-torch's classes."""
    import torch

    tensors = OrderedDict((k, torch.from_numpy(np.array(v))) for k, v in weights.items())
    with modules_of_lfads_torch() as modules:
        prior = modules["lfads_torch.modules.priors"].AutoregressiveMultivariateNormal()
        prior.logtaus = torch.nn.Parameter(torch.ones(2))
        stack = modules["lfads_torch.modules.augmentations"].AugmentationStack()
        drop = modules["lfads_torch.modules.augmentations"].CoordinatedDropout()
        drop.cd_input_dist = torch.distributions.Bernoulli(0.7)
        stack.batch_transforms = [drop]
        optimiser = {"state": {0: {"exp_avg": torch.ones(3, 4)}}, "param_groups": [{"lr": 4e-3}]}
        content = {
            "epoch": 12, "global_step": 345, "pytorch-lightning_version": "1.6.0",
            "state_dict": tensors, "optimizer_states": [optimiser], "lr_schedulers": [],
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.2)}},
            "hparams_name": "kwargs",
            "hyper_parameters": {**hp, "train_aug_stack": stack, "co_prior": prior},
            "datamodule_hparams_name": "kwargs", **more,
        }  # fmt: skip
        torch.save(content, path)
    return path
