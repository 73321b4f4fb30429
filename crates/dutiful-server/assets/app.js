// Puts the pages into their frame: navigation, search, colours, dialogs, the line to the server.

import { AlertsPage, FiringCount } from "./alerts.js";
import { Audit } from "./audit.js";
import { Operations } from "./bulk.js";
import { Dead } from "./dead.js";
import { Dialogs, say, Toasts } from "./dialog.js";
import { Docs } from "./docs.js";
import { clock, compact } from "./format.js";
import { Job } from "./job.js";
import { Jobs, search } from "./jobs.js";
import { start, stop, useLive } from "./live.js";
import { Overview } from "./overview.js";
import { Empty, Head, html, Icon, Text } from "./parts.js";
import { Queue, Queues } from "./queues.js";
import { go, useAddress } from "./router.js";
import { may, signOut, startSession, useSession } from "./session.js";
import { Settings } from "./settings.js";
import { Blind, SignIn, Wait } from "./signin.js";
import { render } from "./vendor/preact.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";
import { Workers } from "./workers.js";

const PAGES = [
  ["/", "overview", "Overview"], ["/queues", "queues", "Queues"], ["/jobs", "jobs", "Jobs"],
  ["/dead", "dead", "Dead"], ["/workers", "workers", "Workers"],
  ["/alerts", "alerts", "Alerts"], ["/audit", "audit", "Audit"],
  ["/settings", "settings", "Settings"],
];
/** Pages that a phone reaches through the settings: its bar has room for a few only. */
const SELDOM = ["/audit"];

const NotFound = () => html`<${Head} title="No such page" />
  <${Empty} title="Nothing is here"><a href="/">Go to the overview</a><//>`;

/** The page of an address: its title, and what to draw. */
function page({ path, search: text }) {
  const [, first, rest] = /^\/([^/]*)\/?(.*)$/.exec(path) || [];
  let name;
  try {
    name = decodeURIComponent(rest || "");
  } catch {
    return ["No such page", html`<${NotFound} />`];
  }
  const key = `${first}/${name}`;
  if (first === "queues" && name) {
    return [`Queue ${name}`, html`<${Queue} key=${key} name=${name} />`];
  }
  if (first === "jobs" && name) {
    const edits = new URLSearchParams(text).has("edit");
    return ["Job", html`<${Job} key=${key} id=${name} edits=${edits} />`];
  }
  const pages = {
    "": ["Overview", Overview], queues: ["Queues", Queues], jobs: ["Jobs", Jobs],
    dead: ["Dead letters", Dead], workers: ["Workers", Workers], alerts: ["Alerts", AlertsPage],
    audit: ["Audit", Audit], settings: ["Settings", Settings], docs: ["API", Docs],
  };
  if (name || !Object.hasOwn(pages, first)) return ["No such page", html`<${NotFound} />`];
  const [title, Page] = pages[first];
  return [title, html`<${Page} key=${key} search=${text} />`];
}

/** What is drawn for the one who looks: a page, or why there is none. */
function shown(session, address) {
  if (!session.known) return ["Loading", html`<${Wait} ...${session} />`];
  if (!session.signedIn) return ["Sign in", html`<${SignIn} ...${session} />`];
  if (!may("read")) return ["Nothing to show", html`<${Blind} ...${session} />`];
  return [...page(address), "inside"];
}

