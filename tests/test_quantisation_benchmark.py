"""The benchmark of few bits: one short run of it."""

import importlib
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

FILE = Path(__file__).parent.parent / "benchmarks" / "quantisation.py"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(FILE.parent)
    threads = torch.get_num_threads()
    yield importlib.import_module(FILE.stem)
    torch.set_num_threads(threads)


def test_a_short_run_gives_a_row_for_each_format(bench, monkeypatch, capsys, tmp_path):
    for name, value in {"N_TRAINING": 24, "N_VALIDATION": 8, "N_TEST": 8}.items():
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(bench, "FORMATS", ((4, 0), (8, 6)))
    monkeypatch.setattr(
        sys, "argv",
        ["quantisation.py", "--seeds", "1", "--epochs", "1", "--json", str(tmp_path / "q.json")],
    )  # fmt: skip
    bench.main()
    lines = capsys.readouterr().out.splitlines()
    starts = [line.split("|")[1].strip() for line in lines[2:5]]
    assert starts == ["float", "4 bit", "8 bit, recurrent products 8 × 8 bit, generator drops 6"]
    assert "8 test trials (seed 3)" in lines[-1]
    rows = json.loads((tmp_path / "q.json").read_text())["rows"]
    floats, coarse, short = (row["after training"] for row in rows)
    assert coarse[0] < short[0] < floats[0] + 0.01
    assert len(rows[1]["trained further"]) == 1
