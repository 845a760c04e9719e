// Search over search-index.js, which is loaded when somebody begins to type. All of it is on the page's own folder,
// so it works from a disk too.
(() => {
  const up = document.currentScript.dataset.up;
  const box = document.getElementById("search");
  box.innerHTML = '<input type="search" placeholder="Search ( / )" aria-label="Search" autocomplete="off"'
    + ' aria-controls="found"><ol id="found" hidden></ol><span class="heard" aria-live="polite"></span>';
  const [input, list, heard] = box.children;
  let rows, asked;

  const load = () => asked ??= new Promise((done) => {
    const script = document.createElement("script");
    script.src = up + "search-index.js";
    script.onload = () => {
      rows = window.sluiceIndex.map(([kind, title, url, within, text]) =>
        ({ kind, title, url, within, text, name: title.toLowerCase(), all: `${title} ${within} ${text}`.toLowerCase() }));
      done();
    };
    document.head.append(script);
  });

  // A name that is it, that begins so, that has it; a title; a text.
  const score = (row, words, phrase) => {
    let sum = { f: 2, r: 1.5, s: 1, o: .5, c: .2 }[row.kind];
    if (row.name === phrase || row.kind === "f" && row.name.replace(/^.*[:.]/, "") === phrase) sum += 40;
    else if (row.name.includes(phrase)) sum += 10;
    for (const word of words) {
      const at = row.name.indexOf(word);
      if (row.name === word || row.name.endsWith(":" + word) || row.name.endsWith("." + word)) sum += 30;
      else if (at === 0) sum += 20;
      else if (at > 0) sum += /\w/.test(row.name[at - 1]) ? 8 : 16;
      else if (row.all.includes(word)) sum += 1;
      else return 0;
    }
    return sum;
  };

  const found = (text) => {
    const phrase = text.toLowerCase().trim().replace(/[()]/g, "");
    const words = phrase.split(/\s+/).filter(Boolean);
    if (words.length === 0) return [];
    return rows.map((row) => [score(row, words, phrase), row]).filter(([n]) => n > 0)
      .sort((a, b) => b[0] - a[0]).slice(0, 20).map(([, row]) => row);
  };

  const show = async () => {
    await load();
    const hits = found(input.value);
    list.replaceChildren(...hits.map((row) => {
      const link = Object.assign(document.createElement("a"), { href: up + row.url });
      const where = Object.assign(document.createElement("small"), { textContent: row.within });
      const title = document.createElement(row.kind === "s" ? "span" : "code");
      title.textContent = row.title;
      link.append(title, " ", where, Object.assign(document.createElement("p"), { textContent: row.text.slice(0, 120) }));
      const item = document.createElement("li");
      item.append(link);
      return item;
    }));
    list.hidden = hits.length === 0;
    heard.textContent = input.value ? `${hits.length} found` : "";
  };

  const move = (by) => {
    const links = [input, ...list.querySelectorAll("a")];
    const next = links[links.indexOf(document.activeElement) + by];
    if (next) next.focus();
  };

  input.addEventListener("input", show);
  input.addEventListener("focus", load);
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Escape") {
      list.hidden = true;
      input.focus();
    } else if (event.key === "Enter" && document.activeElement === input) list.querySelector("a")?.click();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(input|textarea)$/i.test(document.activeElement.tagName)) {
      event.preventDefault();
      input.focus();
    }
  });
  document.addEventListener("click", (event) => { if (!box.contains(event.target)) list.hidden = true; });
})();
