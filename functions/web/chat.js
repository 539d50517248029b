// The conversation that is shown, and the turn that runs in it.
import { call, Refused, Unreachable } from "./api.js";
import { $ } from "./elements.js";
import { explain } from "./errors.js";
import { Exchange, exchanges } from "./exchange.js";
import { forget, store, stored } from "./storage.js";
import { turn } from "./stream.js";

const PENDING = "pending";
const NEAR_THE_END = 80;

export class Chat {
  /** `on.changed()` after each turn, `on.moved(id)` when another conversation is shown, `on.busy(isBusy)`, `on.tell(text)`,
   * `on.edit(question)` with what goes back to where it was typed. */
  constructor(announcer, on) {
    this.announcer = announcer;
    this.on = on;
    this.id = null;
    this.cursor = null;
    this.shown = [];
    this.running = null;
    this.follows = true;
    this.model = () => undefined;
    this.handlers = {
      changed: () => this.#follow(),
      regenerate: (exchange) => this.#regenerate(exchange),
      edit: (exchange) => this.#giveBack(exchange),
      again: (exchange) => this.#again(exchange),
    };
    $("log").addEventListener("scroll", () => this.#scrolled());
    $("older").addEventListener("click", () => this.#older());
    $("latest").addEventListener("click", () => this.#toTheEnd());
  }

  /** An empty conversation. */
  clear() {
    this.#show(null, []);
  }

  /** Shows a stored conversation. Throws Refused, Unreachable. */
  async open(id) {
    const page = await call(`v1/conversations/${id}`);
    const found = exchanges(page.messages, this.handlers);
    this.#show(id, found, page.cursor);
    if (this.running?.conversation === id && !this.running.exchange.messageId) this.#add(this.running.exchange);
    this.#toTheEnd();
    await Promise.all(found.map((each) => each.ready));
    return page.conversation.title;
  }

  /** Asks; resolves when the turn has ended, however it has. */
  async ask(question) {
    const exchange = new Exchange(question, this.handlers);
    this.#add(exchange);
    this.#toTheEnd();
    const body = { message: question, conversation_id: this.id ?? undefined, model: this.model() };
    await this.#run(exchange, { key: newKey(), body, question });
  }

  /** The question that was under way when the page was left. */
  pending() {
    return stored(PENDING);
  }

  /** The conversation that it continues, "" for none. */
  conversationOf({ body }) {
    return body.conversation_id ?? body.regenerate_of?.split(".")[0] ?? "";
  }

  async resume(pending) {
    if (this.running) return;
    const replaced = this.shown.find((each) => each.messageId === pending.body.regenerate_of);
    const exchange = replaced ?? new Exchange(pending.question, this.handlers);
    if (!replaced) this.#add(exchange);
    await this.#run(exchange, pending, true);
  }

  /** Ends the running answer; what has come of it stays. */
  async stop() {
    const running = this.running;
    if (!running) return;
    this.on.tell("Stopping…");
    try {
      if (!running.turn) throw new Unreachable("not begun");
      await call(`v1/turns/${running.turn}/stop`, { method: "POST", body: {} });
    } catch (error) {
      if (error instanceof Unreachable) running.controller.abort();
      // Refused: it has just ended by itself.
    }
  }

  async #run(exchange, pending, isRepeated = false) {
    const running = { exchange, conversation: this.id, controller: new AbortController(), turn: null };
    this.running = running;
    store(PENDING, pending);
    this.on.busy(true);
    this.announcer.begin();
    exchange.pending = pending;
    exchange.wait();
    let hasBegun = false;
    try {
      for await (const { name, data } of turn(pending.body, pending.key, running.controller.signal, isRepeated)) {
        if (name === "start") {
          if (hasBegun) this.#restart(exchange);
          this.#started(running, data);
          hasBegun = true;
        } else if (name === "delta") {
          exchange.append(data.text);
          this.announcer.add(data.text);
        } else if (name === "progress") {
          exchange.wait(`Read ${data.done} of ${data.total} parts`);
        } else if (name === "lost") {
          exchange.note("The connection was lost. Connecting again");
          this.announcer.say("The connection was lost. Connecting again.");
        } else if (name === "done") {
          forget(PENDING);
          await exchange.finish(data);
          this.announcer.end(data.finish_reason === "stopped" ? "Stopped." : "End of the answer.");
          this.on.tell("");
        }
      }
    } catch (error) {
      this.#failed(exchange, error);
    } finally {
      this.running = null;
      this.on.busy(false);
      this.on.changed();
    }
  }

  #restart(exchange) {
    exchange.restart();
    this.announcer.restart();
  }

  #started(running, { conversation_id: id, message_id: messageId, turn_id: turnId }) {
    running.turn = turnId;
    // The answer had come before the page was left, and was read with its conversation.
    const twin = this.shown.find((each) => each !== running.exchange && each.messageId === messageId);
    if (twin) this.#remove(twin);
    if (this.shown.includes(running.exchange) && this.id !== id) {
      this.id = id;
      this.on.moved(id);
    }
    running.conversation = id;
  }

