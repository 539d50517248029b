// Markdown to nodes. What models and documents write is untrusted: HTML in it is text, links go to the web or to mail,
// images are links, and what comes out passes the sanitiser.
import markdownIt from "./vendor/markdown-it.esm.min.mjs";
import "./vendor/purify.min.js";

const LINK = /^(https?:\/\/|mailto:)/i;
const ALLOWED = {
  ALLOWED_TAGS: "p br strong em s code pre ul ol li blockquote h3 hr table thead tbody tr th td a span div".split(" "),
  ALLOWED_ATTR: ["href", "title", "start", "class"],
  ALLOWED_URI_REGEXP: LINK,
  ADD_URI_SAFE_ATTR: ["start"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
// Overrides and isolates reorder what stands around them; tags are invisible: both are shown as what they are.
const HIDDEN = /[\u202A-\u202E\u2066-\u2069\u{E0000}-\u{E007F}]/gu;

// Each nested list takes two levels. What is deeper fits on no screen and stands there as it was written.
const DEEPEST = 20;

const md = markdownIt({ html: false, linkify: true, breaks: false, maxNesting: DEEPEST + 2 });
md.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
md.validateLink = (url) => LINK.test(url.trim());
const { escapeHtml } = md.utils;
const purify = globalThis.DOMPurify;

purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A" || !node.hasAttribute("href")) return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
  if (!node.hasAttribute("title")) node.setAttribute("title", node.getAttribute("href"));
});

md.renderer.rules.image = (tokens, at, options, env, renderer) => {
  const text = renderer.renderInlineAsText(tokens[at].children ?? [], options, env) || "image";
  const depth = tokens.slice(0, at).reduce((sum, { type }) => sum + (type === "link_open") - (type === "link_close"), 0);
  const source = tokens[at].attrGet("src") ?? "";
  if (depth || !LINK.test(source)) return `<span class="image">${escapeHtml(text)}</span>`;
  return `<a class="image" href="${escapeHtml(source)}">${escapeHtml(text)}</a>`;
};

// One level for all: an answer stands below its own heading, and may begin with any level.
md.renderer.rules.heading_open = (tokens, at) => `<h3 class="level-${tokens[at].tag.slice(1)}">`;
md.renderer.rules.heading_close = () => "</h3>\n";
md.renderer.rules.table_open = () => '<div class="table"><table>';
md.renderer.rules.table_close = () => "</table></div>\n";
for (const cell of ["th_open", "td_open"]) {
  md.renderer.rules[cell] = (tokens, at) => {
    const [, side] = /text-align:(\w+)/.exec(tokens[at].attrGet("style") ?? "") ?? [];
    return side ? `<${tokens[at].tag} class="${side}">` : `<${tokens[at].tag}>`;
  };
}
md.renderer.rules.fence = (tokens, at) => {
  const language = /^[\w+#.-]{1,30}/.exec(tokens[at].info.trim())?.[0] ?? "";
  return codeBlock(tokens[at].content, language.toLowerCase());
};
md.renderer.rules.code_block = (tokens, at) => codeBlock(tokens[at].content, "");

function codeBlock(text, language) {
  const head = `<div class="code-head"><span>${escapeHtml(language || "text")}</span></div>`;
  return `<div class="code">${head}<pre><code class="language-${escapeHtml(language)}">${escapeHtml(text)}</code></pre></div>`;
}

/** Text with its line ends as \n and its hidden characters shown. */
export function visible(text) {
  const name = (character) => `⟦U+${character.codePointAt(0).toString(16).toUpperCase()}⟧`;
  return text.replace(/\r\n?/g, "\n").replace(HIDDEN, name);
}

/** A document fragment of HTML that may hold anything. */
export const sanitized = (html) => purify.sanitize(html, ALLOWED);

/**
 * The top-level blocks of a text: `line` is where each begins, `tokens` what it is made of. A block is a paragraph, a
 * list, a table, a code block...
 */
export function blocks(text) {
  const found = [];
  let open = null;
  let deep = false;
  for (const token of md.parse(text, {})) {
    if (token.level === 0 && token.nesting >= 0) {
      open = { line: token.map?.[0] ?? 0, tokens: [], source: null };
      found.push(open);
    }
    open.tokens.push(token);
    deep ||= token.level >= DEEPEST;
  }
  return deep ? found.map((block, at) => leftAlone(block, text, found[at + 1]?.line)) : found;
}

function leftAlone(block, text, end) {
  const isDeep = block.tokens.some(({ level }) => level >= DEEPEST);
  return isDeep ? { ...block, source: text.split("\n").slice(block.line, end).join("\n") } : block;
}

/** The nodes of a block. */
export function nodes({ tokens, source }) {
  const html = source === null ? md.renderer.render(tokens, md.options, {}) : `<p class="plain">${escapeHtml(source)}</p>`;
  const fragment = sanitized(html);
  return [...fragment.children].map((element) => {
    element.dir = "auto";
    for (const inner of element.querySelectorAll("li, td, th, p")) inner.dir = "auto";
    for (const each of [element, ...element.querySelectorAll(".code, pre, .table")]) {
      if (each.matches(".code")) each.dir = "ltr";
      if (each.matches("pre")) focusable(each, "Code");
      if (each.matches(".table")) focusable(each, "Table");
    }
    return element;
  });
}

/** What scrolls sideways has to be reached without a mouse. */
function focusable(element, name) {
  element.tabIndex = 0;
  element.setAttribute("role", "region");
  element.setAttribute("aria-label", name);
}
