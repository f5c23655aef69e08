# The card and its build. Another card is another file of this kind: make -C fpga xclbin CARD=name.
PART := xcu55c-fsvh2892-2L-e
PLATFORM ?= xilinx_u55c_gen3x16_xdma_3_202210_1
# Of the kernel's clock, MHz.
CLOCK ?= 300
