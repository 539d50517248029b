// Signing in, as the bot wants it: with an access key, with an issuer's token, or not at all.
import { call, openSession, session } from "./api.js";
import { $ } from "./elements.js";
import { explain } from "./errors.js";

export function prepareSignIn(signedIn) {
  const tell = (text, failed = false) => {
    $("sign-in-status").textContent = text;
    $("sign-in-status").classList.toggle("failed", failed);
  };
  let how = { mode: "key" };

  $("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = $("key").value.trim();
    if (!key) return;
    tell("Signing in…");
    try {
      await openSession(key);
    } catch (error) {
      return tell(explain(error).text, true);
    }
    $("key").value = ""; // it opened the session, and is not kept
    tell("");
    await signedIn();
  });

  $("issuer").addEventListener("click", async () => {
    tell("Signing in…");
    const { leave } = await import("./oidc.js");
    await leave(how).catch((error) => tell(explain(error).text, true));
  });

  /** Takes the token of an issuer that has just sent the browser back. */
  async function comeBack() {
    const { comeBack: exchange, isBack } = await import("./oidc.js");
    if (!isBack()) return;
    const { token, expires } = await exchange(how);
    session.keep(token, expires, { isRenewable: false });
  }

  /** Whether there is a session, after what can be done without the person. */
  async function begin() {
    if (session.isOpen()) return true;
    try {
      how = await call("v1/auth");
      const isIssued = how.mode === "oidc";
      $("key-form").hidden = isIssued;
      $("issuer").hidden = !isIssued || !how.client_id;
      if (how.mode === "open") await openSession(null);
      if (isIssued && how.client_id) await comeBack();
      if (isIssued && !how.client_id) tell("This bot names no client for its page: use it by its HTTP interface.");
    } catch (error) {
      tell(explain(error).text, true);
    }
    $(how.mode === "oidc" ? "issuer" : "key").focus();
    return session.isOpen();
  }

  return { begin, tell };
}
