--- What is planted into a node (csrc/cluster, behind PLANTED(n)) and its streams (csrc/fan/shared.c), and which rules
--- of the server are taken away: the worlds must show each of them.
local RULES = { "runid", "replid", "known", "fence", "carry", "promoted" }

return {
  -- { number, the first seed that shows it, what is broken }
  { 604, 2, "what was on its way when a connection broke is sent again at once" },
  { 605, 6, "a hole in the numbers is not seen" },
  { 607, 75, "an id that this node has not read yet is taken for one of the future" },
  { 608, 1, "what is loaded is shown before the node has read so far" },
  { 609, 67, "in a new epoch a node goes on where it was" },
  { 610, 445, "an epoch that this node does not know is taken for a lost one without asking" },
  { 611, 46, "what a node has read and the server has lost leaves no mark" },
  { 613, 3, "what may be among passed entries is taken for never stored" },
  { 614, 647, "the entry of an epoch hides the hole before it" },
  { 617, 1, "what a load holds is added to it once more" },
  { 618, 5, "entries of a channel that is being loaded are dropped" },
  { 619, 6, "behind a hole each channel is shown when it is loaded" },
  { 620, 1444, "what was asked for before a hole passes for what is asked for behind it" },
  { 621, 6, "what is lost on a server itself is told as if another one had taken over" },
  { 622, 2, "what was known before an epoch began is told as if it was later" },
  streams = {
    { 633, 1, "channels are filled one by one" },
    { 635, 104, "a client that comes back below a mark is not told" },
    { 636, 493, "the end of an epoch is told behind what is sent again" },
    { 637, 28, "an older value that is the newest again is not sent" },
    { 638, 2054, "a mark that comes with a fill is not told to who follows its log" },
    { 639, 6, "a value that is lost stays with its readers" },
    { 642, 27, "readers that were told of an epoch are told again by their node's own mark" },
    { 643, 69, "readers that were told of an epoch are told no more of what others have lost" },
  },
  long = {
    { 680, 1, "what is left to pages of a load passes for gone" },
    { 681, 17, "pages of an epoch that has ended are sent" },
    { 683, 593, "a hello that waits for a page is of the epoch that has begun meanwhile" },
    { 684, 3, "a page that was asked for when a connection broke is not asked for again" },
  },
  owns = {
    { 670, 24, "what waits for a turn waits on when a channel begins anew" },
    { 671, 2, "a log of one node moves the cursor" },
    { 674, 8, "readers of a state keep what they show when it begins anew" },
    { 676, 3, "a new epoch moves readers of channels of one node back" },
    { 677, 2, "channels of one node are read up to a number of all nodes" },
  },
  lead = {
    { 650, 376, "a lease is reckoned from its answer on" },
    { 651, 1, "who leads goes on to the end of its lease" },
    { 652, 8, "a node whose app hangs goes on leading", "gentle" },
    rules = { token = 2, early = 15, hold = 5, rest = 2, rising = 1 },
  },
  -- Too rare in worlds: epochs_spec shows them, or the file that is named.
  by_hand = {
    { 640, "another reset brings the id of an epoch before all are told that the last one has ended" },
    { 641, "a sync brings it before" },
    { 672, "a slow reader of a channel of one node is told its numbers", "spec/unit/local_spec.lua" },
    { 673, "a log that was one of one node knows nothing of what it held before", "spec/unit/local_spec.lua" },
    { 675, "who followed a channel of one node is not given what filled it as one of all", "spec/unit/local_spec.lua" },
    { 678, "what is read after two reloads goes to threads that have begun anew", "spec/kit/nodes_local_spec.lua" },
    { 661, "what is removed while all is loaded again stays", "spec/kit/nodes_removed_spec.lua" },
    { 662, "who wakes says again what another node has removed meanwhile", "spec/kit/nodes_presence_spec.lua" },
  },
  rules = { runid = 3, replid = 7, fence = 14, carry = 8, promoted = 173 },
  obvious = { plant = 600, without = RULES },
}
