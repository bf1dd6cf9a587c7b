// Views of the outcome of a call.

import { html } from './lib/html.js';
import { bars, phases } from './lib/chart.js';
import { duration, plural } from './lib/format.js';
import { jsonView } from './call-json.js';

// Explanations of the most frequent error codes.
const meanings = {
  unavailable: 'No server serves this method, or the bus cannot be reached.',
  deadline_exceeded: 'No response has arrived in time. A server may still have run the request.',
  resource_exhausted: 'A limit was reached. Try again later.',
  permission_denied: 'The server or the gateway does not permit the call.',
  unimplemented: 'The server has no handler for this method.',
  not_found: 'The server has not found the requested item, or the gateway does not serve the method.',
  malformed_result: 'The response cannot be decoded. The server may have another version of the schema.',
};

/**
 * keepFocus calls draw. If the element with the focus is gone afterwards, keepFocus moves the
 * focus: to the element with the ID in its attribute data-then, or with the same ID, or to the
 * first control near it. Keyboard users then stay in their place.
 */
export function keepFocus(root, draw) {
  const active = root.contains(document.activeElement) ? document.activeElement : null;
  const around = [];
  for (let node = active?.parentElement; node && node !== root; node = node.parentElement) around.push(node);
  draw();
  if (active && !active.isConnected) {
    const then = document.getElementById(active.dataset.then ?? active.id)
      ?? around.find((node) => node.isConnected)?.querySelector('input, select, textarea, button, a');
    then?.focus();
  }
}

/** statusView shows the code of an outcome as a badge. */
export const statusView = (code) => html`<span class=${`m-code ${code === 'ok' ? 'good' : code === 'canceled' ? 'quiet' : 'bad'}`}>${code}</span>`;

/** serverView links to the page of a server. */
export const serverView = (id) => id ? html`<a href=${`#/server/${encodeURIComponent(id)}`}>${id}</a>` : null;

/** outcomeView shows how a call has ended. arrived describes the result, such as "3 messages". */
export function outcomeView(outcome, arrived) {
  const facts = [
    outcome.server && html`from ${serverView(outcome.server)}`,
    arrived,
    html`<span title="Measured in the browser, including HTTP">${duration(outcome.took)}</span>`,
    outcome.requestId && html`request <span class="mono">${outcome.requestId}</span>`,
  ].filter(Boolean);
  return html`<div class="m-status">${statusView(outcome.code)}
      <ul class="m-facts">${facts.map((fact) => html`<li>${fact}</li>`)}</ul></div>
    ${timingView(outcome)}
    ${outcome.code === 'ok' || outcome.message === '' ? null : html`<p class="m-message">${outcome.message}</p>`}
    ${meanings[outcome.code] ? html`<p class="quiet">${meanings[outcome.code]}</p>` : null}
    ${outcome.details.filter((detail) => !isCodeAlone(detail, outcome.code)).map(detailView)}`;
}

// isCodeAlone reports whether a detail of the gateway only repeats the code.
const isCodeAlone = ({ domain, reason, metadata = {} }, code) => domain === 'psrpc' && reason === code && !Object.values(metadata).some(Boolean);

// timingView shows the phases of a call on the bus, which the gateway has measured.
function timingView({ phases: measured, details, took }) {
  const known = measured.length ? measured : phasesOf(details.find(({ domain }) => domain === 'psrpc')?.metadata ?? {});
  if (!known.length) return null;
  const rest = took - known.reduce((sum, { value }) => sum + value, 0);
  return html`${phases(known)}${rest > 0 ? html`<p class="quiet small">The gateway, HTTP and the browser took ${duration(rest)} more.</p>` : null}`;
}

// phasesOf returns the phases in the metadata of an error, converted from milliseconds to seconds.
const phasesOf = (metadata) => ['publish', 'selection', 'response'].filter((label) => metadata[`${label}_ms`])
  .map((label) => ({ label, value: metadata[`${label}_ms`] / 1000 }));

// views caches the elements that show details, so that each detail is drawn only once.
const views = new WeakMap();

function detailView(detail) {
  if (!views.has(detail)) views.set(detail, detail.domain === 'psrpc' ? factsOf(detail) : otherDetail(detail));
  return views.get(detail);
}

const otherDetail = (detail) => {
  const { '@type': type = '', ...rest } = detail;
  return html`<figure class="m-detail"><figcaption>Detail <span class="mono">${type.split('/').pop()}</span></figcaption>
    ${jsonView(JSON.stringify(rest), `Detail ${type}`)}</figure>`;
};

// factsOf shows the facts of a failed call, which the gateway sends in a google.rpc.ErrorInfo.
function factsOf({ reason, metadata = {} }) {
  const { phase, declined, server, claims, reason: why } = metadata;
  const rows = [
    ['code', reason], ['phase', phase], ['reason', why?.replaceAll('_', ' ')], ['server', serverView(server)], ['claims', claims],
    ['declined', declined?.split(',').map((id, i) => html`${i ? ', ' : ''}${serverView(id)}`)],
  ].filter(([, value]) => value);
  return html`<dl class="m-pairs">${rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

/** whoView shows which servers would take a request. Its argument is the response of /api/who. */
export function whoView({ reached, answered, candidates, declined, silent, selected, oneOfSeveral, took }) {
  const sorted = [...candidates].sort((a, b) => b.affinity - a.affinity || a.at - b.at);
  const items = [
    ...sorted.map(({ server, affinity, at }) => ({
      label: serverView(server), value: affinity, tone: server === selected ? 'good' : '',
      text: html`${affinity} <span class="quiet">after ${duration(at)}${server === selected ? ' · would be selected' : ''}</span>`,
    })),
    ...declined.map(({ server, at }) => ({
      label: serverView(server), value: 0, tone: 'muted', text: html`<span class="quiet">declined after ${duration(at)}</span>`,
    })),
  ];
  return html`<div class="m-status"><span class="m-code">${items.length ? 'who' : 'no server'}</span>
      <ul class="m-facts"><li>${plural(candidates.length, 'server')} would take it</li>
        ${declined.length ? html`<li>${declined.length} declined</li>` : null}
        ${reached > 0 ? html`<li>${answered} of ${reached} answered</li>` : null}
        <li>${duration(took)}</li><li>no handler was run</li></ul></div>
    ${items.length ? bars(items, Math.max(1, ...candidates.map(({ affinity }) => affinity))) : html`<p class="m-message">No server has claimed the request.</p>`}
    ${oneOfSeveral ? html`<p class="quiet">The bus gives each request to one server. The next one may get another.</p>` : null}
    ${silent > 0 ? html`<p class="quiet">${plural(silent, 'server')} did not answer: psrpc servers decline silently, or a server hangs.</p>` : null}`;
}
