// Signing in with an OpenID Connect issuer: the authorization code flow with PKCE (RFC 7636), as a public client.
import { SignInFailed } from "./errors.js";
import { forget, store, stored } from "./storage.js";

const LEFT = "sign-in";
const DEFAULT_SECONDS = 300;

const redirectAddress = () => location.origin + location.pathname;

/** Goes to the issuer's page; the browser comes back to this one. Throws SignInFailed. */
export async function leave({ issuer, client_id: client, scopes }) {
  const { authorization_endpoint: endpoint } = await discovered(issuer);
  const [verifier, state] = [random(), random()];
  store(LEFT, { verifier, state, hash: location.hash });
  const address = new URL(endpoint);
  const asked = {
    client_id: client,
    response_type: "code",
    scope: scopes.join(" "),
    redirect_uri: redirectAddress(),
    state,
    code_challenge: await challenge(verifier),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(asked)) address.searchParams.set(name, value);
  location.assign(address);
}

/** Whether the issuer has just sent the browser back. */
export function isBack() {
  const query = new URLSearchParams(location.search);
  return query.has("state") && (query.has("code") || query.has("error"));
}

/** `{token, expires}` for the code that the browser came back with. Throws SignInFailed. */
export async function comeBack({ issuer, audience, client_id: client }) {
  const query = new URLSearchParams(location.search);
  const left = stored(LEFT);
  forget(LEFT);
  history.replaceState(null, "", location.pathname + (left?.hash ?? ""));
  if (!left || query.get("state") !== left.state) throw new SignInFailed("This sign-in was not begun here. Try again.");
  const { issuer: name, token_endpoint: endpoint } = await discovered(issuer);
  // An answer of another issuer (RFC 9207).
  if (query.has("iss") && query.get("iss") !== name) throw new SignInFailed("Another service answered. Try again.");
  if (query.has("error")) throw new SignInFailed(query.get("error_description") ?? `The sign-in ended: ${query.get("error")}.`);
  const form = {
    grant_type: "authorization_code",
    code: query.get("code"),
    redirect_uri: redirectAddress(),
    client_id: client,
    code_verifier: left.verifier,
  };
  const given = await json(fetch(endpoint, { method: "POST", body: new URLSearchParams(form), credentials: "omit" }));
  const token = audience === client ? given.id_token : given.access_token;
  if (!token) throw new SignInFailed("The sign-in service gave no token.");
  const seconds = Number(given.expires_in) || DEFAULT_SECONDS;
  return { token, expires: new Date(Date.now() + seconds * 1000) };
}

async function discovered(issuer) {
  const found = await json(fetch(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, { credentials: "omit" }));
  if (found.issuer !== issuer) throw new SignInFailed("The sign-in service is not the one that this bot names.");
  return found;
}

async function json(answer) {
  try {
    const response = await answer;
    if (response.ok) return await response.json();
  } catch {
    // told below, as an answer that is none
  }
  throw new SignInFailed("The sign-in service cannot be reached, or refuses this page. Try again later.");
}

/** 43 characters, of 32 random bytes. */
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

async function challenge(verifier) {
  if (!crypto.subtle) throw new SignInFailed("Signing in needs https.");
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
