// tanh with point 15 from an argument with point 16: docs/arithmetic.md, "Activations".
//
// Five registers; the sixth is the one that takes y. The table itself is written by
// fpga/tools/write_witness.py from the one that the kernel has.
module table_look (
    input logic clock,
    input logic signed [19:0] t,
    output logic signed [19:0] y
);
  logic [19:0] magnitude;
  assign magnitude = t[19] ? -t : t;

  `include "tanh_table.svh"

  logic [4:0] negative;
  logic signed [13:0] d, d2, d3;
  logic signed [21:0] c0, c0_2, c0_3, c0_4, c1, c1_2;
  logic signed [15:0] c2;
  logic signed [31:0] square;
  logic signed [21:0] inner;
  logic signed [35:0] rise;
  logic signed [22:0] sum;
  always_ff @(posedge clock) begin
    negative <= {negative[3:0], t[19]};
    d <= {1'b0, magnitude[12:0]};
    c0 <= tanh_c0(magnitude[18:13]);
    c1 <= tanh_c1(magnitude[18:13]);
    c2 <= 16'(tanh_c2(magnitude[18:13]));

    square <= d * c2;
    {d2, c0_2, c1_2} <= {d, c0, c1};

    inner <= c1_2 + 22'(square >>> 11);
    {d3, c0_3} <= {d2, c0_2};

    rise <= d3 * inner;
    c0_4 <= c0_3;

    sum <= 23'(c0_4) + 23'(rise >>> 16);
  end

  // To 0..1, then to point 15.
  logic [20:0] whole;
  logic [16:0] rounded;
  always_comb begin
    if (sum < 0) whole = 21'd0;
    else if (sum > 23'sd1048576) whole = 21'd1048576;
    else whole = sum[20:0];
    rounded = 17'((22'(whole) + 22'd15 + 22'(whole[5])) >> 5);
    y = negative[4] ? 20'd0 - 20'(rounded) : 20'(rounded);
  end
endmodule
