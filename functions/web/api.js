// The bot's HTTP interface, relative to this page: it works under any path.
import { forget, stored, store } from "./storage.js";

const SESSION = "session";
const RENEW_SECONDS = 300;

/** The bot said no: `problem` is its problem document, `seconds` what Retry-After said, else null. */
export class Refused extends Error {
  constructor(problem, seconds) {
    super(problem.detail);
    this.problem = problem;
    this.seconds = seconds;
  }
}

/** No answer, or not all of it. */
export class Unreachable extends Error {}

export const session = {
  isOpen: () => stored(SESSION) !== null,
  /** An issuer's token is renewed by the issuer alone. */
  keep(token, expires, { isRenewable = true } = {}) {
    store(SESSION, { token, expires: new Date(expires).getTime(), isRenewable });
  },
  end: () => forget(SESSION),
};

/** Fired on `window` when the bot no longer takes the session. */
export const SIGNED_OUT = "wordup:signed-out";

let renewal = null;

/** Opens a session with an access key, which is sent and forgotten; without one where the bot asks for none. */
export async function openSession(key) {
  const headers = key ? { "x-api-key": key } : {};
  const opened = await (await send("v1/sessions", { method: "POST", headers, body: {} })).json();
  session.keep(opened.token, opened.expires_at);
}

/** The decoded JSON of an answer, null where there is none. Throws Refused, Unreachable. */
export async function call(path, options = {}) {
  const response = await request(path, options);
  return response.status === 204 ? null : response.json().catch(lost);
}

/** The answer itself. */
export async function request(path, options = {}) {
  await renew();
  const headers = { ...options.headers };
  const current = stored(SESSION);
  if (current) headers.authorization = `Bearer ${current.token}`;
  try {
    return await send(path, { ...options, headers });
  } catch (error) {
    // A late answer to the session before says nothing about this one.
    if (error instanceof Refused && error.problem.status === 401 && stored(SESSION)?.token === current?.token) {
      session.end();
      window.dispatchEvent(new CustomEvent(SIGNED_OUT, { detail: error }));
    }
    throw error;
  }
}

async function renew() {
  const current = stored(SESSION);
  const left = current ? current.expires - Date.now() : 0;
  if (left <= 0 || left > RENEW_SECONDS * 1000 || !current.isRenewable) return;
  const headers = { authorization: `Bearer ${current.token}` };
  renewal ??= send("v1/sessions", { method: "POST", headers, body: {} })
    .then((response) => response.json())
    .then((opened) => session.keep(opened.token, opened.expires_at))
    .catch(() => {}) // the old token is good for a while yet, and its end is told by the request that meets it
    .finally(() => (renewal = null));
  await renewal;
}

async function send(path, { method = "GET", headers = {}, body, signal }) {
  const options = { method, headers: { ...headers }, signal };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options).catch(lost);
  if (response.ok) return response;
  throw new Refused(await problemOf(response), Number(response.headers.get("retry-after")) || null);
}

/** The problem document; what stands before the bot (a gateway, a proxy) fails in words of its own. */
async function problemOf(response) {
  const about = { status: response.status, code: "", detail: "", request_id: response.headers.get("x-request-id") ?? "" };
  const told = await response.json().catch(() => null);
  return told && typeof told.code === "string" ? { ...about, ...told } : about;
}

function lost(error) {
  if (error.name === "AbortError") throw error;
  throw new Unreachable(error.message);
}
