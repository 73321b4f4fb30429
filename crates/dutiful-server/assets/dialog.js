// Questions to the person (always a <dialog>) and short messages that are also read aloud.

import { useEffect, useRef, useState } from "./vendor/hooks.js";
import { html, Icon, Text } from "./parts.js";

let show = () => {};
let speak = () => {};

/**
 * Asks and resolves with the values of the fields by name, or null when the answer is no.
 * `fields`: {name, label, type, value, rows, hint, check: (value, all) → what is wrong or ""}; with
 * `options`, [value, label, hint] each, one is selected, or any are ticked by the type "ticks";
 * `typed`: a word that has to be typed before it is done; `stays`: there is only one answer, and
 * the question stays when the page behind it goes.
 */
export const ask = (question) => new Promise((resolve) => show({ ...question, resolve }));

/** Says in the corner what happened. */
export const say = (text, tone = "ok") => speak(text, tone);

/** Does something, and says how it ended. */
export async function attempt(what, action) {
  try {
    const answer = await action();
    say(what);
    return answer ?? true;
  } catch (problem) {
    say(problem.message, "bad");
    return null;
  }
}

/** With `leave`, nobody is signed in any more: questions about what they saw go with them. */
export function Dialogs({ leave }) {
  const [question, set] = useState(null);
  useEffect(() => {
    if (leave && question && !question.stays) done(null);
  }, [leave]);
  show = (next) => {
    question?.resolve(null);
    set({ ...next, key: Math.random() });
  };
  const done = (answer) => {
    set(null);
    question.resolve(answer);
  };
  return question && html`<${Question} key=${question.key} of=${question} done=${done} />`;
}

function Question({ of, done }) {
  const box = useRef();
  const fields = of.fields || [];
  const start = Object.fromEntries(fields.map((field) => [field.name, field.value ?? ""]));
  const [values, set] = useState(start);
  const [typed, type] = useState("");
  const [tried, setTried] = useState(false);
  useEffect(() => box.current.showModal(), []);
  const wrong = Object.fromEntries(fields.map((field) => {
    return [field.name, field.check ? field.check(values[field.name], values) : ""];
  }));
  const ready = (!of.typed || typed === of.typed) && !Object.values(wrong).some(Boolean);
  const submit = (event) => {
    event.preventDefault();
    setTried(true);
    if (ready) done(values);
  };
  return html`
    <dialog ref=${box} aria-labelledby="question" onClose=${() => done(null)}
      onCancel=${(event) => {
        event.preventDefault();
        if (!of.stays) done(null);
      }}>
      <form onSubmit=${submit}>
        <h2 id="question"><${Text} of=${of.title} /></h2>
        ${of.text && html`<p><${Text} of=${of.text} /></p>`}
        ${of.more}
        ${fields.map((field) => html`<${Field} key=${field.name} of=${field}
          value=${values[field.name]} wrong=${tried || field.eager ? wrong[field.name] : ""}
          set=${(value) => set({ ...values, [field.name]: value })} />`)}
        ${of.typed && html`<label class="field">
          <span>Type <strong class="typed"><${Text} of=${of.typed} /></strong> to go on</span>
          <input value=${typed} autocomplete="off" spellcheck=${false} dir="auto"
            onInput=${(event) => type(event.target.value)} /></label>`}
        <div class="answers">
          ${!of.stays && html`<button type="button" onClick=${() => done(null)}>${
            of.no || "Leave it"}</button>`}
          <button type="submit" class=${of.danger ? "danger" : "primary"}
            disabled=${Boolean(of.typed) && typed !== of.typed}>${of.yes || "Do it"}</button>
        </div>
      </form>
    </dialog>`;
}

function Field({ of, value, wrong, set }) {
  if (of.type === "ticks") return html`<${Ticks} ...${{ of, value, wrong, set }} />`;
  const id = `ask-${of.name}`;
  const shared = {
    id, value, dir: "auto", spellcheck: false, autocomplete: "off",
    "aria-invalid": wrong ? "true" : undefined,
    "aria-describedby": wrong || of.hint ? `${id}-hint` : undefined,
    onInput: (event) => set(event.target.value),
  };
  return html`
    <div class="field">
      <label for=${id}>${of.label}</label>
      ${of.rows ? html`<textarea rows=${of.rows} class="mono" ...${shared}></textarea>`
        : of.options ? html`<select ...${shared}>${of.options.map(([one, label]) => html`
          <option value=${one} selected=${one === value}>${label}</option>`)}</select>`
        : html`<input type=${of.type || "text"} min=${of.min} step=${of.step} ...${shared} />`}
      <${Hint} id=${`${id}-hint`} of=${of} wrong=${wrong} />
    </div>`;
}

const Hint = ({ id, of, wrong }) => (wrong || of.hint) && html`
  <p id=${id} class=${wrong ? "wrong" : "note"} role=${wrong ? "alert" : undefined}>${
    wrong || of.hint}</p>`;

/** Any of a few; the value is the list of those that are ticked. */
function Ticks({ of, value, wrong, set }) {
  const id = `ask-${of.name}`;
  const toggle = (one, on) => set(of.options.map(([name]) => name)
    .filter((name) => (name === one ? on : value.includes(name))));
  return html`
    <fieldset class="field" aria-describedby=${wrong || of.hint ? `${id}-hint` : undefined}>
      <legend>${of.label}</legend>
      ${of.options.map(([name, label, hint]) => html`<label key=${name} class="tick">
        <input type="checkbox" checked=${value.includes(name)}
          onChange=${(event) => toggle(name, event.target.checked)} />
        <span>${label}${hint && html` <span class="note">${hint}</span>`}</span></label>`)}
      <${Hint} id=${`${id}-hint`} of=${of} wrong=${wrong} />
    </fieldset>`;
}

export function Toasts() {
  const [said, set] = useState([]);
  speak = (text, tone) => {
    const one = { text, tone, key: Math.random() };
    set((all) => [...all.slice(-2), one]);
    const gone = () => set((all) => all.filter((other) => other !== one));
    setTimeout(gone, tone === "ok" ? 5000 : 12000);
  };
  return html`
    <div class="toasts" role="status" aria-live="polite">
      ${said.map((one) => html`<div key=${one.key} class=${`toast ${one.tone}`}>
        <${Icon} name=${one.tone} /><${Text} of=${one.text} /></div>`)}
    </div>`;
}
