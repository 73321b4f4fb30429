// Who works: what each worker serves, how busy it is, and when it was last heard of.

import { get } from "./api.js";
import { count, plural } from "./format.js";
import { usePoll } from "./live.js";
import {
  Bar, curl, Empty, Head, html, Loaded, Num, queueHref, State, Text, Time,
} from "./parts.js";

/** Types named in a row; the others are counted. */
const TYPES = 6;
/** Workers shown that have stopped; others that run are always shown. */
const STOPPED = 30;

export function Workers() {
  const workers = usePoll(() => get("/v1/workers"), 2000, [], { live: true });
  const all = workers.data?.workers || [];
  const alive = all.filter((one) => one.state === "alive").length;
  const note = workers.data
    && `${plural(alive, "worker")} alive, ${count(all.length - alive)} stopped or silent.`;
  return html`
    <${Head} title="Workers" note=${note} />
    <${Loaded} of=${workers}>${({ workers: list }) => list.length === 0
      ? html`<${Empty} title="No worker yet" command=${`dutiful work\n\n${curl("/v1/workers",
          '{"name":"first","queues":{"mail":4},"types":["send_email"]}')}`}>Jobs wait until a worker
          serves their queue. Start one where the store is, or register one over HTTP:<//>`
      : html`<${Table} workers=${shown(list)} />`}<//>`;
}

function shown(list) {
  const stopped = list.filter((one) => one.state === "stopped").slice(0, STOPPED);
  return [...list.filter((one) => one.state !== "stopped"), ...stopped];
}

const Table = ({ workers }) => html`
  <div class="card scroll"><table>
    <caption class="hidden">Workers, those that run first</caption>
    <thead><tr><th scope="col">Worker</th><th scope="col">State</th><th scope="col">Running</th>
      <th scope="col" class="wide">Queues and slots</th><th scope="col" class="wide">Types</th>
      <th scope="col" class="wide">Last beat</th>
      <th scope="col" class="wide">Started</th></tr></thead>
    <tbody>${workers.map((one) => html`<${Row} key=${one.id} of=${one} />`)}</tbody>
  </table></div>`;

function Row({ of }) {
  const queues = Object.entries(of.queues);
  const slots = queues.reduce((sum, [, n]) => sum + n, 0);
  const share = slots ? of.running / slots : 0;
  const busy = queues.length === 1 ? `/jobs?state=active&queue=${encodeURIComponent(queues[0][0])}`
    : "/jobs?state=active";
  return html`
    <tr>
      <th scope="row"><${Text} of=${of.name} />
        <div class="sub">${of.pid > 0 && `process ${of.pid} · `}
          <span class="id">${of.id}</span></div>
        <div class="sub narrow lanes">
          ${queues.map(([name, n]) => `${name} ${n}`).join(", ")}</div></th>
      <td><${State} of=${of.state} />${of.quiet && html` <${State} of="quiet" />`}
        <div class="sub narrow"><${Time} at=${of.stopped_at || of.beat_at} /></div></td>
      <td><span><${Num} n=${of.running} href=${busy} /> of ${count(slots)}</span>
        <${Bar} share=${share} tone=${share > 0.9 ? "warning" : ""} /></td>
      <td class="wide">${queues.map(([name, n]) => html`<a class="mark" href=${queueHref(name)}>
        <${Text} of=${name} /> ${n}</a> `)}</td>
      <td class="wide">${of.types.slice(0, TYPES).map((type) => html`<span class="mark">
        <${Text} of=${type} /></span> `)}
        ${of.types.length > TYPES && `and ${of.types.length - TYPES} more`}</td>
      <td class="wide"><${Time} at=${of.beat_at} />
        ${of.stopped_at && html`<div class="sub">stopped${" "}
          <${Time} at=${of.stopped_at} /></div>`}</td>
      <td class="wide"><${Time} at=${of.started_at} /></td>
    </tr>`;
}
