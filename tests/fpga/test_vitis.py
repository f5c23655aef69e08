"""What can be tried of the Vitis build without Vitis: its scripts run with stand-ins for the tools.

The stand-ins note how they were called; that Vitis takes it so is not shown by this.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FPGA = Path(__file__).resolve().parents[2] / "fpga"
REPORT = FPGA / "tools" / "vitis_report.py"
TOOL = """#!{python}
import json, os, pathlib, sys
name = pathlib.Path(sys.argv[0]).name
with open({log!r}, "a") as log:
    log.write(json.dumps([name, sys.argv[1:], os.environ.get("LFADS_ACTION", "")]) + "\\n")
if os.environ.get("LFADS_ACTION") == "xo" and name == "vitis_hls":
    pathlib.Path(os.environ["LFADS_XO"]).write_text("xo")
if name == "vitis_hls" and os.environ["LFADS_ACTION"] == "csynth":
    folder = pathlib.Path("lfads_csynth/solution/syn/report")
    folder.mkdir(parents=True)
    (folder / "lfads_kernel_csynth.xml").write_text(pathlib.Path({xml!r}).read_text())
"""
# Written here after the fields that UG1399 names; figures are made up.
XML = """<profile>
<UserAssignments><TargetClockPeriod>3.33</TargetClockPeriod></UserAssignments>
<PerformanceEstimates>
<SummaryOfTimingAnalysis><EstimatedClockPeriod>2.431</EstimatedClockPeriod></SummaryOfTimingAnalysis>
<SummaryOfOverallLatency><Best-caseLatency>3000</Best-caseLatency>
<Worst-caseLatency>undef</Worst-caseLatency><Interval-max>undef</Interval-max>
</SummaryOfOverallLatency></PerformanceEstimates>
<AreaEstimates>
<Resources><BRAM_18K>100</BRAM_18K><DSP>4512</DSP><FF>5</FF><LUT>6</LUT><URAM>7</URAM></Resources>
<AvailableResources><BRAM_18K>4032</BRAM_18K><DSP>9024</DSP><FF>2607360</FF><LUT>1303680</LUT>
<URAM>960</URAM></AvailableResources>
</AreaEstimates></profile>
"""
TIMING = """Design Timing Summary
---------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)
    -------      -------  ---------------------  -------------------      -------      -------
     {wns}        0.000                      0              1234567        0.010        0.000
