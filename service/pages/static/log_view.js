// The log of a subtask, up to 100,000 lines. New lines scroll the log only if it is scrolled to the end. A reader leaves
// the end by scrolling upwards; a log that grows between a scroll and its event has not been left.

const CHUNK_SIZE = 100; // lines in one block; the browser skips the layout of blocks out of view
const END_TOLERANCE = 40; // pixels from the end that count as the end
const SEPARATOR = /^#{12}\{\w+\}\{[^}]+\}#{12}$/;
/** @type {[RegExp, string][]} */
const LINE_CLASSES = [
  [SEPARATOR, "execution-line"],
  [/^(fatal|failed|error|unreachable)\b/i, "error-line"],
  [/^[A-Z_]{4,}: /, "error-line"],
  [/^changed:/, "changed-line"],
  [/^ok:/, "ok-line"],
  [/^(TASK|PLAY|RUNNING HANDLER)\b/, "play-line"],
  [/^(skipping:|Set state for subtask: )/, "skipped-line"],
];

/** @param {string} text */
function lineClass(text) {
  return LINE_CLASSES.find(([pattern]) => pattern.test(text))?.[1] ?? "";
}

/** Shows the log whose address is in the data attributes of the element `box`. */
export class LogView {
  source = "";
  after = 0;
  count = 0;
  following = true;
  /** @type {HTMLElement | null} */
  chunk = null;

  /** @param {HTMLElement} box */
  constructor(box) {
    this.box = box;
    box.addEventListener("keydown", (event) => {
      if (event.key === "End") this.follow(event);
    });
    this.reset();
  }

  /** Empties the view and reads its source from the box. */
  reset() {
    this.source = sourceOf(this.box);
    this.after = Number(this.box.dataset.after);
    this.count = 0;
    this.chunk = null;
    this.following = true;
    this.box.replaceChildren();
    let top = this.box.scrollTop;
    this.box.onscroll = () => {
      if (this.isAtEnd()) this.following = true;
      else if (this.box.scrollTop < top) this.following = false;
      top = this.box.scrollTop;
    };
  }

  /**
   * Takes the source of another box; keeps the lines if it is the same source.
   *
   * @param {HTMLElement} box
   */
  setSource(box) {
    for (const key of ["linesUrl", "after", "until", "emptyText"]) this.box.dataset[key] = box.dataset[key];
    if (sourceOf(this.box) !== this.source) this.reset();
  }

  /** Fetches new lines and appends them. Stops if a request fails or the source changes meanwhile. */
  async loadMore() {
    const source = this.source;
    const { linesUrl, until } = this.box.dataset;
    let more = true;
    while (more) {
      const address = `${linesUrl}?after=${this.after}${until ? `&until=${until}` : ""}`;
      const response = await fetch(address).catch(() => null);
      if (!response?.ok || this.source !== source) return;
      const page = await response.json();
      if (this.source !== source) return;
      this.append(page.rows.flatMap((/** @type {[number, string]} */ [, content]) => content.split("\n")));
      this.after = page.next;
      more = page.more;
    }
    if (!this.count) this.showEmptyText();
  }

  /** @param {string[]} lines */
  append(lines) {
    if (!lines.length) return;
    this.box.querySelector(".empty")?.remove();
    const following = this.following;
    for (const text of lines) {
      const chunk = this.chunk && this.count % CHUNK_SIZE ? this.chunk : this.addChunk();
      const line = document.createElement("div");
      line.className = `line ${lineClass(text)}`;
      line.textContent = text;
      this.count += 1;
      line.dataset.number = String(this.count);
      chunk.append(line);
    }
    if (following) this.scrollToEnd();
  }

  addChunk() {
    this.chunk = document.createElement("div");
    this.chunk.className = "chunk";
    this.chunk.style.containIntrinsicSize = `auto ${CHUNK_SIZE * 1.35}rem`;
    this.box.append(this.chunk);
    return this.chunk;
  }

  isAtEnd() {
    return this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - END_TOLERANCE;
  }

  /**
   * Follows the end from now on. The browser's own scrolling goes to where the end is when the key is pressed.
   *
   * @param {KeyboardEvent} event
   */
  follow(event) {
    event.preventDefault();
    this.following = true;
    this.scrollToEnd();
  }

  /**
   * Scrolls until the end is reached in two frames: blocks get their final heights when they come into view.
   *
   * @param {boolean} [reached] in the last frame
   */
  scrollToEnd(reached = false) {
    this.box.scrollTop = this.box.scrollHeight;
    requestAnimationFrame(() => {
      const isAtEnd = this.isAtEnd();
      if (this.following && !(reached && isAtEnd)) this.scrollToEnd(isAtEnd);
    });
  }

  showEmptyText() {
    const paragraph = document.createElement("p");
    paragraph.className = "empty";
    paragraph.textContent = this.box.dataset.emptyText ?? "";
    this.box.replaceChildren(paragraph);
  }
}

/** @param {HTMLElement} box */
function sourceOf(box) {
  return `${box.dataset.linesUrl} ${box.dataset.after} ${box.dataset.until}`;
}
