// An answer that grows. Blocks that are finished stay as they are; only the last one, which may still change, is made
// anew, once a frame at most, and a code block that is still open only grows.
import { blocks, nodes, visible } from "./markdown.js";

// A frame takes in no more than this of what has come, or this share of it, so that an answer that comes at once
// freezes nothing either.
const FRAME_CHARACTERS = 2_000;
const FRAME_SHARE = 1 / 8;
// A last block longer than this is made anew only when it has grown by this share, or when nothing has come for a while.
const LONG_CHARACTERS = 1_500;
const GROWTH = 1 / 8;
const REST_MILLISECONDS = 120;
const DEFINITION = /^ {0,3}\[[^\]\n]{1,999}\]:/m;

const frame = (task) => (document.hidden ? setTimeout(task, 16) : requestAnimationFrame(task));

export class Answer {
  /** `changed` is called after each change, `settled` with the elements of each finished block. */
  constructor(root, { changed = () => {}, settled = () => {} } = {}) {
    this.root = root;
    this.changed = changed;
    this.onSettled = settled;
    this.parsed = 0; // characters that went through the parser, each time they did
    this.reset();
  }

  reset() {
    this.text = "";
    this.shown = 0;
    this.start = 0; // of the last block
    this.made = -1; // how much of the text the last block was made from
    this.tail = [];
    this.open = null; // the code block that is still open
    this.list = null; // the long list whose last item is the tail
    this.finishing = null;
    this.root.replaceChildren();
  }

  append(text) {
    this.text += visible(text);
    this.#schedule();
  }

  /** Resolves when all of the text stands there, each block in its last form. */
  finish(text) {
    const whole = visible(text);
    if (whole !== this.text && !whole.startsWith(this.text)) this.reset();
    this.text = whole;
    return new Promise((resolve) => {
      this.finishing = resolve;
      this.#schedule();
    });
  }

  #schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    frame(() => {
      this.scheduled = false;
      this.step();
    });
  }

  /** One frame's work. */
  step() {
    clearTimeout(this.rest);
    const come = this.text.length - this.shown;
    this.shown += Math.min(come, Math.max(FRAME_CHARACTERS, Math.ceil(come * FRAME_SHARE)));
    const isAll = this.shown === this.text.length;
    if (isAll && this.finishing) return this.#end();
    if (this.shown > this.made && !this.#grow()) {
      const length = this.shown - this.start;
      const grown = this.shown - Math.max(this.made, this.start);
      if (length <= LONG_CHARACTERS || grown >= length * GROWTH) this.#make();
      else this.rest = setTimeout(() => this.#rested(), REST_MILLISECONDS);
    }
    this.changed();
    if (!isAll) this.#schedule();
  }

  #rested() {
    this.#make();
    this.changed();
  }

  /** Makes the blocks from `start` anew; all but the last are finished. */
  #make() {
    const text = this.text.slice(this.start, this.shown);
    this.parsed += text.length;
    const found = blocks(text);
    const lines = lineStarts(text);
    const last = found.at(-1);
    // A block begins for certain only with a whole line: `2` may become `2.`, the next item of the list before it.
    const isCertain = found.length > 1 && text.indexOf("\n", lines[last.line]) >= 0;
    const rendered = found.map(nodes);
    for (const node of this.tail) node.remove();
    this.#place(rendered);
    this.tail = rendered.flat();
    this.made = this.shown;
    this.open = openFence(last, text, lines, this.tail);
    if (isCertain) {
      this.list = null;
      this.#settle(rendered.at(-1), lines[last.line]);
    } else if (text.length > LONG_CHARACTERS) {
      const item = lastItem(last, text, lines);
      if (!item) return;
      if (!this.list) {
        [this.list] = this.tail;
        this.tail = [...this.list.children];
      }
      this.#settle(this.tail.slice(-1), item);
    }
  }

  /** Items of a list that went on move into it. */
  #place(rendered) {
    const [first] = rendered;
    if (this.list && first?.[0]?.tagName === this.list.tagName) {
      rendered[0] = [...first[0].children];
      this.list.append(...rendered[0]);
      rendered = rendered.slice(1);
    } else {
      this.list = null;
    }
    this.root.append(...rendered.flat());
  }

  /** What stands before `rest`, which begins `length` characters further on, is finished. */
  #settle(rest, length) {
    this.onSettled(this.tail.filter((each) => !rest.includes(each)));
    this.tail = rest;
    this.start += length;
    if (this.open) this.open.line -= length;
  }

  /** An open code block takes what has come as it is, up to the line that may close it. */
  #grow() {
    if (!this.open) return false;
    const text = this.text.slice(this.start, this.shown);
    if (this.open.closes.test(text.slice(this.open.line))) return false;
    this.open.code.append(text.slice(this.made - this.start));
    this.open.line = text.lastIndexOf("\n") + 1;
    this.made = this.shown;
    return true;
  }

  #end() {
    if (this.made < this.shown || this.open) this.#make();
    this.onSettled(this.tail);
    // A definition further down, as of a link, may change what stands above it.
    if (DEFINITION.test(this.text)) this.#compare();
    this.changed();
    this.finishing();
    this.finishing = null;
  }

  #compare() {
    const now = [...this.root.children];
    const right = blocks(this.text).flatMap(nodes);
    right.forEach((node, at) => {
      if (now[at] && isSame(now[at], node)) return;
      if (now[at]) now[at].replaceWith(node);
      else this.root.append(node);
      this.onSettled([node]);
    });
    for (const node of now.slice(right.length)) node.remove();
  }
}

/** A definition makes links of text; code it leaves alone. */
function isSame(element, other) {
  if (element.className !== other.className || element.className === "code") return element.className === other.className;
  const targets = (each) => [...each.querySelectorAll("a")].map((link) => link.href).join(" ");
  return element.textContent === other.textContent && targets(element) === targets(other);
}

function lineStarts(text) {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

/** Where the last item of a list begins, once its first line is whole; 0 where there is only one, or no list. */
function lastItem(block, text, lines) {
  const tokens = block.source === null ? block.tokens : [];
  const items = tokens.filter(({ type, level }) => type === "list_item_open" && level === 1);
  const start = items.length > 1 ? lines[items.at(-1).map[0]] : 0;
  return text.indexOf("\n", start) < 0 ? 0 : start;
}

/** The code block that a text ends within, null where it ends within none. */
function openFence(block, text, lines, elements) {
  const token = block?.tokens[0];
  if (token?.type !== "fence" || !text.startsWith(token.markup, lines[block.line])) return null;
  const [character] = token.markup;
  const closes = new RegExp(`^ {0,3}\\${character}{${token.markup.length},}`, "m");
  const opened = text.indexOf("\n", lines[block.line]);
  if (opened < 0 || closes.test(text.slice(opened + 1))) return null;
  const code = elements.at(-1).querySelector("code");
  return { code, closes, line: Math.max(text.lastIndexOf("\n") + 1, opened + 1) };
}
