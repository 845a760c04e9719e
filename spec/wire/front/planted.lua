--- The bugs that are planted in csrc/net and csrc/serve behind PLANTED(100 + n)
--- (csrc/base/planted.h): what each breaks. The drawn requests must find every one of them.
return {
  -- Draws that show each bug, among the first that do: they are tried before all others.
  draws = { { 79, 175, 159 }, { 14, 8 }, { 15 }, { 76, 312, 850 }, { 9 }, { 14, 1, 20 }, { 17, 5, 30 }, { 265,
    483, 1135 }, { 14, 13 }, { 30, 26, 22 }, { 23, 20, 14 }, { 517, 638, 727 }, { 8 }, { 232, 769,
    925 }, { 14, 13, 10 }, { 42, 174, 238 }, { 4, 9, 8 }, { 7 }, { 40, 68, 59 }, { 24, 20 }, { 24, 9
    }, { 21 }, { 9 }, { 5 } },
  "of a line of entity tags only the first is read",
  "of a list only the first line is read",
  "a weak entity tag never matches",
  "a weight of 0 counts as consent",
  "chunk sizes in capital letters are refused",
  "of the options of Connection only the first of a line counts",
  "the Host field counts, not the host of an absolute target",
  "a segment may hold an encoded slash",
  "HTTP/1.0 is not told that its connection stays",
  "the answer to HEAD has a body",
  "blanks behind a field's value stay in it",
  "a chunked body that fills the limit is refused",
  "a chunk size that is cut between its digits and its line end is none",
  "errors lack the fields of CORS",
  "what is pipelined behind a large answer is not parsed once that is out",
  "a client that closes its half loses what its socket has not taken yet",
  "nobody is told to continue",
  "what the peer takes of an answer does not move the time at which it counts as stalled",
  "a body that comes in pieces ends with the first",
  "a body that the handler takes in pieces ends with the first",
  "the connection closes behind a body in pieces that was read",
  "the answer before the end of a body in pieces does not say that it closes",
  "nobody is told to continue when the handler asks for a piece",
  "a client that closes its half in the middle of a body in pieces is waited for",
}
