// The page: signing in, typing, and what goes between its parts.
import { call, session, SIGNED_OUT } from "./api.js";
import { Announcer } from "./announcer.js";
import { Chat } from "./chat.js";
import { Conversations } from "./conversations.js";
import { $, element } from "./elements.js";
import { explain } from "./errors.js";
import { visible } from "./markdown.js";
import { prepareSignIn } from "./signin.js";
import { forget, store, stored } from "./storage.js";
import { topicCards } from "./topics.js";
import { showUsage } from "./usage.js";

const DRAFT = "draft";
const MODEL = "model";
const NEW_TITLE = "New conversation";
const isId = (text) => /^[0-9A-Z]{26}$/.test(text);

const chat = new Chat(new Announcer($("announcer")), {
  changed: () => void refresh(),
  moved,
  busy(isBusy) {
    $("send").hidden = isBusy;
    $("stop").hidden = !isBusy;
    $("conversation").setAttribute("aria-busy", String(isBusy));
  },
  tell,
  edit,
});
const conversations = new Conversations({
  open: (id) => void open(id),
  renamed: (id, title) => id === chat.id && show(title),
  removed: (id) => id === chat.id && startNew(),
  failed: (error) => tell(explain(error).text, true),
});

function tell(text, failed = false) {
  $("status").textContent = text;
  $("status").classList.toggle("failed", failed);
}

/** Puts a question back to be changed, unless something else was typed meanwhile. */
function edit(question) {
  if ($("message").value.trim()) return false;
  type(question);
  $("message").focus();
  return true;
}

function type(text) {
  $("message").value = text;
  if (text) store(DRAFT, text);
  else forget(DRAFT);
}

function show(title) {
  $("title").textContent = visible(title || NEW_TITLE);
  document.title = title ? `${visible(title)} – Word Up! Bot` : "Word Up! Bot";
}

function moved(id) {
  conversations.select(id);
  show(id ? conversations.titleOf(id) : "");
  const address = id ? `#${id}` : location.pathname + location.search;
  if (location.hash.slice(1) !== (id ?? "")) history.pushState(null, "", address);
}

async function open(id) {
  closeSide();
  tell("");
  try {
    show(await chat.open(id));
    $("message").focus({ preventScroll: true });
  } catch (error) {
    tell(explain(error).text, true);
    if (chat.id === null) moved(null);
  }
}

function startNew() {
  closeSide();
  tell("");
  chat.clear();
  $("message").focus();
}

/** What a turn changes beside its conversation; a failure here is told by the next action that meets it. */
async function refresh() {
  if (!session.isOpen()) return;
  await Promise.allSettled([showUsage(), conversations.load()]);
  conversations.select(chat.id);
  if (chat.id) show(conversations.titleOf(chat.id));
}

async function showModels() {
  const { data } = await call("v1/models");
  const chosen = stored(MODEL);
  const options = data.map((model) =>
    element("option", {
      value: model.default ? "" : model.id,
      textContent: model.id.replace(/^\w+:/, ""),
      title: `$${model.input_usd_per_million} and $${model.output_usd_per_million} a million tokens`,
      selected: model.id === chosen || (!chosen && model.default),
    }),
  );
  $("model").replaceChildren(...options);
  $("model").closest("label").hidden = data.length < 2;
}

async function signedIn() {
  $("sign-in").hidden = true;
  $("app").hidden = false;
  tell("");
  $("message").value = stored(DRAFT) ?? "";
  $("message").focus();
  const pending = chat.pending();
  const shown = pending ? chat.conversationOf(pending) : location.hash.slice(1);
  const loaded = Promise.allSettled([refresh(), showModels()]);
  if (isId(shown)) await open(shown);
  if (pending) await chat.resume(pending);
  await loaded;
}

const signIn = prepareSignIn(() => signedIn());

async function enter() {
  $("app").hidden = true;
  $("sign-in").hidden = session.isOpen();
  if (await signIn.begin()) await signedIn();
}

window.addEventListener(SIGNED_OUT, ({ detail }) => {
  signIn.tell(explain(detail).text, true);
  void enter();
});
window.addEventListener("hashchange", () => {
  const id = location.hash.slice(1);
  if (isId(id) && id !== chat.id) void open(id);
  if (!id && chat.id) startNew();
});
window.addEventListener("offline", () => tell("You are offline. What you type is kept.", true));
window.addEventListener("online", () => tell("You are online again."));

$("sign-out").addEventListener("click", () => {
  session.end();
  for (const name of [DRAFT, MODEL, "pending"]) forget(name);
  history.replaceState(null, "", location.pathname + location.search);
  location.reload();
});

chat.model = () => $("model").value || undefined;
$("model").addEventListener("change", () => ($("model").value ? store(MODEL, $("model").value) : forget(MODEL)));
$("new").addEventListener("click", startNew);
$("topics").replaceChildren(
  ...topicCards((question) => {
    if (!chat.running) void chat.ask(question);
    $("message").focus();
  }),
);

$("message").addEventListener("input", () => type($("message").value));
$("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("ask").requestSubmit();
});
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = $("message").value;
  if (!question.trim() || chat.running) return;
  type("");
  tell("");
  void chat.ask(question);
});
$("stop").addEventListener("click", () => {
  void chat.stop();
  $("message").focus();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "k" && (event.ctrlKey || event.metaKey) && !$("app").hidden) {
    event.preventDefault();
    openSide();
    $("search").focus();
  } else if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open], :popover-open")) {
    if ($("side").classList.contains("open")) closeSide();
    else void chat.stop();
  }
});

const narrow = matchMedia("(max-width: 52rem)");
function openSide() {
  if (!narrow.matches) return;
  $("side").classList.add("open");
  $("menu").setAttribute("aria-expanded", "true");
  $("main").inert = true;
  $("close-side").focus();
}
function closeSide() {
  if (!$("side").classList.contains("open")) return;
  $("side").classList.remove("open");
  $("menu").setAttribute("aria-expanded", "false");
  $("main").inert = false;
  $("menu").focus();
}
$("menu").addEventListener("click", openSide);
$("close-side").addEventListener("click", closeSide);
$("veil").addEventListener("click", closeSide);
narrow.addEventListener("change", closeSide);

const themes = ["system", "light", "dark"];
function showTheme() {
  const theme = document.documentElement.dataset.theme ?? "system";
  const name = { system: "Auto", light: "Light", dark: "Dark" }[theme];
  $("theme").querySelector("span").textContent = name;
  $("theme").setAttribute("aria-label", `Theme: ${name}`);
  return theme;
}
$("theme").addEventListener("click", () => {
  const next = themes[(themes.indexOf(showTheme()) + 1) % themes.length];
  if (next === "system") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("wordup.theme");
  } else {
    document.documentElement.dataset.theme = next;
    localStorage.setItem("wordup.theme", next);
  }
  showTheme();
});
showTheme();

await enter();
