// What went wrong, in words for whoever asked. A test compares the codes with the bot's own.
import { Refused, Unreachable } from "./api.js";

// A code's words. `detail` tells more than they do where `own` is set; `again`: the same question may do another time.
export const WORDS = {
  malformed_json: { text: "The bot could not read what this page sent. Reload the page and try again." },
  bad_request: { text: "The bot did not understand this page. Reload it and try again." },
  invalid_field: { text: "That cannot be sent as it is.", own: true },
  unknown_field: { text: "This page and the bot are of different versions. Reload the page." },
  too_large: { text: "That is too long. Shorten it and send it again." },
  unsupported_media_type: { text: "The bot could not read what this page sent. Reload the page and try again." },
  missing_token: { text: "Sign in to go on. What you typed is still here." },
  invalid_token: { text: "Your session is no longer valid. Sign in again; what you typed is still here." },
  expired_token: { text: "Your session has ended. Sign in again; what you typed is still here." },
  wrong_access_key: { text: "This access key is unknown or was revoked. Check it, or ask the operator for a new one." },
  issuer_unavailable: { text: "The service that signs people in cannot be reached at the moment.", again: true },
  not_found: { text: "This is not there any more. It may have been deleted or have expired." },
  method_not_allowed: { text: "This page and the bot are of different versions. Reload the page." },
  conflict: { text: "The same thing is being changed elsewhere at this moment.", again: true },
  idempotency_mismatch: { text: "This question was sent before with other words. Send it again.", again: true },
  content_blocked: { text: "This message was blocked for its content. Rephrase it." },
  unknown_model: { text: "This model is not offered here. Choose another one." },
  model_retired: { text: "This model was shut down by its provider. Choose another one." },
  rate_limited: { text: "You are asking faster than is allowed here.", again: true },
  budget_exceeded: { text: "Today's budget is spent. It starts anew at midnight UTC; the operator can raise it." },
  internal_error: { text: "Something went wrong in the bot.", again: true },
  provider_error: { text: "The model's service failed. Nothing was recorded or charged.", own: true, again: true },
  provider_busy: { text: "The model's service is overloaded.", again: true },
  provider_timeout: { text: "The model did not answer in time.", again: true },
  endpoint_error: { text: "The service for images and video failed.", again: true },
  endpoint_busy: { text: "The service for images and video is busy or starting.", again: true },
  endpoint_timeout: { text: "The service for images and video gave no result in time. Ask for less." },
  out_of_time: { text: "The answer took too long. What had come by then may be in the conversation: reload it." },
  store_unavailable: { text: "The bot's database cannot be reached at the moment.", again: true },
  secret_unavailable: { text: "The bot cannot read one of its keys. The operator has to mend this." },
  configuration_error: { text: "The bot is not set up correctly. The operator has to mend this." },
};

const GATEWAY = { text: "The bot did not answer.", again: true };
const LOST = { text: "The connection was lost. What you typed is still here.", again: true };
const BUG = { text: "This page made a mistake. Reload it and try again." };

/** An issuer did not sign the person in; the message is for them. */
export class SignInFailed extends Error {}

/** `{text, again, reference}`: a sentence or two, whether to offer another try, the id that the operator can look up. */
export function explain(error) {
  if (error instanceof Unreachable) return { ...LOST, reference: "" };
  if (error instanceof SignInFailed) return { text: error.message, again: false, reference: "" };
  if (!(error instanceof Refused)) return { ...BUG, reference: "" };
  const { code, detail, request_id: reference = "" } = error.problem;
  const { text, own, again = false } = WORDS[code] ?? GATEWAY;
  return { text: [own && detail ? detail : text, pause(error.seconds)].filter(Boolean).join(" "), again, reference };
}

function pause(seconds) {
  if (!seconds || seconds > 3600) return "";
  return seconds < 90 ? `Wait ${seconds} s.` : `Wait ${Math.ceil(seconds / 60)} minutes.`;
}
