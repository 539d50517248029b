// A question and its answer in the conversation.
import { Answer } from "./answer.js";
import { copy, dress } from "./code.js";
import { button, element } from "./elements.js";
import { explain } from "./errors.js";
import { feedbackOn } from "./feedback.js";
import { visible } from "./markdown.js";
import { sourceList } from "./sources.js";
import { dollars } from "./usage.js";

const ENDS = {
  length: "The answer reached its greatest length.",
  stopped: "Stopped before its end.",
  content_filter: "The model's service ended this answer for its content.",
};

export class Exchange {
  /** `changed` is called whenever it grows; `regenerate` and `edit` with this exchange when their buttons are used. */
  constructor(question, { changed = () => {}, regenerate = () => {}, edit = () => {}, again = () => {} } = {}) {
    this.question = question;
    this.on = { regenerate, edit, again };
    this.body = element("div", { className: "body" });
    this.after = element("div", { className: "after" });
    const asked = element("p", { textContent: visible(question), dir: "auto" });
    this.article = element("article", { className: "answer" }, heading("Answer"), this.body, this.after);
    this.root = element("li", {}, element("article", { className: "question" }, heading("You asked"), asked), this.article);
    this.answer = new Answer(this.body, { changed, settled: dress });
    this.messageId = null;
  }

  /** Nothing came yet, or not for a while. */
  wait(text = "Thinking") {
    this.article.classList.add("waiting");
    this.note(text);
  }

  /** A line under what has come so far. */
  note(text) {
    const dots = element("span", { className: "dots", attributes: { "aria-hidden": "true" } });
    this.after.replaceChildren(element("p", { className: "note" }, text, dots));
  }

  /** What has come so far begins anew, without blinking. */
  restart() {
    this.isRestarting = true;
  }

  append(text) {
    if (this.isRestarting) this.answer.reset();
    this.isRestarting = false;
    if (this.article.classList.contains("waiting")) {
      this.article.classList.remove("waiting");
      this.after.replaceChildren();
    }
    this.answer.append(text);
  }

  /** The whole answer, as POST /chat gives it or a conversation lists it. */
  async finish({ message_id: messageId, message, model, sources = [], usage, finish_reason: end, feedback }) {
    this.isRestarting = false;
    this.messageId = messageId;
    this.message = message;
    this.article.classList.remove("waiting");
    await this.answer.finish(message);
    const list = sourceList(sources, this.body);
    const ended = ENDS[end] && element("p", { className: "note", textContent: ENDS[end] });
    this.after.replaceChildren(...[ended, list, ...this.#footer(model, usage, feedback)].filter(Boolean));
    this.answer.changed();
  }

  /** Shows what went wrong in the answer's place, with what can be done. */
  fail(error) {
    const { text, again, reference } = explain(error);
    this.article.classList.remove("waiting");
    const actions = element("div", { className: "row" });
    if (again) actions.append(this.#action({ icon: "again", text: "Try again" }, "again"));
    if (!this.messageId) actions.append(this.#action({ icon: "edit", text: "Edit the question" }, "edit"));
    const told = element("p", { textContent: text });
    const id = reference && element("p", { className: "reference", textContent: `Reference: ${reference}` });
    const box = element("div", { className: "failure", attributes: { role: "alert" } }, ...[told, id].filter(Boolean), actions);
    this.after.replaceChildren(box);
    this.answer.changed();
  }

  #footer(model, usage, feedback) {
    const { buttons, place } = feedbackOn(this.messageId, feedback);
    const copyAll = button({ icon: "copy", title: "Copy answer" });
    copyAll.addEventListener("click", async () => {
      const done = await copy(this.message);
      copyAll.title = done ? "Copied" : "Not copied";
    });
    const again = this.#action({ icon: "again", title: "Regenerate" }, "regenerate");
    again.classList.add("regenerate");
    const tokens = `${usage.input_tokens.toLocaleString("en")} + ${usage.output_tokens.toLocaleString("en")} tokens`;
    const facts = element(
      "p",
      { className: "facts" },
      element("span", { className: "model", textContent: model }),
      element("span", { className: "cost", textContent: dollars(usage.cost_usd), title: tokens }),
      element("span", { className: "tokens", textContent: tokens }),
    );
    return [element("footer", {}, element("div", { className: "row" }, ...buttons, copyAll, again), facts), place];
  }

  #action(looks, name) {
    const made = button(looks);
    made.addEventListener("click", () => this.on[name](this));
    return made;
  }
}

const heading = (text) => element("h2", { className: "hidden", textContent: text });

/** The exchanges of a conversation's messages, which come as questions, each followed by its answer. */
export function exchanges(messages, handlers) {
  const found = [];
  for (let at = 0; at + 1 < messages.length; at += 2) {
    const [question, answer] = [messages[at], messages[at + 1]];
    const made = new Exchange(question.content, handlers);
    made.ready = made.finish({ ...answer, message: answer.content, message_id: answer.id });
    found.push(made);
  }
  return found;
}
