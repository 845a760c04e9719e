// Pages of examples/editor without a browser: sessions of public/session.js, driven by spec/support/editors.lua over
// one TCP connection. argv: the folder with ot.js and session.js. Prints its port. A line is a request:
//   { id, method, args }        a method (or "new") of session `id`; answers what it returned and how the session is
//   { cases: [[kind, …], …] }   functions of ot.js; answers a list
import { createServer } from "node:net"
import { createInterface } from "node:readline"
import { pathToFileURL } from "node:url"

const folder = pathToFileURL(process.argv[2] + "/").href
const ot = await import(folder + "ot.js")
const { Session } = await import(folder + "session.js")
const sessions = new Map()

const state = (s) => ({ text: s.text, base: s.base, version: s.version, loading: s.loading, blocked: s.blocked,
  settled: s.settled, unsaved: s.unsaved, length: ot.count(s.text), undos: s.undone.length + s.done.length })

function call({ id, method, args }) {
  if (method === "new") sessions.set(id, new Session(id))
  const session = sessions.get(id)
  const before = session.text
  const ok = method === "new" ? null : session[method](...args)
  // what the page is told to show must lead from one text to the other
  const shown = method === "load" ? ok.changes : method === "remote" ? [ok ?? []] : null
  if (shown && shown.reduce(ot.apply, before) !== session.text) throw new Error(`${method} shows something else`)
  return { ok: ok ?? null, state: state(session) }
}

function answer(request) {
  if (request.cases) return { ok: request.cases.map(([kind, ...args]) => ot[kind](...args)) }
  return call(request)
}

const server = createServer((socket) => {
  createInterface({ input: socket }).on("line", (line) => {
    let said
    try {
      said = answer(JSON.parse(line))
    } catch (problem) {
      said = { error: problem.stack }
    }
    socket.write(JSON.stringify(said) + "\n")
  })
  socket.on("close", () => process.exit(0))
})
server.listen(0, "127.0.0.1", () => console.log(server.address().port))
