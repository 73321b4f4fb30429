// Reads JSON as text: its parts, its lines, and where it is wrong, without touching its numbers.

// Strings, each mark by itself, and numbers and words.
const TOKEN = /"[^"\\]*(?:\\[^][^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/**
 * The text of a member of a JSON object, exactly as it stands there, or undefined.
 * A number that JavaScript cannot hold (2^53 + 1, 1e400) stays as it is.
 */
export function member(json, name) {
  let depth = 0;
  let key;
  let start = -1;
  for (const { 0: mark, index } of json.matchAll(TOKEN)) {
    if (depth === 1 && start < 0 && mark[0] === '"' && key === undefined) {
      key = JSON.parse(mark);
    } else if (depth === 1 && mark === ":" && start < 0) {
      start = index + 1;
    } else if (depth === 1 && (mark === "," || mark === "}")) {
      if (key === name) return json.slice(start, index).trim();
      key = undefined;
      start = -1;
    }
    if (mark === "{" || mark === "[") depth += 1;
    if (mark === "}" || mark === "]") depth -= 1;
  }
  return undefined;
}

/** What the server shows in the place of a value that its settings redact. */
export const REDACTED = '"[redacted]"';

/** How many values of a JSON text are not shown. */
export function redacted(json) {
  let found = 0;
  let before = "";
  for (const [mark] of json.matchAll(TOKEN)) {
    // A string with a colon behind it is a name.
    if (before === REDACTED && mark !== ":") found += 1;
    before = mark;
  }
  return found + (before === REDACTED ? 1 : 0);
}

/** Lays out JSON text in lines without reading its values. */
export function pretty(json) {
  let out = "";
  let depth = 0;
  let before = "";
  const line = () => "\n" + "  ".repeat(depth);
  for (const [text] of json.matchAll(TOKEN)) {
    const opens = before === "{" || before === "[";
    if (text === "}" || text === "]") {
      depth -= 1;
      out += (opens ? "" : line()) + text;
    } else {
      out += (opens || before === "," ? line() : "") + text + (text === ":" ? " " : "");
      if (text === "{" || text === "[") depth += 1;
    }
    before = text;
  }
  return out;
}

const STRING = /^"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"$/;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const WORD = /^(?:true|false|null)$/;
/** What may not stand between two marks. */
const STRAY = /[^ \t\r\n]/;

const scalar = (mark) => STRING.test(mark) || NUMBER.test(mark) || WORD.test(mark);

/** What may come next, in words. */
const WANTED = {
  value: "a value", first: "a value or ]", key: "a name in quotes", member: "a name in quotes or }",
  colon: "a colon", comma: "a comma or the end", end: "nothing more",
};

const UNCLOSED = "a text is not closed, or a sign stands here that JSON does not have.";

/** What stands open: after a value the same again, or the end of it. */
function after(open) {
  return open.length === 0 ? "end" : "comma";
}

/** What is wanted after this mark, or null when the mark is not what was wanted. */
function step(mark, want, open) {
  const closes = { "}": "{", "]": "[" }[mark];
  if (closes) {
    const may = want === "comma" || want === (mark === "]" ? "first" : "member");
    if (!may || open.pop() !== closes) return null;
    return after(open);
  }
  if (want === "value" || want === "first") {
    if (mark === "{" || mark === "[") {
      open.push(mark);
      return mark === "{" ? "member" : "first";
    }
    return scalar(mark) ? after(open) : null;
  }
  if (want === "key" || want === "member") return STRING.test(mark) ? "colon" : null;
  if (want === "colon") return mark === ":" ? "value" : null;
  if (want === "comma" && mark === ",") return open.at(-1) === "{" ? "key" : "value";
  return null;
}

/** What is wrong with a JSON text, in one sentence with the place; empty when nothing is. */
export function jsonProblem(text) {
  if (!text.trim()) return "Write a JSON value, at least null.";
  const open = [];
  let want = "value";
  let end = 0;
  const place = (at) => {
    const before = text.slice(0, at).split("\n");
    return `Line ${before.length}, column ${before.at(-1).length + 1}`;
  };
  for (const { 0: mark, index } of text.matchAll(TOKEN)) {
    const stray = text.slice(end, index).search(STRAY);
    if (stray >= 0) return `${place(end + stray)}: ${UNCLOSED}`;
    const next = step(mark, want, open);
    const shown = mark.length > 24 ? `${mark.slice(0, 24)} …` : mark;
    if (!next) return `${place(index)}: ${WANTED[want]} is wanted, not ${shown}`;
    want = next;
    end = index + mark.length;
  }
  const stray = text.slice(end).search(STRAY);
  if (stray >= 0) return `${place(end + stray)}: ${UNCLOSED}`;
  return want === "end" ? "" : `${place(text.length)}: ${WANTED[want]} is wanted, not the end.`;
}
