// What a screen reader says of an answer that grows: whole sentences, never the letters of each delta.
const KEPT = 20;

export class Announcer {
  constructor(region) {
    this.region = region;
    this.begin();
  }

  begin() {
    this.rest = "";
    this.heard = 0;
    this.skipped = 0;
    this.inCode = false;
    this.region.replaceChildren();
  }

  /** The same answer comes again from its beginning: what was said is not said twice. */
  restart() {
    this.skipped = this.heard;
  }

  /** More of the answer's Markdown. */
  add(text) {
    const fresh = text.slice(this.skipped);
    this.skipped = Math.max(0, this.skipped - text.length);
    this.heard += fresh.length;
    this.rest += fresh;
    const whole = this.rest.lastIndexOf("\n") + 1 || wholeSentences(this.rest);
    if (!whole) return;
    this.#read(this.rest.slice(0, whole));
    this.rest = this.rest.slice(whole);
  }

  end(text = "") {
    this.#read(`${this.rest}\n`);
    this.rest = "";
    if (text) this.say(text);
  }

  say(text) {
    const line = document.createElement("p");
    line.textContent = text;
    this.region.append(line);
    while (this.region.children.length > KEPT) this.region.firstChild.remove();
  }

  #read(text) {
    const said = [];
    for (const line of text.split("\n")) {
      if (/^\s*(```|~~~)/.test(line)) {
        this.inCode = !this.inCode;
        if (this.inCode) said.push("Code block.");
      } else if (!this.inCode) {
        said.push(plain(line));
      }
    }
    const sentence = said.filter(Boolean).join(" ");
    if (sentence) this.say(sentence);
  }
}

/** How far the last whole sentence reaches: up to its point, where something follows. */
function wholeSentences(text) {
  const ends = [...text.matchAll(/[^\d\s][.!?…](?=\s)/g)];
  return ends.length ? ends.at(-1).index + 2 : 0;
}

/** A line without its marks. */
function plain(line) {
  const text = line.trim();
  if (/^[\s:|-]*$/.test(text)) return "";
  return text
    .replace(/!?\[([^\][]{0,200})\]\([^()]{0,500}\)/g, "$1")
    .replace(/^(#{1,6}|>|[-*+])\s+/, "")
    .replace(/[*_`|]+/g, " ")
    .replace(/\s+/g, " ")
    .trim();
}
