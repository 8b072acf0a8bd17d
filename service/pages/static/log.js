// A subtask's log: its lines as they come, a hundred thousand of them; the view follows only a reader at their end.

const CHUNK = 100; // lines in one block, which the browser leaves out of its layout while it is not seen
const SLACK = 40; // pixels from the end that still count as being there
const SEPARATOR = /^#{12}\{\w+\}\{[^}]+\}#{12}$/;
/** @type {[RegExp, string][]} */
const LOOKS = [
  [SEPARATOR, "run"],
  [/^(fatal|failed|error|unreachable)\b/i, "bad"],
  [/^[A-Z_]{4,}: /, "bad"],
  [/^changed:/, "changed"],
  [/^ok:/, "ok"],
  [/^(TASK|PLAY|RUNNING HANDLER)\b/, "play"],
  [/^(skipping:|Set state for subtask: )/, "quiet"],
];

/** @param {string} text */
function look(text) {
  return LOOKS.find(([pattern]) => pattern.test(text))?.[1] ?? "";
}

/** Shows the log that the element `box` names in its data, and more of it at each `more()`. */
export class LogView {
  named = "";
  after = 0;
  count = 0;
  following = true;
  /** @type {HTMLElement | null} */
  chunk = null;

  /** @param {HTMLElement} box */
  constructor(box) {
    this.box = box;
    this.begin();
  }

  /** From the start, as the box names it now. */
  begin() {
    this.named = name(this.box);
    this.after = Number(this.box.dataset.after);
    this.count = 0;
    this.chunk = null;
    this.following = true;
    this.box.replaceChildren();
    this.box.onscroll = () => {
      this.following = this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - SLACK;
    };
  }

  /**
   * Shows what `box` names from now on; the same as before goes on.
   *
   * @param {HTMLElement} box
   */
  show(box) {
    for (const key of ["lines", "after", "until", "empty"]) this.box.dataset[key] = box.dataset[key];
    if (name(this.box) !== this.named) this.begin();
  }

  /** Fetches what has come since the last time; false when it could not. */
  async more() {
    const named = this.named;
    const { lines, until } = this.box.dataset;
    let full = true;
    while (full) {
      const address = `${lines}?after=${this.after}${until ? `&until=${until}` : ""}`;
      const answer = await fetch(address).catch(() => null);
      if (!answer?.ok || this.named !== named) return false;
      const found = await answer.json();
      if (this.named !== named) return false;
      this.append(found.rows.flatMap((/** @type {[number, string]} */ [, content]) => content.split("\n")));
      this.after = found.next;
      full = found.more;
    }
    if (!this.count) this.empty();
    return true;
  }

  /** @param {string[]} lines */
  append(lines) {
    if (!lines.length) return;
    this.box.querySelector(".empty")?.remove();
    const following = this.following;
    for (const text of lines) {
      const chunk = this.chunk && this.count % CHUNK ? this.chunk : this.open();
      const line = document.createElement("div");
      line.className = `line ${look(text)}`;
      line.textContent = text;
      this.count += 1;
      line.dataset.number = String(this.count);
      chunk.append(line);
    }
    if (following) this.end();
  }

  open() {
    this.chunk = document.createElement("div");
    this.chunk.className = "chunk";
    this.chunk.style.containIntrinsicSize = `auto ${CHUNK * 1.35}rem`;
    this.box.append(this.chunk);
    return this.chunk;
  }

  /** To the end, twice: the first time the last block gets its true size. */
  end() {
    this.box.scrollTop = this.box.scrollHeight;
    requestAnimationFrame(() => {
      if (this.following) this.box.scrollTop = this.box.scrollHeight;
    });
  }

  empty() {
    const said = document.createElement("p");
    said.className = "empty";
    said.textContent = this.box.dataset.empty ?? "";
    this.box.replaceChildren(said);
  }
}

/** @param {HTMLElement} box */
function name(box) {
  return `${box.dataset.lines} ${box.dataset.after} ${box.dataset.until}`;
}
