"""What is told of the machine."""

from bci_lfads.host import limits


def test_a_machine_that_saves_power_and_swaps_is_told(tmp_path):
    governor = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor.parent.mkdir(parents=True)
    governor.write_text("powersave\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").write_text("Filename Type Size\n/swapfile file 8388604\n")
    told = {what: (well, text) for what, well, text in limits(tmp_path / "sys", tmp_path / "proc")}
    assert not told["clock rate"][0]
    assert "powersave" in told["clock rate"][1]
    assert not told["swap"][0]


def test_what_the_kernel_does_not_tell_is_left_out(tmp_path):
    told = {what: well for what, well, _ in limits(tmp_path, tmp_path)}
    assert "clock rate" not in told
    assert told["swap"]
