// What Node's HTTP parser makes of each input: reads lines "id hex" from the file named by
// the first argument, prints lines "id take LENGTH" or "id refuse" (first request only).
import { createServer } from "node:http"
import { Socket } from "node:net"
import { readFileSync } from "node:fs"

function judge(input) {
  return new Promise((resolve) => {
    const server = createServer({ maxHeaderSize: 16384, requireHostHeader: true })
    const client = new Socket()
    const timer = setTimeout(() => done("wait"), 3000)
    function done(verdict) {
      clearTimeout(timer)
      client.destroy()
      server.closeAllConnections()
      server.close()
      resolve(verdict)
    }
    function take(request, response) {
      let length = 0
      request.on("data", (piece) => (length += piece.length))
      request.on("error", () => done("refuse"))
      request.on("end", () => {
        response.end()
        done(`take ${length}`)
      })
    }
    server.on("request", take)
    server.on("checkContinue", (request, response) => {
      response.writeContinue()
      take(request, response)
    })
    server.on("upgrade", () => done("take 0"))
    server.on("connect", () => done("refuse"))
    server.on("clientError", () => done("refuse"))
    client.on("error", () => {})
    // Node answers a request without Host itself: only its response shows that.
    client.on("data", (bytes) => /^HTTP\/1\.1 [45]/.test(bytes) && done("refuse"))
    server.listen(0, "127.0.0.1", () => {
      client.connect(server.address().port, "127.0.0.1", () => client.write(input))
    })
  })
}

const lines = readFileSync(process.argv[2], "latin1").trim().split("\n")
for (let i = 0; i < lines.length; i += 32) {
  const batch = lines.slice(i, i + 32).map((line) => line.split(" "))
  const verdicts = await Promise.all(batch.map(([, hex]) => judge(Buffer.from(hex ?? "", "hex"))))
  verdicts.forEach((verdict, k) => console.log(`${batch[k][0]} ${verdict}`))
}
