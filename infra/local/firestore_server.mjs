// Serves @firestore-emulator/server on one address: node firestore_server.mjs HOST PORT
//
// The package (0.3.15) ignores update-time preconditions, stamps two writes of one millisecond alike, and when a write
// of a commit is refused keeps those before it. Real Firestore does none of that, and a store that relies on it must
// not pass here by luck nor fail for nothing, so these three are completed before a commit reaches the package.

import { ServerCredentials, status } from "@grpc/grpc-js";
import { FirestoreServer } from "@firestore-emulator/server";

const COMMIT = "/google.firestore.v1.Firestore/Commit";
const [host, port] = process.argv.slice(2);
const { server, state } = new FirestoreServer();

function refusal(write) {
  if (!write.has_current_document) return null;
  const { metadata } = state.getDocument(write.has_delete ? write.delete : write.update.name);
  const { has_exists, exists, has_update_time, update_time } = write.current_document;
  if (has_exists && exists !== metadata.hasExist)
    return exists ? [status.NOT_FOUND, "no such document"] : [status.ALREADY_EXISTS, "the document exists"];
  if (has_update_time && !metadata.hasExist) return [status.NOT_FOUND, "no such document"];
  if (has_update_time && update_time.seconds * 1000 + update_time.nanos / 1e6 !== metadata.updatedAt.getTime())
    return [status.FAILED_PRECONDITION, "the stored version does not match the required base version"];
  return null;
}

const commit = server.handlers.get(COMMIT);
const inner = commit.func;
commit.func = (call, callback) => {
  const [code, message] = call.request.writes.map(refusal).find(Boolean) ?? [];
  if (code) callback({ code, message }, null);
  else inner(call, callback);
};

let last = 0;
const write = state.writeV1Document.bind(state);
let stamps = new WeakMap();
state.writeV1Document = (date, ...rest) => {
  if (!stamps.has(date)) stamps.set(date, new Date((last = Math.max(date.getTime(), last + 1))));
  return write(stamps.get(date), ...rest);
};

server.bindAsync(`${host}:${port}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
