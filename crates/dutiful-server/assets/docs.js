// The API for people: every route with what it takes and what it answers, read from /openapi.json.

import { get } from "./api.js";
import { usePoll } from "./live.js";
import { curl, Head, html, Loaded } from "./parts.js";

const METHODS = ["get", "post", "delete"];

export function Docs() {
  const api = usePoll(() => get("/openapi.json"), 3600000);
  return html`
    <${Head} title="API" note="JSON in and out; errors say in a sentence what to do" />
    <p class="note"><a href="/openapi.json" data-plain>openapi.json</a> says the same for programs.</p>
    <${Loaded} of=${api}>${(data) => html`<${Groups} of=${data} />`}<//>`;
}

/** The routes by what they are about, in the order in which they are described. */
function Groups({ of }) {
  const groups = new Map();
  for (const [path, methods] of Object.entries(of.paths)) {
    for (const method of METHODS.filter((one) => methods[one])) {
      const tag = methods[method].tags?.[0] || "other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push({ method, path, ...methods[method] });
    }
  }
  return [...groups].map(([tag, routes]) => html`
    <section class="card" key=${tag} aria-labelledby=${`tag-${tag}`}>
      <h2 id=${`tag-${tag}`}>${tag[0].toUpperCase() + tag.slice(1)}</h2>
      ${routes.map((one) => html`<${Route} key=${one.method + one.path} of=${one} api=${of} />`)}
    </section>`);
}

function Route({ of, api }) {
  const body = of.requestBody?.content?.["application/json"]?.schema;
  const example = of.method === "post" && !of.path.includes("{") && curl(of.path, sample(api, body));
  return html`
    <details class="route">
      <summary><code><strong>${of.method.toUpperCase()}</strong> ${of.path}</code>${" "}
        <span class="note">${of.summary}</span></summary>
      ${of.parameters?.length > 0 && html`<${Fields} name="Parameters" fields=${of.parameters.map(
        (one) => ({ name: one.name, schema: one.schema, needed: one.required,
          note: one.description || one.in }))} api=${api} />`}
      ${body && html`<${Shape} name="Body" schema=${body} api=${api} asked />`}
      ${Object.entries(of.responses).filter(([status]) => status !== "default").map(
        ([status, answer]) => html`<${Shape} key=${status} api=${api}
          name=${`${status} ${answer.description || ""}`}
          schema=${Object.values(answer.content || {})[0]?.schema} />`)}
      ${example && html`<pre class="command" tabindex="0">${example}</pre>`}
    </details>`;
}

/** Follows a reference into the schemas. */
function resolved(api, schema) {
  const name = schema?.$ref?.split("/").at(-1);
  return name ? { name, ...api.components.schemas[name] } : schema || {};
}

function Shape({ name, schema, api, asked }) {
  const shape = resolved(api, schema);
  // What an answer has is there; of a body some may be left out.
  const needed = (asked && shape.required) || [];
  const fields = Object.entries(shape.properties || {}).map(([field, of]) => ({
    name: field, schema: of, needed: needed.includes(field), note: resolved(api, of).description,
  }));
  return html`<${Fields} name=${name} fields=${fields} api=${api} note=${shape.description} />`;
}

function Fields({ name, fields, api, note }) {
  return html`
    <h3>${name}</h3>
    ${note && html`<p class="note">${note}</p>`}
    ${fields.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label=${name}>
      <table><thead><tr><th scope="col">Name</th><th scope="col">Kind</th>
        <th scope="col">What it is</th></tr></thead>
      <tbody>${fields.map((one) => html`<tr key=${one.name}>
        <th scope="row"><code>${one.name}</code>${one.needed ? " (needed)" : ""}</th>
        <td>${kind(api, one.schema)}</td><td>${one.note || ""}</td></tr>`)}</tbody></table></div>`}`;
}

/** A schema in a few words. */
function kind(api, schema) {
  const of = resolved(api, schema);
  const parts = of.oneOf || of.anyOf || of.allOf;
  if (parts) {
    const words = parts.filter((one) => one.type !== "null").map((one) => kind(api, one));
    return [...new Set(words)].join(" or ");
  }
  if (of.enum) return of.enum.join(" · ");
  const types = [of.type || "any"].flat().filter((one) => one !== "null");
  if (types[0] === "array") return `list of ${kind(api, of.items)}`;
  if (types[0] === "object" && of.name) return of.name;
  const range = of.minimum !== undefined && of.maximum !== undefined
    ? `, ${of.minimum} to ${of.maximum}` : "";
  return (of.format && types[0] === "string" ? of.format : types.join(" or ")) + range;
}

/** The smallest body that fits: what is needed, with a value of its kind. */
function sample(api, schema) {
  const of = resolved(api, schema);
  const value = (field) => {
    const shape = resolved(api, field);
    if (shape.enum) return shape.enum[0];
    const type = [shape.type].flat()[0];
    if (type === "array") return [sample(api, shape.items)];
    if (type === "object" || shape.oneOf) return shape.properties ? JSON.parse(sample(api, field)) : {};
    return type === "integer" ? shape.minimum || 0 : type === "boolean" ? false : "greet";
  };
  const needed = (of.required || []).map((name) => [name, value(of.properties[name])]);
  return JSON.stringify(Object.fromEntries(needed));
}
