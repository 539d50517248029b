// Code blocks: a button that copies, and colours, whose code is fetched when the first block needs it.
import { sanitized } from "./markdown.js";
import { button } from "./elements.js";

const LANGUAGES = new Set(
  "bash csharp diff dockerfile go http ini java javascript json nginx powershell python rust shell sql typescript xml yaml".split(" "),
);
const ALIASES = {
  "c#": "csharp", console: "shell", cs: "csharp", docker: "dockerfile", golang: "go", html: "xml", js: "javascript",
  jsonc: "json", patch: "diff", ps1: "powershell", py: "python", rs: "rust", sh: "bash", "shell-session": "shell",
  svg: "xml", toml: "ini", ts: "typescript", yml: "yaml", zsh: "bash", hcl: "hcl", terraform: "hcl", tf: "hcl",
};
// Longer ones stay in one colour: finding the words in them would hold the page up.
const MOST_CHARACTERS = 8_000;
const COPIED_MILLISECONDS = 2_000;

let library = null;
const loading = new Map();

/** Gives the code blocks among these elements, and within them, their button and colours. */
export function dress(elements) {
  for (const element of elements) {
    const within = element.matches(".code") ? [element] : element.querySelectorAll(".code");
    for (const block of within) {
      if (!block.querySelector("button")) block.querySelector(".code-head").append(copyButton(block));
      void colour(block.querySelector("code"));
    }
  }
}

function copyButton(block) {
  const made = button({ icon: "copy", text: "Copy", title: "Copy code" });
  made.addEventListener("click", async () => {
    const copied = await copy(block.querySelector("code").textContent);
    made.lastChild.textContent = copied ? "Copied" : "Not copied";
    setTimeout(() => (made.lastChild.textContent = "Copy"), COPIED_MILLISECONDS);
  });
  return made;
}

/** Whether the browser let us. */
export const copy = (text) => navigator.clipboard?.writeText(text).then(() => true, () => false) ?? false;

async function colour(code) {
  const said = /language-(\S+)/.exec(code.className)?.[1] ?? "";
  const language = ALIASES[said] ?? said;
  const text = code.textContent;
  if ((language !== "hcl" && !LANGUAGES.has(language)) || text.length > MOST_CHARACTERS) return;
  const highlighter = await withLanguage(language).catch(() => null); // not to be had: the text stays as it is
  if (!highlighter) return;
  await new Promise((resolve) => setTimeout(resolve)); // a task of its own
  code.replaceChildren(sanitized(highlighter.highlight(text, { language, ignoreIllegals: true }).value));
}

async function withLanguage(name) {
  library ??= import("./vendor/highlight.min.js");
  const highlighter = (await library).default;
  const file = name === "hcl" ? "./hcl.js" : `./vendor/languages/${name}.min.js`;
  if (!loading.has(name)) {
    loading.set(name, import(file).then((grammar) => highlighter.registerLanguage(name, grammar.default)));
  }
  await loading.get(name);
  return highlighter;
}
