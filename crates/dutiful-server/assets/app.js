// Puts the pages into their frame: navigation, search, colours, dialogs, the line to the server.

import { whenUnauthorized } from "./api.js";
import { Operations } from "./bulk.js";
import { Dead } from "./dead.js";
import { Dialogs, Toasts } from "./dialog.js";
import { Docs } from "./docs.js";
import { clock, compact } from "./format.js";
import { Job } from "./job.js";
import { Jobs, search } from "./jobs.js";
import { start, useLive } from "./live.js";
import { Overview } from "./overview.js";
import { Empty, Head, html, Icon, Text } from "./parts.js";
import { Queue, Queues } from "./queues.js";
import { go, useAddress } from "./router.js";
import { askForToken, Settings } from "./settings.js";
import { render } from "./vendor/preact.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";
import { Workers } from "./workers.js";

const PAGES = [
  ["/", "overview", "Overview"], ["/queues", "queues", "Queues"], ["/jobs", "jobs", "Jobs"],
  ["/dead", "dead", "Dead"], ["/workers", "workers", "Workers"],
  ["/settings", "settings", "Settings"],
];

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
    dead: ["Dead letters", Dead], workers: ["Workers", Workers], settings: ["Settings", Settings],
    docs: ["API", Docs],
  };
  if (name || !Object.hasOwn(pages, first)) return ["No such page", html`<${NotFound} />`];
  const [title, Page] = pages[first];
  return [title, html`<${Page} key=${key} search=${text} />`];
}

function App() {
  const address = useAddress();
  const [title, body] = page(address);
  const main = useRef();
  const before = useRef(address.path);
  useEffect(() => {
    document.title = `${title} · Dutiful`;
    if (before.current === address.path) return;
    before.current = address.path;
    scrollTo(0, 0);
    main.current.querySelector("#title")?.focus({ preventScroll: true });
  }, [address.path, title]);
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <header class="top">
      <a class="brand" href="/" aria-label="Dutiful, overview">
        <img src="/assets/icon.svg" alt="" width="26" height="26" /><span>Dutiful</span></a>
      <${Search} />
      <${Line} />
      <${Theme} />
    </header>
    <${Navigation} path=${address.path} />
    <main id="main" tabindex="-1" ref=${main}>
      <${Lost} />
      <${Operations} />
      ${body}
    </main>
    <${Toasts} />
    <${Dialogs} />`;
}

function Navigation({ path }) {
  const { stats } = useLive();
  const here = (href) => path === href || (href !== "/" && path.startsWith(`${href}/`));
  return html`
    <nav class="pages" aria-label="Pages"><ul>
      ${PAGES.map(([href, icon, label]) => html`<li key=${href}>
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
  if ([401, 403].includes(lost?.problem.status)) {
    return html`<div class="notice warning" role="alert"><${Icon} name="warning" />
      <span>The server wants a token that may read: <${Text} of=${lost.problem.message} />.</span>
      <button type="button" onClick=${() => askForToken()}>Use a token</button></div>`;
  }
  return html`<div role="alert">${lost && html`
    <p class="notice bad"><${Icon} name="bad" /><span>The server was lost at
      ${" "}${clock(lost.since).slice(11, 19)} (<${Text} of=${lost.problem.message} />). What you see
      is from before; this page goes on by itself when it is back.</span></p>`}</div>`;
}

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

whenUnauthorized(() => askForToken("This server asks for a token before it shows anything."));
start();
render(html`<${App} />`, document.getElementById("app"));
