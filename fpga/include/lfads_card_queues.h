// Where the queues of a trial lie: included in the body that declares them, after them. Deep
// enough that a bin in which many fire is made up for by others before the recurrence waits.
#pragma HLS stream variable = forward_parts.z depth = 2
#pragma HLS stream variable = forward_parts.r depth = 2
#pragma HLS stream variable = forward_parts.n depth = 2
#pragma HLS stream variable = backward_parts.z depth = 2
#pragma HLS stream variable = backward_parts.r depth = 2
#pragma HLS stream variable = backward_parts.n depth = 2
#pragma HLS stream variable = forward_inputs.z depth = 16
#pragma HLS stream variable = forward_inputs.r depth = 16
#pragma HLS stream variable = forward_inputs.n depth = 16
#pragma HLS stream variable = forward_exact depth = 16
#pragma HLS stream variable = backward_inputs.z depth = 16
#pragma HLS stream variable = backward_inputs.r depth = 16
#pragma HLS stream variable = backward_inputs.n depth = 16
#pragma HLS stream variable = backward_exact depth = 16
#pragma HLS stream variable = states depth = 4
#pragma HLS stream variable = factor_values depth = 4
