# Builds that need AMD Vitis 2022.2 or newer and, for xclbin and hw_emu, the card's platform.
# Written by the manuals (UG1399, UG1393); not run in Vitis, nor on hardware.
CARD ?= u55c
include config/$(CARD).mk
VPP ?= v++
# Newer releases start HLS scripts by vitis-run.
HLS ?= $(if $(shell command -v vitis-run 2>/dev/null),vitis-run --mode hls --tcl,vitis_hls -f)
VITIS := $(abspath $(BUILD))/vitis
XO := $(VITIS)/lfads_kernel.xo
# Few vectors: simulated registers take minutes each.
COSIM_MODELS ?= 2

.PHONY: csynth cosim xo xclbin hw_emu report

export LFADS_FPGA := $(CURDIR)
export LFADS_KERNEL := $(KERNEL)
export LFADS_DEFINES := $(DEFINES)
export LFADS_PART := $(PART)
export LFADS_CLOCK := $(CLOCK)
export LFADS_XO := $(XO)

# $(call hls,ACTION)
hls = mkdir -p $(VITIS) && cd $(VITIS) && LFADS_ACTION=$(1) \
	LFADS_VECTORS="$$(echo $(VITIS)/vectors/*.bin)" $(HLS) $(CURDIR)/config/hls.tcl

csynth: # synthesis: cycles and area as HLS sees them
	$(call hls,csynth)
	$(PYTHON) tools/vitis_report.py $(VITIS)

cosim: # the registers that HLS makes, simulated against the same vectors as `csim`
	$(PYTHON) tools/write_vectors.py $(VITIS)/vectors --models $(COSIM_MODELS) --seed $(SEED)
	$(call hls,cosim)

xo: $(XO)
$(XO): $(KERNEL) $(HEADERS) config/hls.tcl config/$(CARD).mk
	$(call hls,xo)

# $(call link,TARGET)
link = mkdir -p $(VITIS)/$(1) && cd $(VITIS)/$(1) && $(VPP) --link --target $(1) \
	--platform $(PLATFORM) --config $(CURDIR)/config/$(CARD).cfg --kernel_frequency $(CLOCK) \
	--save-temps --report_level 2 --output lfads.xclbin $(XO)

xclbin: $(XO) # for the card; takes hours
	$(call link,hw)
	$(PYTHON) tools/vitis_report.py $(VITIS)

hw_emu: $(XO) # for emulation of the hardware: XCL_EMULATION_MODE=hw_emu bci-lfads fpga selftest
	$(call link,hw_emu)
	cd $(VITIS)/hw_emu && emconfigutil --platform $(PLATFORM) --nd 1

report: # what the builds that were made say of cycles, area and timing
	$(PYTHON) tools/vitis_report.py $(VITIS)
