"""The real Xilinx Runtime of Debian, an emulated card, and processes that use them.

Whatever talks to the runtime is a process in a session of its own with a time limit: the runtime
signals its whole process group when its device dies, and waits without end when it is silent.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernel_library import kernel_library
from xrt.xclbin import HOST, N_BANKS, PLATFORM, Argument, write_xclbin

from bci_lfads.engines.fpga.protocol import BUFFERS, KERNEL
from bci_lfads.engines.fpga.protocol import Argument as KernelArgument

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIBRARIES = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu")
SWEMU = "libxrt_swemu.so.2.13.0"
# A `jne` whose target skips the store of what realloc returned: `CpuemShim::alloc_void` then
# writes to freed memory. Its target is moved to the store. Upstream's source has no such fault.
REPAIR_AT, BROKEN, REPAIRED = 0x92730, 0xE6, 0xDF
MODEL = "data/emulation/unified/cpu_em/generic_pcie/model/genericpciemodel"
OUTPUTS = (KernelArgument.FACTORS, KernelArgument.LOG_RATES, KernelArgument.ANSWER)

BANKS = {a: 1 if a in OUTPUTS else 0 for a in BUFFERS} | {KernelArgument.MAILBOX: HOST}
ARGUMENTS = tuple(Argument(a.name.lower(), BANKS.get(a)) for a in KernelArgument)
"""The kernel's arguments; inputs in one memory bank, outputs in another, the mailbox here."""


class Unavailable(Exception):  # noqa: N818
    """What the emulation needs is not on this machine."""