"""
UTILISATION = """
| Site Type       |  Used  | Fixed | Available | Util% |
| CLB LUTs*       | 700000 |     0 |   1303680 | 53.70 |
| Block RAM Tile  |  280.5 |     0 |      2016 | 13.91 |
| DSPs            |   5188 |     0 |      9024 | 57.49 |
"""


@pytest.fixture
def vitis(make, tmp_path: Path):
    """Run a target with stand-ins for the tools on the path; return their calls and the output."""
    tools, log = tmp_path / "tools", tmp_path / "log"
    tools.mkdir()
    (tmp_path / "sample.xml").write_text(XML)
    text = TOOL.format(python=sys.executable, log=str(log), xml=str(tmp_path / "sample.xml"))
    for name in ("vitis_hls", "v++", "emconfigutil"):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)

    def run(*arguments: str):
        log.write_text("")
        path = f"{tools}:{os.environ['PATH']}"
        result = make(*arguments, "HLS=vitis_hls -f", needs=(), PATH=path)
        return [json.loads(line) for line in log.read_text().splitlines()], result.stdout

    return run


def test_synthesis_is_asked_for_and_its_report_read(vitis):
    calls, out = vitis("csynth")
    assert calls == [["vitis_hls", ["-f", f"{FPGA}/config/hls.tcl"], "csynth"]]
    assert "3000 to ?" in out
    assert "4,512 (50%)" in out


@pytest.mark.parametrize(("target", "link"), [("xclbin", "hw"), ("hw_emu", "hw_emu")])
def test_the_card_is_linked_with_what_lies_there(vitis, tmp_path, target, link):
    if target == "xclbin":  # so that its report has something to read
        vitis("csynth")
    calls, _ = vitis(target, "CLOCK=250")
    assert [c[0] for c in calls][:2] == ["vitis_hls", "v++"]
    options = calls[1][1]
    assert options[options.index("--target") + 1] == link
    assert options[options.index("--kernel_frequency") + 1] == "250"
    assert Path(options[options.index("--config") + 1]).is_file()
    assert Path(options[-1]).name == "lfads_kernel.xo"
    assert (len(calls) == 3) == (link == "hw_emu")


def test_every_port_of_the_kernel_has_its_place():
    source = (FPGA / "src" / "lfads_kernel.cpp").read_text()
    bundles = dict(re.findall(r"m_axi port = (\w+) bundle = (\w+)", source))
    lines = (FPGA / "config" / "u55c.cfg").read_text().splitlines()
    places = dict(re.findall(r"^sp=lfads_kernel_1\.(\w+):(\w+\[\d+\])$", "\n".join(lines), re.M))
    assert set(places) == set(bundles)
    by_bundle = {b: {places[p] for p in bundles if bundles[p] == b} for b in bundles.values()}
    assert all(
        len(where) == 1 for where in by_bundle.values()
    )  # a bundle is one port of the kernel
    for line in lines:
        assert re.fullmatch(r"(#.*|\[\w+\]|[\w.]+=\S+)?", line), line


@pytest.mark.parametrize("action", ["csynth", "cosim", "xo"])
def test_the_script_of_synthesis_runs(tmp_path, action):
    tclsh = shutil.which("tclsh")
    if tclsh is None:
        pytest.skip("no tclsh on this machine")
    commands = (
        "open_project", "set_top", "add_files", "open_solution", "set_part", "create_clock",
        "set_directive_interface", "csynth_design", "cosim_design", "export_design",
    )  # fmt: skip
    stand_ins = "".join(f"proc {c} args {{puts [list {c} {{*}}$args]}}\n" for c in commands)
    (tmp_path / "run.tcl").write_text(stand_ins + f"source {FPGA}/config/hls.tcl\n")
    sources = ["src/lfads_kernel.cpp", "src/lfads_card.cpp"]
    environment = {
        "LFADS_ACTION": action, "LFADS_FPGA": str(FPGA), "LFADS_KERNEL": " ".join(sources),
        "LFADS_DEFINES": "-DLFADS_REUSE=16", "LFADS_PART": "xcu55c-fsvh2892-2L-e",
        "LFADS_CLOCK": "300", "LFADS_XO": "out.xo", "LFADS_VECTORS": "a.bin b.bin",
    }  # fmt: skip
    done = subprocess.run(
        [tclsh, "run.tcl"], cwd=tmp_path, env={**os.environ, **environment},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert sum(line.startswith("add_files") for line in said) == 3
    assert "create_clock -period 3.333" in said
    assert ("cosim_design -rtl verilog -argv {a.bin b.bin}" in said) == (action == "cosim")
    assert ("export_design -format xo -output out.xo" in said) == (action == "xo")
    without = {k: v for k, v in environment.items() if k != "LFADS_PART"}
    refused = subprocess.run(
        [tclsh, "run.tcl"], cwd=tmp_path, env={**os.environ, **without}, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert "LFADS_PART is not set" in refused.stderr


def test_cosimulation_copies_what_the_test_bench_has(make):
    """The script's depths are the bench's, its bundles the kernel's; and that bench agrees in C."""
    script = (FPGA / "config" / "hls.tcl").read_text()
    table = re.search(r"set ports \{\n(.*?)\}", script, re.DOTALL)
    assert table is not None
    ports = {name: (bundle, int(n)) for name, bundle, n in map(str.split, table[1].splitlines())}
    source = (FPGA / "src" / "lfads_kernel.cpp").read_text()
    assert {n: b for n, (b, _) in ports.items()} == dict(
        re.findall(r"m_axi port = (\w+) bundle = (\w+)", source)
    )
    header = (FPGA / "testbench" / "cosim_buffers.h").read_text()
    sizes = {n.lower(): int(v) for n, v in re.findall(r"COSIM_(\w+) = (\d+);", header)}
    assert {n: depth for n, (_, depth) in ports.items() if n != "answer"} == sizes
    done = make("csim", "MODELS=3", "CXXFLAGS=-O1 -Werror", "DEFINES=-DLFADS_COSIM")
    assert re.search(r"3 models, \d+ checks, 0 failed", done.stdout)


@pytest.mark.parametrize(("wns", "code"), [("0.050", 0), ("-0.120", 1)])
def test_a_clock_that_is_missed_is_a_failure(tmp_path, wns, code):
    (tmp_path / "top_timing_summary_routed.rpt").write_text(TIMING.format(wns=wns))
    (tmp_path / "kernel_util_routed.rpt").write_text(UTILISATION)
    done = subprocess.run(
        [sys.executable, str(REPORT), str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code
    assert f"worst setup slack {wns} ns, hold 0.010 ns" in done.stdout
    assert ("NOT met" in done.stdout) == bool(code)
    assert "700,000 LUT" in done.stdout
    assert "5,188 DSP" in done.stdout


def test_a_folder_without_reports_and_a_damaged_one(tmp_path):
    command = [sys.executable, str(REPORT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "no report of Vitis" in done.stderr
    (tmp_path / "lfads_kernel_csynth.xml").write_text("<profile>")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "is not XML" in done.stderr
