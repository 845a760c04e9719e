// Arrays of numbers by POST to a server that publishes what it read, and back by its stream: the
// page compares the bits of what it sent with the bits of what came. Doubles are drawn by their
// bits and as decimals of any length; powers of ten and two and their neighbours come first. Whole
// numbers within 64 bits are compared as text, in the answer and in the event, since no browser
// knows them. Arguments: { url, arrays, size, seed }. Runs in the page.
async function compare({ arrays, size, seed }) {
  let state = seed;
  const word = () => { // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  const below = (n) => word() % n;
  const view = new DataView(new ArrayBuffer(8));
  const bits = (x) => { view.setFloat64(0, x); return view.getBigUint64(0); };
  const double = (n) => { view.setBigUint64(0, n); return view.getFloat64(0); };
  const long = () => (BigInt(word()) << 32n) | BigInt(word());

  function digits(most) {
    let text = "";
    for (let n = 1 + below(most); n > 0; n -= 1) text += below(10);
    return text;
  }
  const whole = () => digits(1 + below(20)).replace(/^0+(?=\d)/, "");
  const draws = [
    () => { let x; do x = double(long()); while (!Number.isFinite(x)); return String(x); },
    () => `${below(2) ? "-" : ""}${whole()}.${digits(1 + below(25))}`,
    () => `${whole()}.${digits(17)}e${below(570) - 290}`,
    () => (below(1e9) / 10 ** below(9)).toPrecision(17),
    () => String((below(2 ** 31) * 2 ** 20 + below(2 ** 20)) / 1e6), // a time to the microsecond
  ];
  const special = ["0", "-0", "-0.0", "18446744073709551615", "1e23", "9007199254740993.0"];
  for (let e = -324; e <= 308; e += 1) special.push(`1e${e}`, `-1E${e < 0 ? e : `+${e}`}`);
  for (let e = -1074; e < 1024; e += 1) {
    const n = bits(2 ** e);
    for (const near of [n - 1n, n, n + 1n]) special.push(String(double(near)));
  }

  const source = new EventSource("/numbers");
  const waiting = [];
  source.addEventListener("list", (event) => waiting.shift()(event.data));
  await new Promise((go) => source.addEventListener("hello", go, { once: true }));

  async function send(texts) {
    const come = new Promise((go) => waiting.push(go));
    const body = `[${texts.join(",")}]`;
    const response = await fetch("/numbers", { method: "POST", body, headers: { "Content-Type": "application/json" } });
    if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
    return [await response.text(), await come];
  }

  const seen = { doubles: 0, whole: 0, events: 0, wrong: [] };
  const wrong = (sent, got) => { if (seen.wrong.length < 10) seen.wrong.push(`${sent} came as ${got}`); };
  const next = () => special.shift() ?? draws[below(draws.length)]();
  for (let n = 0; n < arrays; n += 1) {
    const texts = Array.from({ length: size }, next);
    const [answer, data] = await send(texts);
    const got = JSON.parse(data);
    if (answer !== data) wrong("the answer", "another text than the event");
    texts.forEach((text, i) => { if (bits(JSON.parse(text)) !== bits(got[i])) wrong(text, got[i]); });
    seen.doubles += got.length;
    seen.events += 1;
  }
  for (let n = 0; n < arrays / 10; n += 1) {
    const edges = ["9223372036854775807", "-9223372036854775808", "9007199254740993"];
    const texts = Array.from({ length: size }, () => edges.shift() ?? String(BigInt.asIntN(64, long() >> BigInt(below(64)))));
    for (const text of await send(texts)) {
      text.slice(1, -1).split(",").forEach((got, i) => { if (got !== texts[i]) wrong(texts[i], got); });
    }
    seen.whole += texts.length;
  }
  source.close();
  return seen;
}

export default async ({ args, open }) => (await open(`${args.url}/`)).evaluate(compare, args);
