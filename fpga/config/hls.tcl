# The kernel in Vitis HLS. `make csynth`, `cosim` and `xo` run it with all that it needs in the
# environment: `vitis_hls -f` and `vitis-run --mode hls --tcl` give a script arguments each in its
# own way.
proc setting {name} {
    if {![info exists ::env($name)]} {
        error "$name is not set; run this by `make -C fpga csynth`, `cosim` or `xo`"
    }
    return $::env($name)
}

# Elements of each port that co-simulation copies: as many as the test bench has (cosim_buffers.h).
set ports {
    image image 131072
    counts counts 8192
    factors factors 4096
    log_rates rates 32768
    answer factors 1
    mailbox host 1024
}

set action [setting LFADS_ACTION]
if {$action ni {csynth cosim xo}} {
    error "LFADS_ACTION is '$action'; it should be csynth, cosim or xo"
}
set fpga [setting LFADS_FPGA]
set flags "-std=c++17 -I$fpga/include [setting LFADS_DEFINES]"
if {$action eq "cosim"} {
    append flags " -DLFADS_COSIM"
}

open_project -reset lfads_$action
set_top lfads_kernel
foreach source [setting LFADS_KERNEL] {
    add_files $fpga/$source -cflags $flags
}
add_files -tb $fpga/testbench/lfads_tb.cpp -cflags "$flags -I$fpga/testbench"
open_solution -reset -flow_target vitis solution
set_part [setting LFADS_PART]
create_clock -period [format %.3f [expr {1000.0 / [setting LFADS_CLOCK]}]]
if {$action eq "cosim"} {
    foreach {port bundle depth} $ports {
        set_directive_interface -mode m_axi -offset slave -bundle $bundle -depth $depth \
            lfads_kernel $port
    }
}
csynth_design
if {$action eq "cosim"} {
    cosim_design -rtl verilog -argv [setting LFADS_VECTORS]
}
if {$action eq "xo"} {
    export_design -format xo -output [setting LFADS_XO]
}
exit
