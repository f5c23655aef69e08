// A witness for the time of one recurrence: the chain of fpga/include/lfads_cell.h in registers.
//
// Not the kernel, which Vitis HLS makes from fpga/src: this shows that its chain can be cut into
// the stages that the cycle model counts, and that the integers are then still those of
// docs/arithmetic.md. Sizes are macros
// (Verilator cannot set parameters of what it compiles in parts); forms, activations and points are chosen at run time.
`ifndef SIZE
`define SIZE 64
`endif
`ifndef REUSE
`define REUSE 8
`endif
module gru_step #(
    parameter int SIZE  = `SIZE,
    parameter int REUSE = `REUSE
) (
    input logic clock,
    input logic reset,
    input logic [71:0] settings,  // a settings_t
    input logic write_weight,
    input logic write_bias,
    input logic [15:0] write_row,
    input logic [15:0] write_index,
    input logic [16*((SIZE+REUSE-1)/REUSE)-1:0] write_weights,  // a column of each lane's
    input logic [47:0] write_value,
    input logic load,  // the initial state
    input logic [16*SIZE-1:0] initial_state,
    input logic run,  // step after step while it is high
    input logic [64*3*SIZE-1:0] a,  // of the step that runs: rows z, r, n
    input logic [3*SIZE-1:0] exact,
    output logic done,  // in the cycle after a step's last
    output logic [16*SIZE-1:0] h
);
  `include "witness.svh"

  localparam int LANES = (SIZE + REUSE - 1) / REUSE;
  localparam int BITS = REUSE > 1 ? $clog2(REUSE) : 1;
  localparam int TREE_CYCLES = ($clog2(LANES) + 2) / 2;  // the input part is one level more
  localparam int LOOK_CYCLES = 6;

  settings_t s;
  assign s = settings;

  // The same for all units.
  logic [63:0] gate_mask, gate_far, candidate_mask, candidate_far, state_mask, byte_mask;
  logic [30:0] state_half;
  always_ff @(posedge clock) begin
    gate_mask <= ~(-64'sd1 <<< s.gate_drop);
    gate_far <= -64'sd1 <<< (7'(s.gate_drop) + 7'd19);
    candidate_far <= -64'sd1 <<< (7'(s.candidate_drop) + 7'd19);
    candidate_mask <= ~(-64'sd1 <<< s.candidate_drop);
    state_mask <= ~(-64'sd1 <<< s.state_drop);
    state_half <= 31'd1 << (s.state_drop - 6'd1);
    byte_mask <= ~(-64'sd1 <<< s.byte_drop);
  end

  stage_t stage;
  logic [4:0] count;  // within a stage of several cycles
  logic second;       // pass over the multipliers, in the reset-before form

  logic last_column, last_tree, last_look;
  assign last_column = count == 5'(REUSE - 1);
  assign last_tree = count == 5'(TREE_CYCLES - 1);
  assign last_look = count == 5'(LOOK_CYCLES - 1);

  stage_t product, sums_done;
  assign product = s.bytes ? SHORTEN : COLUMN;
  assign sums_done = second ? ROUND_N : ROUND;

  always_ff @(posedge clock) begin
    count <= 0;
    done <= stage == STATE && !reset;
    if (reset) begin
      stage  <= IDLE;
      second <= 0;
    end else begin
      case (stage)
        IDLE: if (run) stage <= product;
        SHORTEN: stage <= COLUMN;
        COLUMN:
        if (last_column) stage <= MULTIPLY;
        else count <= count + 1;
        MULTIPLY: stage <= SUM;
        SUM: stage <= TREE;
        TREE:
        if (last_tree) stage <= s.lifts ? LIFT : sums_done;
        else count <= count + 1;
        LIFT:
        if (count == 2) stage <= sums_done;
        else count <= count + 1;
        ROUND: stage <= s.smooth ? LOOK : RESET;
        LOOK:
        if (last_look) stage <= RESET;
        else count <= count + 1;
        RESET: stage <= RESET_SUM;
        RESET_SUM: begin
          second <= s.reset_before;
          stage  <= s.reset_before ? product : ROUND_N;
        end
        ROUND_N: stage <= s.smooth ? LOOK_N : BLEND;
        LOOK_N:
        if (last_look) stage <= BLEND;
        else count <= count + 1;
        BLEND: stage <= BLEND_SUM;
        BLEND_SUM: stage <= STATE;
        STATE: begin
          second <= 0;
          stage  <= run ? product : IDLE;
        end
        default: stage <= IDLE;
      endcase
    end
  end

  // What enters the products comes to the multipliers by shifting: lane i takes columns i * REUSE
  // to i * REUSE + REUSE - 1, one a cycle, always from the same registers.
  logic [16*SIZE-1:0] queue, shorter, next_h, reset_h;
  logic [16*LANES-1:0] operands;
  for (genvar j = 0; j < SIZE; j = j + 1) begin : g_shorter
    logic signed [63:0] sum;
    assign sum = 64'($signed(queue[16*j+:16])) + (64'sd1 <<< (s.byte_drop - 4'd1));
    assign shorter[16*j+:16] =
        16'(clamped(dropped(sum, 6'(s.byte_drop), byte_mask, 1'b1), -20'sd128, 20'sd127));
  end
  for (genvar i = 0; i < LANES; i = i + 1) begin : g_operand
    assign operands[16*i+:16] = queue[16*i*REUSE+:16];
  end
  always_ff @(posedge clock) begin
    if (load) queue <= initial_state;
    else
      case (stage)
        SHORTEN: queue <= shorter;
        COLUMN: queue <= queue >> 16;
        RESET_SUM: queue <= reset_h;
        STATE: queue <= next_h;
        default: ;
      endcase
  end

  // The multipliers' registers are two cycles behind the column that is issued.
  logic issued, multiplied, first_issued, first_multiplied;
  always_ff @(posedge clock) begin
    issued <= stage == COLUMN;
    multiplied <= issued;
    first_issued <= count == 0;
    first_multiplied <= first_issued;
  end

  for (genvar i = 0; i < 3 * SIZE; i = i + 1) begin : g_row
    logic signed [47:0] c;
    row #(
        .LANES(LANES),
        .REUSE(REUSE),
        .BITS (BITS)
    ) one (
        .clock,
        .write(write_weight && write_row == 16'(i)),
        .write_index(write_index[BITS-1:0]),
        .write_weights,
        .index(count[BITS-1:0]),
        .x(operands),
        .first(first_multiplied),
        .add(multiplied),
        .write_bias(write_bias && write_row == 16'(i)),
        .new_bias(write_value),
        .sum(c)
    );
  end

  for (genvar j = 0; j < SIZE; j = j + 1) begin : g_unit
    unit one (
        .clock,
        .settings,
        .gate_mask,
        .gate_far,
        .candidate_mask,
        .candidate_far,
        .state_mask,
        .state_half,
        .stage,
        .last_tree,
        .last_look,
        .lift_pass(count[1:0]),
        .load,
        .initial_state(initial_state[16*j+:16]),
        .a_z(a[64*j+:64]),
        .a_r(a[64*(SIZE+j)+:64]),
        .a_n(a[64*(2*SIZE+j)+:64]),
        .exact_z(exact[j]),
        .exact_r(exact[SIZE+j]),
        .exact_n(exact[2*SIZE+j]),
        .sum_z(g_row[j].c),
        .sum_r(g_row[SIZE+j].c),
        .sum_n(g_row[2*SIZE+j].c),
        .h(h[16*j+:16]),
        .next_h(next_h[16*j+:16]),
        .reset_h(reset_h[16*j+:16])
    );
  end
endmodule