function App() {
  const address = useAddress();
  const session = useSession();
  const [title, body, inside] = shown(session, address);
  const main = useRef();
  const place = inside ? address.path : title;
  const before = useRef(place);
  useEffect(() => {
    if (!inside) return undefined;
    start();
    return stop;
  }, [inside, session.actor]);
  useEffect(() => {
    document.title = `${title} · Dutiful`;
    if (before.current === place) return;
    const entered = before.current === "Loading";
    before.current = place;
    // The page that was opened is no turn of a page, and a form has the focus in its field.
    if (entered || title === "Sign in") return;
    scrollTo(0, 0);
    main.current.querySelector("#title")?.focus({ preventScroll: true });
  }, [place, title]);
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <header class="top">
      <a class="brand" href="/" aria-label="Dutiful, overview">
        <img src="/assets/icon.svg" alt="" width="26" height="26" /><span>Dutiful</span></a>
      ${inside && html`<${Search} /><${Line} /><${FiringCount} />`}
      ${session.actor !== null && html`<${Who} of=${session} />`}
      <${Theme} />
    </header>
    ${inside && html`<${Navigation} path=${address.path} />`}
    <main id="main" tabindex="-1" ref=${main} class=${inside ? "" : "alone"}>
      ${inside && html`<${Lost} /><${Operations} />`}
      ${body}
    </main>
    <${Toasts} />
    <${Dialogs} leave=${!inside} />`;
}

function Navigation({ path }) {
  const { stats } = useLive();
  const here = (href) => path === href || (href !== "/" && path.startsWith(`${href}/`));
  return html`
    <nav class="pages" aria-label="Pages"><ul>
      ${PAGES.map(([href, icon, label]) => html`<li key=${href}
        class=${SELDOM.includes(href) ? "wide" : ""}>
        <a href=${href} aria-current=${here(href) ? "page" : undefined}><${Icon} name=${icon} />
          <span>${label}</span>${icon === "dead" && stats?.totals.dead > 0 && html`
          <span class="badge" aria-label=${`${stats.totals.dead} dead jobs`}>${
            compact(stats.totals.dead)}</span>`}</a></li>`)}
    </ul></nav>`;
}

function Search() {
  const input = useRef();
  useEffect(() => {
    const pressed = (event) => {
      const typing = event.target.closest?.("input, textarea, select, dialog");
      if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      input.current.focus();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
  const submit = (event) => {
    event.preventDefault();
    if (!input.current.value.trim()) return;
    go(search(input.current.value));
    input.current.value = "";
    input.current.blur();
  };
  return html`
    <form class="search" role="search" onSubmit=${submit}>
      <${Icon} name="search" />
      <input type="search" ref=${input} aria-label="Search jobs" autocomplete="off" dir="auto"
        placeholder="Id, error text, queue:mail …  ( / )" spellcheck=${false} />
    </form>`;
}

/** Whether the numbers are live. */
function Line() {
  const { lost, how, at } = useLive();
  const word = lost ? "lost" : !at ? "connecting" : how === "events" ? "live" : "asking";
  const long = {
    lost: "The server does not answer", connecting: "Connecting to the server",
    live: "Live: changes come within a second", asking: "The server is asked every two seconds",
  };
  return html`<span class=${`line ${word}`} title=${long[word]}><span class="dot"
    aria-hidden="true"></span><span class="line-word">${word}</span></span>`;
}

function Lost() {
  const { lost } = useLive();
  return html`<div role="alert">${lost && html`
    <p class="notice bad"><${Icon} name="bad" /><span>The server was lost at
      ${" "}${clock(lost.since).slice(11, 19)} (<${Text} of=${lost.problem.message} />). What
      you see is from before; this page goes on by itself when it is back.</span></p>`}</div>`;
}

const leave = () => signOut().catch((problem) => say(problem.message, "bad"));

/** Who is signed in, and the way out. */
const Who = ({ of: { actor, open, scopes } }) => html`
  <div class="who"><span class="who-name" title=${`May: ${scopes.join(", ")}`}>
    <span class="hidden">Signed in as </span><${Text} of=${actor} /></span>
    ${!open && html`<button type="button" class="quiet" title=${`Sign out ${actor}`}
      onClick=${leave}><${Icon} name="leave" />
      <span class="who-out">Sign out</span></button>`}</div>`;

const THEMES = ["system", "light", "dark"];

/** The system's colours, or light, or dark. */
function Theme() {
  const [theme, set] = useState(document.documentElement.dataset.theme || "system");
  const next = () => {
    const chosen = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    set(chosen);
    if (chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    try {
      localStorage.setItem("dutiful-theme", chosen);
    } catch {
      // Then it lasts as long as this page.
    }
  };
  return html`<button type="button" class="quiet theme" onClick=${next}
    aria-label=${`Colours: ${theme}. Change`} title=${`Colours: ${theme}`}><${Icon} name="theme" />
  </button>`;
}

startSession();
render(html`<${App} />`, document.getElementById("app"));
