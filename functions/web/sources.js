// The passages that an answer was given from: a numbered list, and its numbers in the text.
import { element } from "./elements.js";
import { visible } from "./markdown.js";

const MARK = /\[(\d{1,2})\]/g;
let lists = 0;

/** The list, null where there are none. Marks like [1] in `body` become links to its entries. */
export function sourceList(sources, body) {
  if (!sources.length) return null;
  const prefix = `source-${++lists}-`;
  const entries = sources.map((source, at) => entry(source, `${prefix}${at + 1}`));
  linkMarks(body, prefix, sources);
  const heading = element("h3", { textContent: sources.length === 1 ? "Source" : "Sources" });
  return element("section", { className: "sources" }, heading, element("ol", {}, ...entries));
}

function entry({ id, title, url }, name) {
  const text = visible(title || id);
  const address = webAddress(url);
  const link = address && element("a", { href: address.href, target: "_blank", rel: "noopener noreferrer" }, text);
  const children = link ? [link, " ", element("span", { textContent: address.host })] : [text];
  return element("li", { id: name, tabIndex: -1, dir: "auto" }, ...children);
}

/** Documents are untrusted: their addresses may be anything. */
function webAddress(url) {
  const address = url ? URL.parse(url) : null;
  return address && ["http:", "https:"].includes(address.protocol) ? address : null;
}

function linkMarks(body, prefix, sources) {
  const walker = document.createTreeWalker(body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.data.includes("[") && !node.parentElement.closest("a, code, button")) texts.push(node);
  }
  for (const node of texts) {
    const parts = [];
    let end = 0;
    for (const { 0: mark, 1: number, index } of node.data.matchAll(MARK)) {
      const source = sources[number - 1];
      if (!source) continue;
      parts.push(node.data.slice(end, index), citation(number, source, prefix));
      end = index + mark.length;
    }
    if (parts.length) node.replaceWith(...parts, node.data.slice(end));
  }
}

function citation(number, source, prefix) {
  const link = element("a", {
    className: "citation",
    href: `#${prefix}${number}`,
    textContent: number,
    attributes: { "aria-label": `Source ${number}: ${visible(source.title || source.id)}` },
  });
  // Not a step in the browser's history, which has the conversations.
  link.addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById(`${prefix}${number}`).focus();
  });
  return link;
}
