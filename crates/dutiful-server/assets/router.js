// Which page the address names, and how to go to another one without loading anything.

import { base } from "./base.js";
import { useEffect, useState } from "./vendor/hooks.js";

const within = (path) => path.slice(base.length) || "/";
const here = () => ({ path: within(location.pathname), search: location.search });

/** Goes to an address of this dashboard. */
export function go(url, { replace = false } = {}) {
  if (base + url === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", base + url);
  dispatchEvent(new Event("dutiful:moved"));
}

/** Follows the address bar. */
export function useAddress() {
  const [address, set] = useState(here);
  useEffect(() => {
    const moved = () => set(here());
    addEventListener("popstate", moved);
    addEventListener("dutiful:moved", moved);
    addEventListener("click", follow);
    return () => {
      removeEventListener("popstate", moved);
      removeEventListener("dutiful:moved", moved);
      removeEventListener("click", follow);
    };
  }, []);
  return address;
}

/** A plain click on a link of ours changes the page here; any other click is the browser's. */
function follow(event) {
  const modified = event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
  if (event.defaultPrevented || event.button !== 0 || modified) return;
  const link = event.target.closest?.("a[href]");
  if (!link || link.origin !== location.origin || link.target || link.hash) return;
  if (link.hasAttribute("data-plain")) return;
  // Elsewhere in the application in which this stands.
  if (base && link.pathname !== base && !link.pathname.startsWith(`${base}/`)) return;
  event.preventDefault();
  go(within(link.pathname) + link.search);
}