@dataclass
class Emulation:
    """Runs processes on an emulated card.

    Attributes
    ----------
    home
        Holds the runtime's libraries, our binding, the device's program.
    folder
        Of this test: xclbin files and what the runtime writes.
    """

    home: Path
    folder: Path
    user: str = field(default_factory=lambda: f"lfads-{uuid.uuid4().hex[:8]}")

    def xclbin(self, name: str = KERNEL, arguments: Any = ARGUMENTS, **options: Any) -> Path:
        """Write an xclbin and return its path."""
        path = self.folder / f"{uuid.uuid4().hex[:8]}.xclbin"
        library = (self.home / "kernel.so").read_bytes()
        path.write_bytes(write_xclbin(name, arguments, library, **options))
        return path

    def environment(self, mode: str | None, fault: str = "") -> dict[str, str]:
        env = os.environ | {
            "XILINX_XRT": str(self.home / "xrt"),
            "XILINX_VITIS": str(self.home / "vitis"),
            "EMCONFIG_PATH": str(self.home),
            "SDACCEL_EM_RUN_DIR": str(self.folder),
            "USER": self.user,
            "PYTHONPATH": os.pathsep.join([str(self.home / "binding"), str(HERE.parent)]),
            "BCI_LFADS_MODEL_FAULT": fault,
            "COLUMNS": "200",
        }
        env.pop("XCL_EMULATION_MODE", None)
        return env | ({"XCL_EMULATION_MODE": mode} if mode else {})

    def start(self, *command: object, mode: str | None = "sw_emu", fault: str = "", **env: str):
        """Start a command in a session of its own."""
        return subprocess.Popen(
            [str(part) for part in command], cwd=self.folder,
            env=self.environment(mode, fault) | env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def finish(self, process: Any, timeout: float = 60.0) -> tuple[int, str, str]:
        """Wait; return exit code, output and errors. Ends the whole session after `timeout`."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"did not end within {timeout} s\n{out}\n{err}") from None
        return process.returncode, out, err

    def run(
        self, scenario: str, mode: str | None = "sw_emu", fault: str = "", timeout: float = 60.0,
        **arguments: Any,
    ) -> Any:  # fmt: skip
        """Run a function of scenarios.py and return what it returned."""
        process = self.start(
            sys.executable, HERE / "scenarios.py", scenario, json.dumps(arguments, default=str),
            mode=mode, fault=fault,
        )  # fmt: skip
        code, out, err = self.finish(process, timeout)
        assert code == 0, f"{out}\n{err}"
        return json.loads(out.splitlines()[-1])

    def cli(self, *arguments: object, mode: str | None = "sw_emu", fault: str = ""):
        """Run `bci-lfads`; return exit code, output and errors."""
        return self.finish(
            self.start(sys.executable, "-m", "bci_lfads", *arguments, mode=mode, fault=fault)
        )


def make_home() -> Path:
    """Build the binding and the kernel, once for each state of their sources.

    Raises
    ------
    Unavailable
        Naming what is not on this machine.
    """
    if not (LIBRARIES / SWEMU).is_file() or not Path("/usr/include/xrt").is_dir():
        raise Unavailable(
            f"no {SWEMU} with headers here; apt install libxrt1 libxrt-dev libxrt-utils uuid-dev"
        )
    if importlib.util.find_spec("nanobind") is None or shutil.which("g++") is None:
        raise Unavailable("the binding to the runtime needs nanobind and g++: pip install '.[dev]'")
    state = hashlib.sha256(sys.version.encode())
    for path in [kernel_library(), HERE / "pyxrt.cpp", HERE / "device_model.py", Path(__file__)]:
        state.update(path.read_bytes())
    home = ROOT / "build" / f"xrt-{state.hexdigest()[:16]}"
    if not home.is_dir():
        home.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix="xrt-making-") as making:
            made = Path(making) / "home"
            _build(made)
            try:
                made.rename(home)
            except OSError:  # another run was faster
                assert home.is_dir()
    return home


def _build(home: Path) -> None:
    for folder in ("binding", "xrt/lib", f"vitis/{Path(MODEL).parent}"):
        (home / folder).mkdir(parents=True)
    _libraries(home / "xrt" / "lib")
    program = home / "vitis" / MODEL
    shutil.copy(HERE / "device_model.py", home)
    program.write_text(
        "#!/bin/sh\n"
        f'exec "{sys.executable}" -S -E "$XILINX_VITIS/../device_model.py" '
        '2>>"$SDACCEL_EM_RUN_DIR/device.log"\n'
    )
    program.chmod(0o755)
    banks = [{"Size": "256MB"}] * (N_BANKS + 1)
    board = {"Devices": [{"Name": PLATFORM, "DdrBanks": banks}]}
    (home / "emconfig.json").write_text(
        json.dumps({"Version": {"FileVersion": "2.0"}, "Platform": {"Boards": [board]}})
    )
    nanobind = Path(importlib.util.find_spec("nanobind").origin).parent
    compile_ = ["g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-w"]
    subprocess.run(
        [
            *compile_, "-fvisibility=hidden", "-fno-strict-aliasing", "-DNDEBUG",
            "-DNB_COMPACT_ASSERTIONS", f"-I{nanobind}/include",
            f"-I{nanobind}/ext/robin_map/include", "-I/usr/include/xrt",
            f"-I{sysconfig.get_path('include')}", HERE / "pyxrt.cpp",
            nanobind / "src" / "nb_combined.cpp", "-lxrt_coreutil", "-luuid",
            "-o", home / "binding" / "pyxrt.so",
        ],
        check=True,
    )  # fmt: skip
    shutil.copy(kernel_library(), home / "kernel.so")


def _libraries(folder: Path) -> None:
    """Link the runtime's libraries; the emulation's own is a repaired copy."""
    for library in (*LIBRARIES.glob("libxrt*.so*"), *LIBRARIES.glob("libxdp*.so*")):
        if "swemu" not in library.name:
            (folder / library.name).symlink_to(library)
    content = bytearray((LIBRARIES / SWEMU).read_bytes())
    if content[REPAIR_AT] != BROKEN:
        raise Unavailable(f"{SWEMU} is not the build of Debian 12 whose fault this repairs")
    content[REPAIR_AT] = REPAIRED
    (folder / SWEMU).write_bytes(content)
    (folder / "libxrt_swemu.so.2").symlink_to(SWEMU)


def clear(emulation: Emulation) -> None:
    """Remove the runtime's sockets."""
    shutil.rmtree(Path("/tmp") / emulation.user, ignore_errors=True)