  #failed(exchange, error) {
    if (error.name === "AbortError") {
      forget(PENDING);
      this.on.tell("Stopped.");
      return exchange.messageId ? this.#restore(exchange) : this.#giveBack(exchange);
    }
    const { text, again } = explain(error);
    // The connection may come back; the same key then finds the answer.
    if (!(error instanceof Unreachable)) forget(PENDING);
    const isMisunderstood = error instanceof Refused && !again && !exchange.messageId;
    if (isMisunderstood && !exchange.answer.text && this.on.edit(exchange.question)) {
      this.#remove(exchange);
      return this.on.tell(text, true);
    }
    if (exchange.messageId && !again) {
      this.on.tell(text, true);
      return this.#restore(exchange);
    }
    this.on.tell("");
    exchange.fail(error);
  }

  async #regenerate(exchange) {
    if (this.running) return;
    exchange.restart();
    const body = { regenerate_of: exchange.messageId, model: this.model() };
    await this.#run(exchange, { key: newKey(), body, question: exchange.question });
  }

  /** The answer that was there before. */
  async #restore(exchange) {
    if (this.shown.includes(exchange)) await this.open(this.id).catch((error) => exchange.fail(error));
  }

  async #again(exchange) {
    if (!this.running) await this.#run(exchange, exchange.pending, true);
  }

  #giveBack(exchange) {
    if (!this.on.edit(exchange.question)) return;
    forget(PENDING);
    this.#remove(exchange);
  }

  #remove(exchange) {
    exchange.root.remove();
    this.shown = this.shown.filter((each) => each !== exchange);
    this.#mark();
  }

  #show(id, found, cursor = null) {
    this.id = id;
    this.cursor = cursor;
    this.shown = found;
    $("conversation").replaceChildren(...found.map(({ root }) => root));
    $("older").hidden = !cursor;
    this.#mark();
    this.on.moved(id);
  }

  #add(exchange) {
    this.shown.push(exchange);
    $("conversation").append(exchange.root);
    this.#mark();
  }

  /** The welcome stands where there is nothing yet; only the last answer can be given again. */
  #mark() {
    $("welcome").hidden = this.shown.length > 0;
    for (const each of this.shown) each.root.classList.toggle("last", each === this.shown.at(-1));
  }

  async #older() {
    const page = await call(`v1/conversations/${this.id}?cursor=${encodeURIComponent(this.cursor)}`);
    const found = exchanges(page.messages, { ...this.handlers, changed: () => {} });
    const log = $("log");
    const fromTheEnd = log.scrollHeight - log.scrollTop;
    $("conversation").prepend(...found.map(({ root }) => root));
    this.shown.unshift(...found);
    this.cursor = page.cursor;
    $("older").hidden = !page.cursor;
    this.#mark();
    await Promise.all(found.map((each) => each.ready));
    log.scrollTop = log.scrollHeight - fromTheEnd;
  }

  #scrolled() {
    const log = $("log");
    this.follows = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_THE_END;
    $("latest").hidden = this.follows;
  }

  #follow() {
    if (this.follows) $("log").scrollTop = $("log").scrollHeight;
    else $("latest").hidden = false;
  }

  #toTheEnd() {
    this.follows = true;
    this.#follow();
  }
}

/** crypto.randomUUID wants https, which a bot at home may not have. */
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
