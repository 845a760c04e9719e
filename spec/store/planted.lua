--- The planted bugs of csrc/store (base/planted.h), by number: each breaks one rule, and a drawn run
--- of spec/store/world.lua (for 211, the damage in hunt.lua) must find it.
return {
  [201] = "an idempotency key is not judged in the transaction",
  [202] = "an update is stored although its key is gone",
  [203] = "a channel that becomes durable does not raise its floor",
  [204] = "a channel that becomes durable loses its newest values",
  [205] = "retention does not raise the floor",
  [206] = "retention takes newest values with it",
  [207] = "what a comparison finds is not written again",
  [208] = "a commit that fails counts as not stored",
  [209] = "a group does not write its last number",
  [210] = "the head of memory events is not written",
  [211] = "a damaged row is served",
  [212] = "a page is read beyond the released head",
  [213] = "a page does not know the floor",
  [214] = "a start does not write again what it finds",
  [215] = "a start does not leave numbers out",
  [216] = "one that waits for a key in flight is refused",
  [217] = "a channel that is not durable any more keeps its floor",
  [218] = "a commit that fails counts as stored",
  [219] = "a commit that takes too long is dropped",
  [220] = "a conversion shares a group",
}
