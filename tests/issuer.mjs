// An OpenID provider on this machine: panva's oidc-provider, certified by the OpenID Foundation, with people who sign in
// by any name. `node tests/issuer.mjs PORT AUDIENCE`; tests/issuer.py starts it.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [port, audience] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
let keys = newKeys();
let down = false;
const asked = {}; // path -> how often

function newKeys() {
  const pairs = [
    ["RS256", generateKeyPairSync("rsa", { modulusLength: 2048 })],
    ["ES256", generateKeyPairSync("ec", { namedCurve: "P-256" })],
  ];
  return pairs.map(([alg, { privateKey }]) => ({ ...privateKey.export({ format: "jwk" }), alg, use: "sig" }));
}

const client = (client_id, more) => ({
  client_id,
  application_type: "native",
  token_endpoint_auth_method: "none",
  redirect_uris: ["http://127.0.0.1/signed-in", "http://127.0.0.1/"],
  ...more,
});

function serving() {
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [client("page"), client("other"), client("elliptic", { id_token_signed_response_alg: "ES256" })],
    clientBasedCORS: () => true,
    cookies: { keys: ["of the tests"] },
    ttl: { AccessToken: 600, IdToken: 600, Session: 600, Grant: 600, Interaction: 600 },
    features: {
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          scope: "openid",
          audience: resource === "urn:bot" ? audience : resource,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "ES256" } },
        }),
        useGrantedResource: () => true,
      },
    },
  });
  return provider.callback();
}

let answer = serving();
createServer((request, response) => {
  const path = new URL(request.url, issuer).pathname;
  asked[path] = (asked[path] ?? 0) + 1;
  if (path.startsWith("/test/")) {
    if (path === "/test/rotate") {
      keys = newKeys();
      answer = serving();
    }
    if (path === "/test/down") down = true;
    if (path === "/test/up") down = false;
    response.end(JSON.stringify(asked));
  } else if (down) {
    response.writeHead(503).end();
  } else {
    answer(request, response);
  }
}).listen(Number(port), "127.0.0.1");
