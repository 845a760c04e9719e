/**
 * A setting that this page and others change. A page shows what its user wants at once, and the server decides: it
 * counts a version up with each change, and says it in its events and in its answer to a save.
 *
 *   const level = setting({
 *     save: async (wish) => ({ version, value }),     throws when it was not saved
 *     show: (value) => …,                             whenever it may be another
 *     tell: (how, value, problem) => …,               "saved", "failed" or "changed" (by somebody else)
 *   });
 *   level.heard(version, value);                      what the stream says
 *   level.want(value);                                shown now, and saved
 *   level.hold(value);                                shown now, as while a slider is dragged; saved when it is wanted
 *
 * The newest wish is shown until the server has answered it. One save is under way at a time, and behind it waits only
 * the newest wish. So an event that is no newer than the last answer is an echo of what this page has left behind,
 * however late it comes, and what others do meanwhile is shown when the wish is settled.
 */
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

export function setting({ save, show, tell = () => {} }) {
  let version = -Infinity, known; // the newest that the server has said
  let wish = null; // { value, held } until the server has answered it
  let saving = false;

  function hear(now, its) {
    if (now <= version) return false;
    version = now;
    known = its;
    return true;
  }

  async function settle(sent) {
    let how = "saved", problem;
    try {
      const answer = await save(sent.value);
      if (!hear(answer.version, answer.value) && !same(answer.value, known)) how = "changed";
    } catch (error) {
      how = "failed";
      problem = error;
    }
    if (wish !== sent) return; // a newer one is shown, and is saved in turn
    wish = null;
    show(known);
    tell(how, known, problem);
  }

  async function saveAll() {
    if (saving) return;
    saving = true;
    while (wish && !wish.held) await settle(wish);
    saving = false;
  }

  return {
    get value() { return wish ? wish.value : known; },
    get settled() { return wish === null; },
    get saving() { return saving; },

    heard(now, its) {
      const was = known;
      if (!hear(now, its) || wish) return;
      show(known);
      if (was !== undefined && !same(was, known)) tell("changed", known);
    },

    hold(its) {
      wish = { value: its, held: true };
      show(its);
    },

    want(its) {
      wish = { value: its, held: false };
      show(its);
      return saveAll();
    },

    /** What is held is wanted as it is. */
    release() { return wish?.held ? this.want(wish.value) : undefined; },

    /** The server may count anew: whatever it says next is newer. */
    reset() { version = -Infinity; },
  };
}
