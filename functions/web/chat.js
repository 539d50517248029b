// The plain page: sign in with an access key, ask, read the answer as it comes. Text is only ever text here.
const $ = (id) => document.getElementById(id);
const KEY = "wordup.token"; // sessionStorage: gone with the tab
let conversation = null;
let turn = null;

class Refused extends Error {}

async function send(path, { headers = {}, ...options }) {
  const token = sessionStorage.getItem(KEY);
  const authorization = token ? { authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", ...authorization, ...headers },
    ...options,
  });
  if (response.ok) return response;
  const problem = await response.json();
  if (response.status === 401) signOut();
  throw new Refused(`${problem.detail} ${problem.mend}`);
}

async function* events(response) {
  let rest = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + chunk).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const name = /^event: (.*)$/m.exec(block);
      const data = /^data: (.*)$/m.exec(block);
      if (name && data) yield [name[1], JSON.parse(data[1])];
    }
  }
}

function say(kind, text) {
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text;
  $("conversation").append(item);
  item.scrollIntoView({ block: "end" });
  return item;
}

function tell(text, failed = false) {
  $("status").textContent = text;
  $("status").classList.toggle("failed", failed);
}

function showSignedIn(signedIn) {
  $("sign-in").hidden = signedIn;
  $("ask").hidden = !signedIn;
  (signedIn ? $("message") : $("key")).focus();
}

function signOut() {
  sessionStorage.removeItem(KEY);
  showSignedIn(false);
}

async function ask(message) {
  const response = await send("chat", {
    headers: { accept: "text/event-stream", "idempotency-key": crypto.randomUUID() },
    body: JSON.stringify({ message, ...(conversation && { conversation_id: conversation }) }),
  });
  const answer = say("answer", "");
  let done = false;
  for await (const [name, data] of events(response)) {
    if (name === "start") [conversation, turn] = [data.conversation_id, data.turn_id];
    if (name === "delta") answer.textContent += data.text;
    if (name === "done") {
      done = true;
      answer.textContent = data.message;
      tell(`${data.model}, ${data.usage.cost_usd} USD`);
    }
    if (name === "error" || name === "blocked") throw new Refused(`${data.detail} ${data.mend}`);
  }
  if (!done) throw new Refused("The connection broke before the answer was whole. Send it again.");
}

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const opened = await send("v1/sessions", { headers: { "x-api-key": $("key").value.trim() }, body: "{}" });
    sessionStorage.setItem(KEY, (await opened.json()).token);
    $("key").value = "";
    tell("");
    showSignedIn(true);
  } catch (error) {
    tell(error instanceof Refused ? error.message : "The bot cannot be reached.", true);
  }
});

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const message = $("message").value;
  const question = say("question", message);
  $("message").value = "";
  $("stop").hidden = false;
  tell("Answering…");
  try {
    await ask(message);
  } catch (error) {
    question.remove();
    if (!$("message").value) $("message").value = message; // nothing typed is lost
    tell(error instanceof Refused ? error.message : "The connection was lost. Send it again.", true);
  } finally {
    $("stop").hidden = true;
    turn = null;
  }
});

$("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});

$("stop").addEventListener("click", () => turn && send(`v1/turns/${turn}/stop`, {}).catch(() => {}));

// A deployment without keys (`open`) signs its one user in by itself.
try {
  if (!sessionStorage.getItem(KEY)) {
    const response = await fetch("v1/sessions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    if (response.ok) sessionStorage.setItem(KEY, (await response.json()).token);
  }
} catch {
  tell("The bot cannot be reached.", true);
}
showSignedIn(Boolean(sessionStorage.getItem(KEY)));
