// What a step goes through, and what it is made with: included in the body of a module, for not
// every tool reads packages.
  // One cycle each, but COLUMN (REUSE cycles), TREE and LOOK (as many as there are registers).
  typedef enum logic [3:0] {
    IDLE,
    SHORTEN,   // states to 8 bits, where products take those
    COLUMN,    // columns into the multipliers' registers
    MULTIPLY,  // the last column's product
    SUM,       // and its sum
    TREE,      // over the lanes of a row, and the input part
    LIFT,      // products with fewer bits after the point than the activation, a gate a cycle
    ROUND,     // to the point of z and r
    LOOK,      // in the table, where activations are smooth
    RESET,     // r times c_n; r times h in the reset-before form
    RESET_SUM, // of the halves of that product and the input part of n
    ROUND_N,
    LOOK_N,
    BLEND,     // (1 - z) times n
    BLEND_SUM, // and z times h, which is there by then
    STATE      // rounds and writes it
  } stage_t;

  typedef struct packed {
    logic reset_before;
    logic smooth;
    logic bytes;
    logic lifts;
    logic [3:0] byte_drop;
    logic [4:0] gate_lift;
    logic [4:0] candidate_lift;
    logic [5:0] gate_drop;
    logic [5:0] candidate_drop;
    logic [3:0] state_left;
    logic [5:0] state_drop;
    logic signed [15:0] low;
    logic signed [15:0] high;
  } settings_t;

  // v / 2^drop to nearest, ties to even, of a sum that has half of the last place in it already:
  // one shift, and beside it a look at the bits that it drops, which `mask` has. The low 20 bits.
  function automatic logic signed [19:0] dropped(input logic signed [63:0] v,
                                                 input logic [5:0] drop, input logic [63:0] mask,
                                                 input logic whole);
    logic tie;
    logic signed [63:0] down;
    down = v >>> drop;
    tie = whole && (v & mask) == 64'd0;
    dropped = {down[19:1], down[0] && !tie};
  endfunction

  // The same of an activation's argument; beyond 20 bits, which `far` has, the limit.
  function automatic logic signed [19:0] argument(
      input logic signed [63:0] v, input logic [5:0] drop, input logic [63:0] mask,
      input logic [63:0] far, input logic whole);
    if (((v ^ {64{v[63]}}) & far) != 64'd0) argument = v[63] ? -20'sd524287 : 20'sd524287;
    else argument = dropped(v, drop, mask, whole);
  endfunction

  function automatic logic signed [19:0] clamped(input logic signed [19:0] v,
                                                 input logic signed [19:0] low,
                                                 input logic signed [19:0] high);
    if (v > high) clamped = high;
    else if (v < low) clamped = low;
    else clamped = v;
  endfunction

  // z or r, 0 to 65535, from -32768 to 32767.
  function automatic logic signed [17:0] as_gate(input logic signed [19:0] t);
    as_gate = {2'b00, ~t[15], t[14:0]};
  endfunction
