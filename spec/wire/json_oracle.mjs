// What Node makes of JSON texts: lines "hex hex" from the file named by the first argument, a text
// and what was read and written again (or nothing: it was refused). Prints the lines where Node
// would have decided otherwise, or read something else.
import { readFileSync } from "node:fs"

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })
const text_of = (hex) => utf8.decode(Buffer.from(hex, "hex"))

function read(text) {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return null
  }
}

// Halves of surrogate pairs have no UTF-8.
const clean = (text) => text.toWellFormed()

function entries(object) {
  const out = new Map()
  for (const [name, value] of Object.entries(object)) out.set(clean(name), value)
  return out
}

function same(a, b) {
  if (typeof a === "string" && typeof b === "string") return clean(a) === b
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, i) => same(item, b[i]))
  if (typeof a !== "object" || a === null) return Object.is(a, b)
  if (typeof b !== "object" || b === null || Array.isArray(b)) return false
  const [mine, theirs] = [entries(a), entries(b)]
  return mine.size === theirs.size && [...mine].every(([name, value]) => theirs.has(name) && same(value, theirs.get(name)))
}

function is_finite(value) {
  if (typeof value === "number") return Number.isFinite(value)
  return typeof value !== "object" || value === null || Object.values(value).every(is_finite)
}

const depth = (value) =>
  typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depth)) : 0

let accepted = 0
for (const line of readFileSync(process.argv[2], "latin1").split("\n")) {
  const [given, ours] = line.split(" ")
  const node = read(text_of(given))
  const legal = node && is_finite(node.value) && depth(node.value) <= 64
  accepted += legal ? 1 : 0
  const alike = legal ? ours !== "" && same(node.value, read(text_of(ours))?.value) : ours === ""
  if (!alike) console.log(`${JSON.stringify(text_of(given))}: ${ours === "" ? "refused" : text_of(ours)}`)
}
console.log(`${accepted} accepted`)
