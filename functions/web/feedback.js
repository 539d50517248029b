// Thumbs on an answer, then reasons and a comment for whoever wants to say more.
import { call } from "./api.js";
import { button, element } from "./elements.js";
import { explain } from "./errors.js";

const REASONS = {
  up: ["Correct", "Clear", "Complete", "Good sources"],
  down: ["Wrong", "Out of date", "Incomplete", "Unclear", "Sources do not fit", "Unsafe advice"],
};
const COMMENT_CHARACTERS = 2_000;

/** The two buttons and the place for the form. `feedback` is what was said before, if anything. */
export function feedbackOn(messageId, feedback) {
  const path = `v1/messages/${messageId}/feedback`;
  const place = element("div", { className: "feedback" });
  const thumbs = {
    up: button({ icon: "up", title: "Good answer" }),
    down: button({ icon: "down", title: "Bad answer" }),
  };
  let current = feedback ?? null;

  const show = () => {
    for (const [rating, thumb] of Object.entries(thumbs)) {
      thumb.setAttribute("aria-pressed", String(current?.rating === rating));
    }
  };
  const save = async (wanted) => {
    try {
      await (wanted ? call(path, { method: "PUT", body: wanted }) : call(path, { method: "DELETE" }));
      current = wanted;
      return true;
    } catch (error) {
      place.replaceChildren(element("p", { className: "failed", textContent: explain(error).text, role: "alert" }));
      return false;
    } finally {
      show();
    }
  };

  for (const [rating, thumb] of Object.entries(thumbs)) {
    thumb.addEventListener("click", async () => {
      const wanted = current?.rating === rating ? null : { rating };
      if (!(await save(wanted))) return;
      place.replaceChildren();
      if (!wanted) return;
      place.append(form(rating, place, save, thumb));
      place.scrollIntoView({ block: "nearest" });
    });
  }
  show();
  return { buttons: Object.values(thumbs), place };
}

function form(rating, place, save, thumb) {
  const boxes = REASONS[rating].map((reason) => element("input", { type: "checkbox", value: reason, name: "reason" }));
  const choices = boxes.map((box) => element("label", { className: "choice" }, box, box.value));
  const comment = element("textarea", { rows: 2, maxLength: COMMENT_CHARACTERS });
  const legend = element("legend", { textContent: rating === "up" ? "What was good?" : "What was wrong?" });
  const send = element("button", { textContent: "Send feedback", className: "primary small" });
  const close = button({ text: "Close" });
  const made = element(
    "form",
    {},
    element("fieldset", {}, legend, ...choices),
    element("label", { className: "comment" }, "Comment", comment),
    element("div", { className: "row" }, send, close),
  );
  const end = (text) => {
    place.replaceChildren(...(text ? [element("p", { textContent: text, role: "status" })] : []));
    thumb.focus();
  };
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    const reasons = boxes.filter((box) => box.checked).map((box) => box.value);
    if (await save({ rating, reasons, comment: comment.value.trim() })) end("Thank you.");
  });
  made.addEventListener("keydown", (event) => event.key === "Escape" && end(""));
  close.addEventListener("click", () => end(""));
  return made;
}
