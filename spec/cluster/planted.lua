--- What is planted into a node (csrc/cluster, behind PLANTED(n)), and which rules of the server are taken away:
--- the worlds must show each of them.
local RULES = { "runid", "replid", "known", "fence", "carry" }

return {
  -- { number, the first seed that shows it, what is broken }
  { 601, 1, "a connection to another process passes for the same one" },
  { 604, 2, "what was on its way when a connection broke is sent again at once" },
  { 605, 3, "a hole in the numbers is not seen" },
  { 607, 72, "an id that this node has not read yet is taken for one of the future" },
  { 608, 2, "what is loaded is shown before the node has read so far" },
  { 609, 14, "in a new epoch a node goes on where it was" },
  { 610, 958, "an epoch that this node does not know is taken for a lost one without asking" },
  { 611, 35, "what a node has read and the server has lost leaves no mark" },
  { 613, 3, "what may be among passed entries is taken for never stored" },
  { 614, 287, "the entry of an epoch hides the hole before it" },
  { 617, 1, "what a load holds is added to it once more" },
  { 618, 151, "entries of a channel that is being loaded are dropped" },
  { 619, 4, "behind a hole each channel is shown when it is loaded" },
  rules = { runid = 19, replid = 226, fence = 116, carry = 355 },
  obvious = { plant = 600, without = RULES },
}
