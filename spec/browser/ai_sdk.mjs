// The AI SDK as a client of a plain stream of runs: sends a message, reads the answer's chunks, and resumes one.
//   node spec/browser/ai_sdk.mjs URL send|resume ID     prints { text, chunks, error } as JSON
import { createRequire } from "node:module";

const { DefaultChatTransport, readUIMessageStream } = createRequire(`${process.cwd()}/build/node/`)("ai");
const [url, what, id] = process.argv.slice(2);

const transport = new DefaultChatTransport({
  api: `${url}/api/chat`,
  prepareSendMessagesRequest: ({ messages }) => ({ body: { id: messages.at(-1).id, messages } }),
  prepareReconnectToStreamRequest: ({ id: run }) => ({ api: `${url}/api/chat/${run}` }),
});

const messages = [{ id, role: "user", parts: [{ type: "text", text: "Tell me" }] }];
const stream = what === "send"
  ? await transport.sendMessages({ trigger: "submit-message", chatId: "chat", messages })
  : await transport.reconnectToStream({ chatId: id });

const out = { text: "", chunks: [], error: null };
const seen = stream.pipeThrough(new TransformStream({
  transform(chunk, controller) {
    out.chunks.push(chunk.type);
    controller.enqueue(chunk);
  },
}));
const onError = (problem) => { out.error = String(problem.message ?? problem); };
for await (const message of readUIMessageStream({ stream: seen, onError })) {
  out.text = message.parts.filter((part) => part.type === "text").map((part) => part.text).join("");
}
console.log(JSON.stringify(out));
