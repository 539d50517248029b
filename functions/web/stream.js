// A turn as it comes: the server's events, through broken connections.
import { Refused, request, Unreachable } from "./api.js";

const FINAL = new Set(["done", "blocked", "error"]);
const ATTEMPTS = 5;
// A turn whose caller was lost holds its key until it has ended, a few minutes at most.
const CONFLICTS = 60;
// The bot says something at least every 15 seconds once it has begun.
const SILENCE_SECONDS = 45;

/**
 * Yields `{name, data}` as the bot sends them, `lost` for a connection that broke, and `start` anew after it. The
 * Idempotency-Key makes the repeated question the same turn: it is answered once and paid once. Throws Refused where
 * the turn came to nothing, Unreachable where the connection does not come back. `isRepeated` says that it was sent
 * before, so that its first try may meet itself.
 */
export async function* turn(body, key, signal, isRepeated = false) {
  let attempts = 0;
  let conflicts = isRepeated ? 0 : null;
  for (;;) {
    try {
      for await (const event of once(body, key, signal)) {
        if (event.name === "blocked" || event.name === "error") throw new Refused(event.data, null);
        yield event;
        if (event.name === "done") return;
      }
      throw new Unreachable("the answer ended without its end");
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof Unreachable && ++attempts < ATTEMPTS) {
        conflicts ??= 0;
        yield { name: "lost", data: {} };
        await pause(2 ** (attempts - 2), signal);
      } else if (isOwnTwin(error) && conflicts !== null && ++conflicts < CONFLICTS) {
        await pause(conflicts < 3 ? 1 : (error.seconds ?? 1), signal);
      } else {
        throw error;
      }
    }
  }
}

/** The same turn, whose caller the bot has not missed yet. */
const isOwnTwin = (error) => error instanceof Refused && error.problem.code === "conflict";

/** Until the time is over and the browser is online. */
async function pause(seconds, signal) {
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  if (navigator.onLine) return;
  await new Promise((resolve) => {
    window.addEventListener("online", resolve, { once: true });
    signal.addEventListener("abort", resolve, { once: true });
  });
}

async function* once(body, key, signal) {
  const broken = new AbortController();
  const headers = { accept: "text/event-stream", "idempotency-key": key };
  const either = AbortSignal.any([signal, broken.signal]);
  const response = await request("chat", { method: "POST", headers, body, signal: either });
  let timer = 0;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => broken.abort(), SILENCE_SECONDS * 1000);
  };
  try {
    for await (const event of events(response.body, heard)) {
      yield event;
      if (FINAL.has(event.name)) return;
    }
  } catch (error) {
    if (error instanceof Refused || signal.aborted) throw error;
    throw new Unreachable(error.message);
  } finally {
    clearTimeout(timer);
  }
}

/** Server-sent events as the bot writes them: one `event` line and one `data` line each. */
async function* events(stream, heard) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const name = /^event: (.*)$/m.exec(block);
        const data = /^data: (.*)$/m.exec(block);
        if (name && data) yield { name: name[1], data: JSON.parse(data[1]) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
