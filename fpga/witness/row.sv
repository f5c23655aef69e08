// One row of a product: its lanes, and the tree over them, with two levels of adders between two
// registers. After an odd last level there is none: the input part is added in the same cycle.
module row #(
    parameter int LANES = 8,
    parameter int REUSE = 8,
    parameter int BITS = 3
) (
    input logic clock,
    input logic write,
    input logic [BITS-1:0] write_index,
    input logic [16*LANES-1:0] write_weights,  // a column of each lane's
    input logic [BITS-1:0] index,
    input logic [16*LANES-1:0] x,
    input logic first,
    input logic add,
    input logic write_bias,
    input logic [47:0] new_bias,
    output logic [47:0] sum
);
  /*verilator hier_block*/  // compiled once, not once for each row
  logic signed [47:0] bias;
  always_ff @(posedge clock) if (write_bias) bias <= new_bias;

  localparam int LEVELS = $clog2(LANES);
  for (genvar l = 0; l <= LEVELS; l = l + 1) begin : g_level
    localparam int BELOW = (LANES + (1 << l) / 2 - 1) >> (l > 0 ? l - 1 : 0);  // nodes a level down
    localparam int NODES = (LANES + (1 << l) - 1) >> l;
    for (genvar i = 0; i < NODES; i = i + 1) begin : g_node
      logic signed [47:0] value;
      if (l == 0) begin : g_lane
        lane #(
            .REUSE(REUSE),
            .BITS (BITS)
        ) one (
            .clock,
            .write,
            .write_index,
            .write_weight(write_weights[16*i+:16]),
            .index,
            .x(x[16*i+:16]),
            .first,
            .add,
            .start(i == 0 ? bias : 48'sd0),
            .sum(value)
        );
      end else begin : g_sum
        logic signed [47:0] both;
        if (2 * i + 1 < BELOW) begin : g_two
          assign both = g_level[l-1].g_node[2*i].value + g_level[l-1].g_node[2*i+1].value;
        end else begin : g_one
          assign both = g_level[l-1].g_node[2*i].value;
        end
        if (l % 2 == 0) begin : g_register
          always_ff @(posedge clock) value <= both;
        end else begin : g_wire
          assign value = both;
        end
      end
    end
  end
  assign sum = g_level[LEVELS].g_node[0].value;
endmodule
