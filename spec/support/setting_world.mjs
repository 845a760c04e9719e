// Pages that change two fields of one thing at random, each field by the code of examples/look/setting.js, and all that
// can go wrong between them and the server, which has one version for both: saves, answers and events are late, in any order but that of one stream; saves are
// refused, or lost on the way there or back; streams break; the server is restarted and counts anew. The judge knows
// what the server has and who pressed which key, not how a page works.
// argv: the module, the first seed, how many. Prints a line for the first world that is wrong, and ends with 1.
import { pathToFileURL } from "node:url";

const [module, first, count] = process.argv.slice(2);
const { setting } = await import(pathToFileURL(module));
const STEPS = 60;
const FIELDS = ["limit", "gap"];

function dice(seed) {
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}

const turn = () => new Promise((done) => setImmediate(done));
const wrong = (text) => { throw new Error(text); };

class Server {
  constructor() {
    this.pages = [];
    this.begin();
  }

  begin() {
    this.version = 0;
    this.values = Object.fromEntries(FIELDS.map((field) => [field, 0]));
    this.change({});
  }

  change(some) { // one version for all that it has
    this.version += 1;
    this.values = { ...this.values, ...some };
    for (const page of this.pages) if (page.connected) page.stream.push(this.state);
  }

  get state() { return { version: this.version, values: this.values }; }

  restart() { // what is in memory is as at the start
    for (const page of this.pages) page.cut();
    this.begin();
  }
}

/** One field on a page. */
class Part {
  constructor(page, field) {
    Object.assign(this, { page, field, told: [], owed: 0, pressed: 0, shown: undefined, alone: false });
    this.setting = setting({
      save: (value) => new Promise((done, fail) => page.saves.push({ part: this, value, done, fail })),
      show: (value) => this.show(value),
      tell: (how, value, problem) => this.told.push({ how, value, problem }),
    });
  }

  show(value) {
    if (this.alone && value < this.shown) this.back ??= `a step is taken back: ${this.shown} is ${value}`;
    this.shown = value;
  }

  press(keep) {
    if (this.shown === undefined) return;
    this.pressed += 1;
    const value = this.shown + 1;
    if (keep) this.setting.hold(value);
    else this.setting.want(value);
    if (this.shown !== value) wrong("what was pressed is not shown at once");
  }

  fail(save, why) {
    if (this.setting.value === save.value) this.owed = this.failures() + 1; // it is the newest wish
    save.fail(new Error(why));
  }

  failures() { return this.told.filter(({ how }) => how === "failed").length; }
}

class Page {
  constructor(server, faults) {
    Object.assign(this, { server, faults, saves: [], stream: [], connected: false });
    this.parts = FIELDS.map((field) => new Part(this, field));
    server.pages.push(this);
    this.join();
  }

  join() {
    this.connected = true;
    this.stream.push({ reset: true }, this.server.state);
  }

  cut() {
    this.connected = false;
    this.stream = [];
    // an answer of the server before is there already, or never comes
    for (const save of this.saves.splice(0)) save.part.fail(save, "cut");
  }

  /** A save arrives at the server, or its answer at the page. */
  save(random) {
    const save = this.saves[random(this.saves.length)], { field } = save.part;
    if (save.answer || save.lost) {
      this.saves.splice(this.saves.indexOf(save), 1);
      return save.answer ? save.done(save.answer) : save.part.fail(save, "refused");
    }
    const fault = this.faults ? random(8) : 9;
    if (fault !== 0) this.server.change({ [field]: save.value });
    if (fault > 1) save.answer = { version: this.server.version, value: this.server.values[field] };
    else save.lost = true; // refused, or done and never answered
  }

  hear() {
    const event = this.stream.shift();
    for (const { setting: its, field } of this.parts) {
      if (event.reset) its.reset();
      else its.heard(event.version, event.values[field]);
    }
  }
}

/** All that may happen now, each a function; what is not settled once nobody does anything more comes first. */
function choices(server, random, acts) {
  const list = [];
  for (const page of server.pages) {
    if (page.saves.length > 0) list.push(() => page.save(random));
    if (page.stream.length > 0) list.push(() => page.hear());
    if (!page.connected) list.push(() => page.join());
  }
  return acts ? list.concat(acts) : list;
}

async function run(seed) {
  const random = dice(seed), server = new Server(), one = (list) => list[random(list.length)];
  const alone = seed % 3 === 0, faults = seed % 3 === 1;
  const pages = Array.from({ length: 3 }, () => new Page(server, faults));
  const parts = pages.flatMap((page) => page.parts);
  // alone: a field is changed on one page, the other on another
  const writers = alone ? FIELDS.map((_, i) => pages[i].parts[i]) : parts;
  for (const part of writers) part.alone = alone;
  const press = () => one(writers).press(random(4) === 0);
  const acts = [press, press, () => one(writers).setting.release()];
  if (!alone) acts.push(() => server.change({ [one(FIELDS)]: random(100) }));
  if (faults) acts.push(() => one(pages).cut());
  if (faults && seed % 2 === 0) acts.push(() => { if (random(5) === 0) server.restart(); });
  for (let step = 0; step < STEPS; step += 1) {
    one(choices(server, random, acts))();
    await turn();
  }
  for (const part of parts) part.setting.release();
  for (let list, left = 5000; await turn(), (list = choices(server, random)).length > 0; left -= 1) {
    if (left === 0) wrong("it does not come to rest");
    one(list)();
  }
  for (const part of parts) judge(part, server.values[part.field], `${part.field} of page ${pages.indexOf(part.page)}`);
}

function judge(part, value, name) {
  const { told, setting: its } = part, last = told[told.length - 1];
  if (part.back) wrong(part.back);
  if (!its.settled) wrong(`${name} is not settled`);
  if (part.shown !== value || its.value !== value) wrong(`${name} is shown as ${part.shown}, the server has ${value}`);
  if (part.failures() < part.owed) wrong(`${name}: it is not said that it was not saved`);
  if (last && last.value !== value) wrong(`${name}: ${last.how} ${last.value} is said, the server has ${value}`);
  for (const { how, problem } of told) if ((how === "failed") !== (problem instanceof Error)) wrong(`${name}: ${how} with ${problem}`);
  if (!part.alone) return;
  if (part.pressed !== value) wrong(`${name}: ${part.pressed} keys were pressed, and the server has ${value}`);
  if (told.some(({ how }) => how === "changed")) wrong(`${name}: nobody else changes it, and that is said`);
}

for (let seed = Number(first), end = seed + Number(count); seed < end; seed += 1) {
  try {
    await run(seed);
  } catch (problem) {
    console.log(`seed ${seed}: ${problem.message}`);
    process.exit(1);
  }
}
