// What needs no browser: JSON read as text, compared with the language's own parser, and the sums
// of the vendored files.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import { check, expect } from "./check.mjs";

const SIGNS = '{}[]:,"\\ 01e-.tu\n\u00a0';
const WHOLE = ["null", "[]", "{}", '{"a":{"b":[1,{"c":null}]},"d":"x\\"y"}', "[1.50,2e5]", "01",
  "[1,]", '{"a":1,}', "{'a':1}", '"a\nb"', '"\\x"', "nul", "[}", "1 2", '{"a" 1}', "\u00a01"];

/** The same texts in each run. */
function* written(count) {
  let seed = 20261128;
  const next = (below) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  for (let n = 0; n < count; n += 1) {
    let text = "";
    for (let left = 1 + next(8); left > 0; left -= 1) text += SIGNS[next(SIGNS.length)];
    yield text;
  }
}

const valid = (text) => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

const asset = (name) => readFileSync(new URL(`../../assets/${name}`, import.meta.url));

/** A file of the dashboard that imports no other. */
const load = (name) =>
  import(`data:text/javascript,${encodeURIComponent(asset(name).toString())}`);

async function history() {
  const { highest, line, sum } = await load("history.js");
  const step = (minute, completed) => ({ at: `2026-11-29T10:0${minute}:00.000000Z`, completed });
  const past = { step_s: 60, points: [step(1, 4), step(2, null), step(5, 7)] };
  await check("a step that nobody saw breaks the line of a chart, and is no zero", async () => {
    const drawn = line(past, (one) => one.completed);
    const start = Date.parse("2026-11-29T10:00:00Z");
    const seen = drawn.map(({ t, v }) => `${(t - start) / 60000}:${v}`).join(" ");
    expect(seen === "1:4 2:null 3:null 5:7", seen);
    expect(sum(past, "completed") === 11, "the sum");
    expect(highest(past, "completed") === 7 && highest({ points: [] }, "completed") === null,
      "the highest");
  });
}

export async function texts() {
  await check("the vendored files have the sums that are written down", async () => {
    const page = asset("vendor/README.md").toString();
    const rows = [...page.matchAll(/^\| `(\w+\.js)` \|.*`([0-9a-f]{64})` \|$/gm)];
    expect(rows.length === 3, `${rows.length} files are listed`);
    for (const [, name, sum] of rows) {
      const is = createHash("sha256").update(asset(`vendor/${name}`)).digest("hex");
      expect(is === sum, `${name} has ${is}`);
    }
  });
  await history();
  const json = await load("json.js");
  await check("a payload is refused exactly when it is no JSON, with the place", async () => {
    let refused = 0;
    for (const text of [...WHOLE, ...written(50000)]) {
      const problem = json.jsonProblem(text);
      const said = `${JSON.stringify(text)}: "${problem}"`;
      expect(valid(text) === (problem === ""), said);
      const placed = text.trim() === "" || /^Line \d+, column \d+: /.test(problem);
      expect(problem === "" || placed, said);
      refused += problem ? 1 : 0;
    }
    expect(refused > 10000 && refused < 50000, `${refused} were refused`);
  });
  await check("laying out a payload changes none of its values", async () => {
    const text = '{"n":12345678901234567890,"r":1.10,"e":[],"o":{},' +
      '"s":"a, {b}: \\"c\\"","l":[1e400,-0]}';
    const shown = json.pretty(text);
    expect(shown.replace(/\n\s*|(?<=":) /g, "") === text, shown);
    const whole = `{"a":{"payload":1},"payload": ${text} ,"z":"}"}`;
    expect(json.member(whole, "payload") === text, "the member was cut wrongly");
  });
}
