// Where the dashboard stands below its host: at the root, or below a path of another application.

import { options } from "./vendor/preact.js";

/** Empty, or such as `/jobs`: it comes before every path of ours. */
export const base = document.documentElement.dataset.base ?? "";

const isOurs = (value) =>
  typeof value === "string" && value.startsWith("/") && !value.startsWith("//");

/** Links and pictures are written without the base; here they get it. */
if (base) {
  const before = options.vnode;
  options.vnode = (vnode) => {
    if (typeof vnode.type === "string") {
      for (const name of ["href", "src"]) {
        if (isOurs(vnode.props[name])) vnode.props[name] = base + vnode.props[name];
      }
    }
    before?.(vnode);
  };
}
