--- The bugs that are planted in csrc/fan behind PLANTED(n) (csrc/base/planted.h): what each
--- breaks. The property test must find every one of them.
return {
  "a sliced fan-out moves the last subscriber into the place of one that left: it is missed",
  "state events carry ids and move the cursor",
  "hello carries the head: a cut in the replay loses the rest",
  "reset carries the head: a cut after it loses what is left",
  "one channel after the other instead of a merge by number",
  "the floor is one too low: a loss of one event is not told",
  "the floors of dropped channels are ignored",
  "streams at the same place share blocks whatever their filters are",
  "client:send and bye go out before the events they came after",
  "memory events are numbered above a group in flight",
  "a stream counts as caught up after its first block",
  "hello's id passes a loss that is told only afterwards",
  "states of a stream whose cursor is ahead of its thread skip what comes late",
  "a state does not tell its readers that a key was removed",
  "a removal takes only one event name of its key",
  "an id the thread has not reached yet is taken for one of the future",
  "the numbers of a failed group are used again",
}
