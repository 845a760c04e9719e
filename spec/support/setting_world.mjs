// Pages that change one setting at random, each with the code of examples/look/setting.js, and all that can go wrong
// between them and the server: saves, answers and events are late, in any order but that of one stream; saves are
// refused, or lost on the way there or back; streams break; the server is restarted and counts anew. The judge knows
// what the server has and who pressed which key, not how a page works.
// argv: the module, the first seed, how many. Prints a line for the first world that is wrong, and ends with 1.
import { pathToFileURL } from "node:url";

const [module, first, count] = process.argv.slice(2);
const { setting } = await import(pathToFileURL(module));
const STEPS = 60;

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
    this.change(0);
  }

  change(value) {
    this.version = (this.version ?? 0) + 1;
    this.value = value;
    this.tellAll();
  }

  tellAll() {
    for (const page of this.pages) if (page.connected) page.stream.push({ version: this.version, value: this.value });
  }

  restart() { // what is in memory is as at the start
    this.version = 0;
    for (const page of this.pages) page.cut();
    this.change(0);
  }
}

class Page {
  constructor(server, faults) {
    Object.assign(this, { server, faults, saves: [], stream: [], connected: false, told: [], owed: 0, shown: undefined });
    server.pages.push(this);
    this.setting = setting({
      save: (value) => new Promise((done, fail) => this.saves.push({ value, done, fail })),
      show: (value) => this.show(value),
      tell: (how, value, problem) => this.told.push({ how, value, problem }),
    });
    this.join();
  }

  join() {
    this.connected = true;
    this.stream.push({ reset: true }, { version: this.server.version, value: this.server.value });
  }

  cut() {
    this.connected = false;
    this.stream = [];
    // an answer of the server before is there already, or never comes
    for (const save of this.saves.splice(0)) this.fail(save, "cut");
  }

  show(value) {
    if (this.alone && value < this.shown) this.back ??= `a step is taken back: ${this.shown} is ${value}`;
    this.shown = value;
  }

  press(keep) {
    if (this.shown === undefined) return;
    const value = this.shown + 1;
    if (keep) this.setting.hold(value);
    else this.setting.want(value);
    if (this.shown !== value) wrong("what was pressed is not shown at once");
  }

  /** A save arrives at the server, or its answer at the page. */
  save(random) {
    const save = this.saves[random(this.saves.length)];
    if (save.answer || save.lost) {
      this.saves.splice(this.saves.indexOf(save), 1);
      return save.answer ? save.done(save.answer) : this.fail(save, "refused");
    }
    const fault = this.faults ? random(8) : 9;
    if (fault !== 0) this.server.change(save.value);
    if (fault > 1) save.answer = { version: this.server.version, value: this.server.value };
    else save.lost = true; // refused, or done and never answered
  }

  fail(save, why) {
    if (this.setting.value === save.value) this.owed = this.failures() + 1; // it is the newest wish
    save.fail(new Error(why));
  }

  failures() { return this.told.filter(({ how }) => how === "failed").length; }

  hear() {
    const event = this.stream.shift();
    if (event.reset) this.setting.reset();
    else this.setting.heard(event.version, event.value);
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
  const random = dice(seed), server = new Server();
  const alone = seed % 3 === 0, faults = seed % 3 === 1;
  const pages = Array.from({ length: alone ? 2 : 3 }, () => new Page(server, faults));
  const writers = alone ? [pages[0]] : pages;
  let pressed = 0;
  pages[0].alone = alone;
  const press = () => { const page = writers[random(writers.length)]; if (page.shown !== undefined) pressed += 1; page.press(random(4) === 0); };
  const acts = [press, press, () => writers[random(writers.length)].setting.release()];
  if (!alone) acts.push(() => server.change(random(100)));
  if (faults) acts.push(() => pages[random(pages.length)].cut());
  if (faults && seed % 2 === 0) acts.push(() => { if (random(5) === 0) server.restart(); });
  for (let step = 0; step < STEPS; step += 1) {
    const list = choices(server, random, acts);
    list[random(list.length)]();
    await turn();
  }
  for (const page of pages) page.setting.release();
  for (let list, left = 5000; await turn(), (list = choices(server, random)).length > 0; left -= 1) {
    if (left === 0) wrong("it does not come to rest");
    list[random(list.length)]();
  }
  pages.forEach((page, i) => judge(server, page, i));
  if (alone && server.value !== pressed) wrong(`${pressed} keys were pressed, and the server has ${server.value}`);
}

function judge(server, page, i) {
  const last = page.told[page.told.length - 1];
  if (page.back) wrong(page.back);
  if (!page.setting.settled) wrong(`page ${i} is not settled`);
  if (page.shown !== server.value || page.setting.value !== server.value) wrong(`page ${i} shows ${page.shown}, the server has ${server.value}`);
  if (page.failures() < page.owed) wrong(`page ${i} does not say that it was not saved`);
  if (last && last.value !== server.value) wrong(`page ${i} says ${last.how} ${last.value}, the server has ${server.value}`);
  for (const { how, problem } of page.told) if ((how === "failed") !== (problem instanceof Error)) wrong(`page ${i} says ${how} with ${problem}`);
}

for (let seed = Number(first), end = seed + Number(count); seed < end; seed += 1) {
  try {
    await run(seed);
  } catch (problem) {
    console.log(`seed ${seed}: ${problem.message}`);
    process.exit(1);
  }
}
