// What the tab remembers until it is closed: the session's token, what was typed, the question under way.
const PREFIX = "wordup.";

export function stored(name) {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

export const store = (name, value) => sessionStorage.setItem(PREFIX + name, JSON.stringify(value));

export const forget = (name) => sessionStorage.removeItem(PREFIX + name);
