// The list of conversations: search, rename, delete, export.
import { call, request } from "./api.js";
import { $, asked, button, element } from "./elements.js";
import { visible } from "./markdown.js";

const DAY = 86_400_000;

export class Conversations {
  /** `open(id)`, `renamed(id, title)`, `removed(id)`, `failed(error)` are told what happens here. */
  constructor(on) {
    this.on = on;
    this.listed = [];
    this.cursor = null;
    this.current = null;
    $("search").addEventListener("input", () => this.#search());
    $("more").addEventListener("click", () => this.#attempt(() => this.#next()));
    $("rename").addEventListener("click", () => this.#attempt(() => this.#rename(this.chosen)));
    $("delete").addEventListener("click", () => this.#attempt(() => this.#delete(this.chosen)));
    $("export-md").addEventListener("click", () => this.#attempt(() => this.#export(this.chosen, "md")));
    $("export-json").addEventListener("click", () => this.#attempt(() => this.#export(this.chosen, "json")));
    $("actions").addEventListener("click", () => $("actions").hidePopover());
    $("actions").addEventListener("keydown", (event) => this.#walk(event));
    for (const close of document.querySelectorAll("dialog [value]")) {
      close.addEventListener("click", () => close.closest("dialog").close(close.value));
    }
    $("rename-form").addEventListener("submit", (event) => {
      event.preventDefault();
      $("rename-dialog").close("rename");
    });
  }

  /** From the newest on. */
  async load() {
    const page = await call("v1/conversations");
    [this.listed, this.cursor] = [page.conversations, page.cursor];
    this.#show();
  }

  clear() {
    [this.listed, this.cursor, this.current] = [[], null, null];
    this.#show();
  }

  select(id) {
    this.current = id;
    this.#show();
  }

  titleOf(id) {
    return this.listed.find((each) => each.id === id)?.title ?? "";
  }

  async #next() {
    const page = await call(`v1/conversations?cursor=${encodeURIComponent(this.cursor)}`);
    this.listed.push(...page.conversations);
    this.cursor = page.cursor;
    this.#show();
  }

  /** Looks through all, those not listed yet too. */
  async #search() {
    this.#show();
    await this.#attempt(async () => {
      while (this.cursor && $("search").value.trim()) await this.#next();
    });
  }

  #show() {
    const wanted = $("search").value.trim().toLowerCase();
    const found = this.listed.filter(({ title }) => title.toLowerCase().includes(wanted));
    const focused = document.activeElement?.dataset?.conversation;
    const rows = [];
    let before = "";
    for (const each of found) {
      const age = ageOf(each.updated);
      if (age !== before) rows.push(element("li", { className: "age", textContent: age }));
      before = age;
      rows.push(this.#row(each));
    }
    $("conversations").replaceChildren(...rows);
    $("more").hidden = !this.cursor || Boolean(wanted);
    $("none").hidden = found.length > 0;
    $("none").textContent = wanted ? "No conversation has this in its title." : "Your conversations will be listed here.";
    if (focused) $("conversations").querySelector(`[data-conversation="${focused}"]`)?.focus();
  }

  #row(conversation) {
    const title = visible(conversation.title);
    const link = element("a", { href: `#${conversation.id}`, textContent: title, title, dir: "auto" });
    link.dataset.conversation = conversation.id;
    if (conversation.id === this.current) link.setAttribute("aria-current", "page");
    link.addEventListener("click", (event) => {
      event.preventDefault();
      this.on.open(conversation.id);
    });
    const more = button({ icon: "more", title: `Actions for ${title}` });
    more.setAttribute("aria-haspopup", "menu");
    more.addEventListener("click", () => this.#offer(conversation, more));
    return element("li", {}, link, more);
  }

  #offer(conversation, near) {
    this.chosen = conversation;
    const menu = $("actions");
    const { left, bottom, top } = near.getBoundingClientRect();
    menu.showPopover({ source: near });
    const below = bottom + menu.offsetHeight < innerHeight;
    menu.style.left = `${Math.min(left, innerWidth - menu.offsetWidth - 8)}px`;
    menu.style.top = `${below ? bottom : top - menu.offsetHeight}px`;
    menu.querySelector("button").focus();
  }

  #walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const items = [...$("actions").querySelectorAll("button")];
    items.at((items.indexOf(document.activeElement) + step) % items.length).focus();
  }

  async #rename({ id, title }) {
    $("rename-title").value = title;
    const answer = asked($("rename-dialog"));
    $("rename-title").select();
    if ((await answer) !== "rename") return;
    const renamed = await call(`v1/conversations/${id}`, { method: "PATCH", body: { title: $("rename-title").value } });
    this.listed = this.listed.map((each) => (each.id === id ? renamed : each));
    this.#show();
    this.on.renamed(id, renamed.title);
  }

  async #delete({ id, title }) {
    $("delete-title").textContent = visible(title);
    if ((await asked($("delete-dialog"))) !== "delete") return;
    await call(`v1/conversations/${id}`, { method: "DELETE" });
    this.listed = this.listed.filter((each) => each.id !== id);
    this.#show();
    $("new").focus(); // its button is gone
    this.on.removed(id);
  }

  async #export({ id }, format) {
    const response = await request(`v1/conversations/${id}/export?format=${format}`);
    const address = URL.createObjectURL(await response.blob());
    element("a", { href: address, download: `conversation-${id}.${format}` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  async #attempt(action) {
    try {
      await action();
    } catch (error) {
      this.on.failed(error);
    }
  }
}

function ageOf(updated) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const moment = Date.parse(updated);
  if (moment >= midnight) return "Today";
  if (moment >= midnight - DAY) return "Yesterday";
  return moment >= midnight - 7 * DAY ? "This week" : "Earlier";
}
