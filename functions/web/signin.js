// Signing in: with an access key, or not at all where the bot asks for none.
import { openSession, Refused, session } from "./api.js";
import { $ } from "./elements.js";
import { explain } from "./errors.js";

export function prepareSignIn(signedIn) {
  const tell = (text, failed = false) => {
    $("sign-in-status").textContent = text;
    $("sign-in-status").classList.toggle("failed", failed);
  };

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

  return {
    tell,
    /** Whether there is a session, after what can be done without the person. */
    async begin() {
      if (session.isOpen()) return true;
      try {
        await openSession(null);
        return true;
      } catch (error) {
        if (!(error instanceof Refused)) tell(explain(error).text, true);
        return false;
      }
    },
  };
}
