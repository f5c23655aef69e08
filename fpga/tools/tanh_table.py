"""Write fpga/include/lfads_tanh_table.h. Run from anywhere: python fpga/tools/tanh_table.py."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bci_lfads.models.tanh_table import header  # noqa: E402

(ROOT / "fpga" / "include" / "lfads_tanh_table.h").write_text(header())
