// Where a `static Card card` lies on the chip: included in the body of a top function, after it.
//
// A multiplier reads its own memory: rows and lanes apart, one after the other only what one
// multiplier uses in turn. Depth is reuse times slots times banks, which suits LUTRAM.
#pragma HLS array_partition variable = card.cell0.weight dim = 2 complete
#pragma HLS array_partition variable = card.cell0.weight dim = 3 complete
#pragma HLS array_partition variable = card.cell1.weight dim = 2 complete
#pragma HLS array_partition variable = card.cell1.weight dim = 3 complete
#pragma HLS bind_storage variable = card.cell0.weight type = ram_1p impl = lutram
#pragma HLS bind_storage variable = card.cell1.weight type = ram_1p impl = lutram
#pragma HLS array_partition variable = card.cell0.bias dim = 2 complete
#pragma HLS array_partition variable = card.cell1.bias dim = 2 complete
// All gates of a unit that fired come in one word, 72 bits of it from each memory of two ports.
#pragma HLS array_partition variable = card.forward.weight dim = 1 complete
#pragma HLS array_partition variable = card.backward.weight dim = 1 complete
#pragma HLS array_reshape variable = card.forward.weight dim = 3 complete
#pragma HLS array_reshape variable = card.backward.weight dim = 3 complete
#pragma HLS bind_storage variable = card.forward.weight type = ram_s2p impl = bram
#pragma HLS bind_storage variable = card.backward.weight type = ram_s2p impl = bram
#pragma HLS array_partition variable = card.forward.bias dim = 2 complete
#pragma HLS array_partition variable = card.backward.bias dim = 2 complete
#pragma HLS array_partition variable = card.initial_state dim = 3 complete
#pragma HLS array_partition variable = card.initial_state dim = 1 complete
#pragma HLS disaggregate variable = card.generator_input
#pragma HLS array_partition variable = card.generator_input dim = 1 complete
// A factor, or a block of log-rates, a cycle.
#pragma HLS array_reshape variable = card.factors_weight dim = 2 complete
#pragma HLS array_reshape variable = card.rates_weight dim = 2 complete
#pragma HLS array_reshape variable = card.rates_weight dim = 3 complete
#pragma HLS array_reshape variable = card.rates_bias dim = 2 complete
// The flat copy that lanes are filled from is off every path.
#pragma HLS bind_storage variable = card.staging.forward.input_weight type = ram_1p impl = uram
#pragma HLS bind_storage variable = card.staging.backward.input_weight type = ram_1p impl = uram
#pragma HLS bind_storage variable = card.window type = ram_t2p impl = uram
