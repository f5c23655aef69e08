// What stands between the sums of a product and the next state, for one unit.
//
// `stage` says which registers take a value; the sequencer in gru_step.sv goes through the stages.
module unit (
    input logic clock,
    input logic [71:0] settings,  // a settings_t, and what follows from it:
    input logic [63:0] gate_mask,
    input logic [63:0] gate_far,
    input logic [63:0] candidate_mask,
    input logic [63:0] candidate_far,
    input logic [63:0] state_mask,
    input logic [30:0] state_half,
    input logic [3:0] stage,      // a stage_t
    input logic last_tree,
    input logic last_look,
    input logic [1:0] lift_pass,
    input logic load,
    input logic [15:0] initial_state,
    input logic [63:0] a_z,  // input parts, aligned, with half of the last place
    input logic [63:0] a_r,
    input logic [63:0] a_n,
    input logic exact_z,
    input logic exact_r,
    input logic exact_n,
    input logic [47:0] sum_z,
    input logic [47:0] sum_r,
    input logic [47:0] sum_n,
    output logic [15:0] h,
    output logic [15:0] next_h,
    output logic [15:0] reset_h
);
  `include "witness.svh"

  /*verilator hier_block*/
  settings_t s;
  assign s = settings;

  localparam logic signed [19:0] LOW = -20'sd32768;
  localparam logic signed [19:0] HIGH = 20'sd32767;

  logic signed [47:0] c_z, c_r, c_n;
  logic signed [63:0] u_z, u_r, u_n;   // arguments, at the product's point
  logic signed [19:0] t_first, t_second;  // of the table: z and r, then n
  logic signed [17:0] z, r, rest;
  logic signed [15:0] n;
  logic signed [42:0] reset_low, reset_high;
  logic signed [33:0] product_h, product_n;
  logic signed [48:0] kept, blend;

  logic signed [19:0] tanh_first, tanh_second;
  table_look first (
      .clock,
      .t(t_first),
      .y(tanh_first)
  );
  table_look second (
      .clock,
      .t(t_second),
      .y(tanh_second)
  );

  logic signed [24:0] reset_operand;
  assign reset_operand = s.reset_before ? 25'($signed(h)) : {1'b0, c_n[23:0]};
  assign reset_h = 16'(dropped(64'(reset_low) + 64'sd32768, 6'd16, 64'hFFFF, 1'b1));

  logic signed [19:0] down_z, down_r, down_n;
  assign down_z = argument(u_z, s.gate_drop, gate_mask, gate_far, exact_z);
  assign down_r = argument(u_r, s.gate_drop, gate_mask, gate_far, exact_r);
  assign down_n = argument(u_n, s.candidate_drop, candidate_mask, candidate_far, exact_n);

  // One for the three, of a stage that few models pass through.
  logic signed [47:0] lift_c;
  logic signed [63:0] lift_a, lifted;
  assign lift_c = lift_pass == 2'd0 ? c_z : lift_pass == 2'd1 ? c_r : c_n;
  assign lift_a = lift_pass == 2'd0 ? a_z : lift_pass == 2'd1 ? a_r : a_n;
  assign lifted = (64'(lift_c) <<< (lift_pass == 2'd2 ? s.candidate_lift : s.gate_lift)) + lift_a;
  assign next_h = 16'(clamped(dropped(64'(blend), s.state_drop, state_mask, 1'b1), 20'(s.low), 20'(s.high)));

  always_ff @(posedge clock) begin
    // Off the chain: there before BLEND_SUM asks for it.
    rest <= 18'sd65536 - z;
    product_h <= z * $signed(h);
    kept <= (49'(product_h) <<< s.state_left) + 49'(state_half);
    case (stage)
      TREE:
      if (last_tree) begin
        {c_z, c_r, c_n} <= {sum_z, sum_r, sum_n};
        u_z <= 64'($signed(sum_z)) + a_z;
        u_r <= 64'($signed(sum_r)) + a_r;
        u_n <= 64'($signed(sum_n)) + a_n;
      end
      LIFT:
      case (lift_pass)
        2'd0: u_z <= lifted;
        2'd1: u_r <= lifted;
        default: u_n <= lifted;
      endcase
      ROUND: begin
        t_first <= down_z;
        t_second <= down_r;
        z <= as_gate(clamped(down_z, LOW, HIGH));
        r <= as_gate(clamped(down_r, LOW, HIGH));
      end
      LOOK:
      if (last_look) begin
        z <= as_gate(clamped(tanh_first, LOW, HIGH));
        r <= as_gate(clamped(tanh_second, LOW, HIGH));
      end
      RESET: begin
        reset_low  <= r * reset_operand;
        reset_high <= r * $signed(c_n[47:24]);
      end
      RESET_SUM: u_n <= 64'(reset_low) + (64'(reset_high) <<< 24) + a_n;
      ROUND_N: begin
        t_first <= down_n;
        n <= 16'(clamped(down_n, LOW, HIGH));
      end
      LOOK_N: if (last_look) n <= 16'(clamped(tanh_first, LOW, HIGH));
      BLEND: product_n <= rest * n;
      BLEND_SUM: blend <= 49'(product_n) + kept;
      STATE: h <= next_h;
      default: ;
    endcase
    if (load) h <= initial_state;
  end
endmodule
