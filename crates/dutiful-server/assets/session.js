// Who is signed in and what they may do, learned from the server and followed by every page.

import { get, post, remove, SESSION, whenRefused } from "./api.js";
import { useEffect, useState } from "./vendor/hooks.js";

/** A server that did not say is asked again after this time. */
const AGAIN_MS = 3000;

/** What somebody was doing when the server wanted to know who they are. */
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

async function ask() {
  try {
    const before = signedIn();
    const said = await get(SESSION);
    set({ word: "", ...said, known: true, problem: null });
    // Somebody who was at work is told why the page went.
    if (before && !signedIn()) set({ word: "You are not signed in any more." });
  } catch (problem) {
    set({ problem });
    setTimeout(learn, AGAIN_MS);
  }
  learning = null;
}

/** Asks the server who is signed in; many who want to know at once ask once. */
export const learn = () => (learning ||= ask());

/** Signs in with `{ password }` or `{ token }`; what the server refuses is thrown. */
export async function signIn(credential) {
  await post(SESSION, credential);
  await learn();
}

export async function signOut() {
  await remove(SESSION);
  set({ actor: null, scopes: [], word: "You are signed out." });
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
  whenRefused(learn);
  document.addEventListener("visibilitychange", () => document.hidden || learn());
  learn();
}
