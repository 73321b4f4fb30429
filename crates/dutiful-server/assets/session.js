// Who is signed in and what they may do, learned from the server and followed by every page.

import { get, post, Problem, remove, SESSION, whenRefused } from "./api.js";
import { useEffect, useState } from "./vendor/hooks.js";

/** A server that did not say is asked again after this time. */
const AGAIN_MS = 3000;

/** What the server said last; `word` tells the one who looks what became of their session. */
let session = {
  known: false, open: false, actor: null, scopes: [], password: false, problem: null, word: "",
};
const listeners = new Set();
let learning = null;

function set(next) {
  session = { ...session, ...next };
  listeners.forEach((listener) => listener(session));
}

const signedIn = () => session.known && (session.open || session.actor !== null);

async function ask(out) {
  try {
    const said = await get(SESSION);
    const inside = said.open || said.actor !== null;
    // Who was at work is told why the page went; who was not has been told before.
    const why = session.open ? "This server asks who you are now."
      : out || "You are not signed in any more.";
    const word = inside ? "" : signedIn() ? why : session.word;
    set({ ...said, known: true, problem: null, word });
  } catch (problem) {
    set({ problem });
    setTimeout(learn, AGAIN_MS);
  }
  learning = null;
}

/** Asks the server who is signed in; many who want to know at once ask once. */
export const learn = () => (learning ||= ask());

/** Does what makes the session another one; requests that are refused meanwhile ask nothing. */
async function change(work, out) {
  await learning;
  const done = work();
  learning = done.catch(() => {}).then(() => ask(out));
  const answer = await done;
  await learning;
  return answer;
}

/** Signs in with `{ password }` or `{ token }`; what the server refuses is thrown. */
export async function signIn(credential) {
  await change(() => post(SESSION, credential));
  if (!signedIn()) {
    throw new Problem(0, "no_cookie", "The browser did not keep the session: it does so over " +
      "https and on the server's own machine, and not where cookies are refused.");
  }
}

/**
 * Makes the first token of a server that asked nobody yet, and goes on signed in with it: from
 * then on nobody is let in without. Resolves to what `make` answered.
 */
export const closeWith = (make) => change(async () => {
  const made = await make();
  // Should this fail, the token must still be shown; one can sign in with it by hand.
  await post(SESSION, { token: made.token }).catch(() => {});
  return made;
});

export async function signOut() {
  await change(() => remove(SESSION), "You are signed out.");
  if (signedIn()) {
    throw new Problem(0, "by_proxy", "You are signed in by a proxy in front of this server; " +
      "sign out there.");
  }
}

/** Whether the one who is signed in has a scope. */
export const may = (scope) => session.open || session.scopes.includes(scope);

/** Why a button does nothing; empty when it does. */
export const lacking = (scope) => may(scope) ? ""
  : `This needs the scope ${scope}. ${session.actor} has ${session.scopes.join(", ") || "none"}.`;

/** Whether a program that speaks to this server has to name a token. */
export const asksForToken = () => session.known && !session.open;

/** The session now, with `signedIn`; the component is drawn again when it changes. */
export function useSession() {
  const [now, follow] = useState(session);
  useEffect(() => {
    listeners.add(follow);
    follow(session);
    return () => listeners.delete(follow);
  }, []);
  return { ...now, signedIn: signedIn() };
}

/** Asks once at the start, and again when an answer or another tab may have changed it. */
export function startSession() {
  whenRefused(() => signedIn() && learn());
  document.addEventListener("visibilitychange", () => document.hidden || learn());
  learn();
}
