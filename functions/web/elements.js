// Making elements.
const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** An element with these properties and children; text is only ever text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  const { attributes = {}, ...rest } = properties;
  Object.assign(made, rest);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** One of the drawings in index.html. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  drawing.append(use);
  return drawing;
}

/** A button with a drawing and, or instead with a name only, a text. */
export function button({ icon: drawing, text = "", title = text, className = "quiet" }) {
  const children = [drawing && icon(drawing), text && element("span", { textContent: text })].filter(Boolean);
  const made = element("button", { type: "button", className, title }, ...children);
  if (!text || title !== text) made.setAttribute("aria-label", title);
  return made;
}

/** A dialog's button by its value, once it is closed; "" for Escape. The focus goes back by itself. */
export function asked(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}
