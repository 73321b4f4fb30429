// The dead letters, grouped by what they died of.

import { Act } from "./act.js";
import { get, query } from "./api.js";
import { changeMatching } from "./bulk.js";
import { count, plural } from "./format.js";
import { useLive, usePoll } from "./live.js";
import { Empty, Head, html, jobHref, Loaded, queueHref, Text, Time } from "./parts.js";
import { go } from "./router.js";

/** The jobs of a group. The class is said as well: it has to do where groups are not known. */
const members = (group) => ({
  state: "dead", type: group.type, error: group.class, fingerprint: group.fingerprint,
});

export function Dead({ search }) {
  const given = new URLSearchParams(search);
  const filter = { queue: given.get("queue") || "", type: given.get("type") || "" };
  const groups = usePoll(() => get(`/v1/dead/groups${query(filter)}`), 5000,
    [filter.queue, filter.type], { live: true });
  const { stats } = useLive();
  const queues = stats?.queues.filter((one) => one.dead > 0) || [];
  return html`
    <${Head} title="Dead letters" note="Jobs that gave up and wait for a person, by their error." />
    ${queues.length > 0 && html`
      <nav aria-label="Queues"><ul class="tabs">
        <li><a href="/dead" aria-current=${filter.queue ? undefined : "true"}>all queues${" "}
          <span class="note">${count(stats.totals.dead)}</span></a></li>
        ${queues.map((one) => html`<li key=${one.queue}>
          <a href=${`/dead${query({ queue: one.queue })}`}
            aria-current=${filter.queue === one.queue ? "true" : undefined}>
            <${Text} of=${one.queue} /> <span class="note">${count(one.dead)}</span></a></li>`)}
      </ul></nav>`}
    <${Loaded} of=${groups}>${(data) => html`
      ${data.groups.length === 0 && html`<${Empty} title="No dead job">A job comes here when
        its attempts are used up, its handler gave it up, or it crashed its workers.<//>`}
      ${!data.complete && html`<p class="notice warning">There are more dead jobs than one look can
        group; the numbers below are of those that were looked at.</p>`}
      <ul class="groups">${data.groups.map((group) => html`
        <${Group} key=${group.fingerprint} of=${group} queue=${filter.queue}
          reload=${groups.reload} />`)}</ul>`}<//>`;
}

function Group({ of, queue, reload }) {
  const filter = { ...members(of), ...(queue && { queue }) };
  const { fingerprint, ...listed } = filter;
  const act = (verb) => changeMatching(verb, filter, "of this group").then(reload);
  const list = `/jobs${query({ ...listed, fingerprint })}`;
  return html`
    <li class="card group">
      <div class="group-head">
        <a class="figure bad" href=${list} aria-label=${`List ${plural(of.count, "dead job")}`}>
          ${count(of.count)}</a>
        <div>
          <h2><${Text} of=${of.class} /> <span class="note">in <${Text} of=${of.type} /></span></h2>
          <p class="message" dir="auto">${of.message.split("\n", 1)[0]}</p>
        </div>
      </div>
      <p class="note">${of.queues.map((name, i) => html`${i > 0 && ", "}<a href=${queueHref(name)}>
        <${Text} of=${name} /></a>`)} · first <${Time} at=${of.first_at} />, last${" "}
        <${Time} at=${of.last_at} /></p>
      <div class="actions">
        <${Act} scope="operate" class="primary" onClick=${() => act("retry")}
          aria-label=${`Retry all ${of.count} of ${of.class}`}>Retry all<//>
        <${Act} scope="operate" onClick=${() => act("discard")}
          aria-label=${`Discard all ${of.count} of ${of.class}`}>Discard all<//>
        <a class="button" href=${list}>List</a>
        <a class="button" href=${jobHref(of.sample)}>Sample</a>
        <${Act} scope="operate" onClick=${() => go(`${jobHref(of.sample)}?edit=1`)}
          aria-label=${`Edit and retry one of ${of.class}`}>Edit and retry one<//>
      </div>
    </li>`;
}
