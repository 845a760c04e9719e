// For clients that know neither TLS nor HTTP/2: HTTP/1.1 on a local port, whose number is the first line of
// the output; each request goes on over TLS, by HTTP/2 (one connection for each address that clients come
// from) or HTTP/1.1. An end is an end, a cut a cut, and who leaves cancels.
//   node tls_bridge.mjs h2|1.1 PORT
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";

const [version, port] = process.argv.slice(2);
const HOP = new Set(["connection", "keep-alive", "transfer-encoding", "host", "upgrade"]);
const sessions = new Map();

// The fields that go on, each line by itself.
function fieldsOf(raw) {
  const fields = {};
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i].toLowerCase();
    if (!HOP.has(name)) fields[name] = name in fields ? [fields[name], raw[i + 1]].flat() : raw[i + 1];
  }
  return fields;
}

function sessionFrom(localAddress) {
  let session = sessions.get(localAddress);
  if (!session || session.closed || session.destroyed) {
    session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false, localAddress });
    session.on("error", () => {});
    session.on("close", () => sessions.get(localAddress) === session && sessions.delete(localAddress));
    sessions.set(localAddress, session);
  }
  return session;
}

function head(response, status, fields) {
  for (const name of Object.keys(fields)) if (name.startsWith(":") || HOP.has(name)) delete fields[name];
  response.writeHead(status, fields);
  response.flushHeaders();
}

function passH2(request, response) {
  const stream = sessionFrom(request.socket.remoteAddress).request({ ":method": request.method, ":path": request.url,
    ":authority": request.headers.host, ":scheme": "https", ...fieldsOf(request.rawHeaders) });
  const cut = () => response.socket?.destroy();
  stream.on("response", (fields) => head(response, fields[":status"], { ...fields }));
  stream.on("error", cut);
  stream.on("aborted", cut);
  stream.on("close", () => (stream.readableEnded && !stream.rstCode ? response.end() : cut()));
  stream.pipe(response, { end: false });
  request.pipe(stream);
  response.on("close", () => stream.destroyed || stream.close(http2.constants.NGHTTP2_CANCEL));
}

function passH1(request, response) {
  const out = https.request({ host: "127.0.0.1", port, path: request.url, method: request.method, agent: false,
    rejectUnauthorized: false, localAddress: request.socket.remoteAddress,
    headers: { ...fieldsOf(request.rawHeaders), host: request.headers.host } });
  out.on("response", (answer) => {
    head(response, answer.statusCode, fieldsOf(answer.rawHeaders));
    answer.on("aborted", () => response.socket?.destroy());
    answer.on("error", () => response.socket?.destroy());
    answer.pipe(response);
  });
  out.on("error", () => response.socket?.destroy());
  request.pipe(out);
  response.on("close", () => out.destroy());
}

const server = http.createServer(version === "h2" ? passH2 : passH1);
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
