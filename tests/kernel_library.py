"""The card's kernel compiled for this machine, as a shared library that tests call."""

import hashlib
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FPGA = ROOT / "fpga"
BUILD = ("g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-w", "-DLFADS_ONE_TARGET")


def sources() -> list[Path]:
    """Return the files that the library depends on."""
    return sorted([*FPGA.glob("src/*.cpp"), *FPGA.glob("include/*.h")])


def kernel_library() -> Path:
    """Return the library's path; it is built once for each state of the sources."""
    state = hashlib.sha256(repr(BUILD).encode())
    for path in sources():
        state.update(path.read_bytes())
    library = ROOT / "build" / f"kernel-{state.hexdigest()[:16]}.so"
    if not library.is_file():
        library.parent.mkdir(exist_ok=True)
        making = library.with_suffix(f".{os.getpid()}")
        files = [path for path in sources() if path.suffix == ".cpp"]
        subprocess.run([*BUILD, f"-I{FPGA / 'include'}", *files, "-o", making], check=True)
        making.replace(library)
    return library
