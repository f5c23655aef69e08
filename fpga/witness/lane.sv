// One multiplier: the weights of its columns, a product a cycle, and the sum of its own columns.
module lane #(
    parameter int REUSE = 8,
    parameter int BITS  = 3  // of a column's index
) (
    input logic clock,
    input logic write,
    input logic [BITS-1:0] write_index,
    input logic signed [15:0] write_weight,
    input logic [BITS-1:0] index,
    input logic signed [15:0] x,
    input logic first,
    input logic add,
    input logic signed [47:0] start,  // what the sum begins with
    output logic signed [47:0] sum
);
  logic signed [15:0] weights[REUSE];
  logic signed [15:0] weight, operand;
  logic signed [31:0] product;
  always_ff @(posedge clock) begin
    if (write) weights[write_index] <= write_weight;
    weight  <= weights[index];
    operand <= x;
    product <= weight * operand;
    if (add) sum <= (first ? start : sum) + 48'(product);
  end
endmodule
