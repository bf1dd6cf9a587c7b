// The page Fleet: all services, servers and clients.

import { html, render } from './lib/html.js';
import { count, duration, nameParts, percent, plural, rate, time, whole, words } from './lib/format.js';
import { sparkline } from './lib/chart.js';
import { badge, failure, heading, hint, link, loading, qualified, routes, since, tile, tones } from './lib/view.js';
import './lib/table.js';

// A server is marked if its clock differs by at least this many seconds.
const skewed = 1;
// How long a report of the doctor is shown before the next one is requested, in milliseconds.
const examineAgain = 60_000;

const sum = (items, value) => items.reduce((total, item) => total + (value(item) ?? 0), 0);
const names = (services) => services.map((name) => nameParts(name)[1]).join(', ');

/** errorCell shows the fraction of failed calls. */
export const errorCell = ({ errorRate }) => errorRate > 0
  ? html`<span class=${errorRate >= 0.01 ? 'bad' : 'warn'}>${percent(errorRate)}</span>` : percent(errorRate);

const services = [
  { title: 'Service', value: ({ name }) => name, cell: ({ name }) => link(routes.service(name), qualified(name)) },
  { title: 'Methods', value: ({ methods }) => methods, end: true, width: '5.75rem', wide: true },
  {
    title: 'Servers', value: ({ servers, psrpc, silent }) => servers + (psrpc ?? 0) + (silent ?? 0), cell: serversCell,
    end: true, width: '8rem',
  },
  { title: 'Versions', value: ({ versions }) => versions, cell: versionsCell, end: true, width: '5.75rem', wide: true },
  {
    title: 'Topics', value: ({ topics }) => topics || null, cell: ({ topics }) => count(topics || null),
    end: true, width: '5rem', wide: true,
  },
  { title: 'Clients', value: ({ clients }) => clients, cell: ({ clients }) => count(clients), end: true, width: '5.25rem', wide: true },
  { title: 'Calls', value: (row) => row.rate, cell: (row) => rate(row.rate), end: true, width: '6rem', down: true },
  { title: 'Errors', value: ({ errorRate }) => errorRate, cell: errorCell, end: true, width: '5.25rem', down: true },
  { title: 'p99', value: ({ p99 }) => p99, cell: ({ p99 }) => duration(p99), end: true, width: '5.75rem', down: true },
];

function serversCell({ servers, psrpc, silent }) {
  return html`${whole(servers)}
    ${psrpc > 0 ? badge(`+${psrpc} psrpc`, 'muted', 'psrpc servers, which report no details') : null}
    ${silent > 0 ? badge(`${silent} silent`, 'bad', 'Servers that receive requests but have not answered') : null}`;
}

function versionsCell({ versions }) {
  return versions > 1 ? badge(versions, 'warn', 'Several versions are in use') : versions || '–';
}

function stateOf({ kind, state, health, problem }) {
  if (problem) return 'refused';
  if (kind !== 'dynpsrpc') return kind;
  return health === 'not_serving' ? health : state;
}

function stateCell(server) {
  const { clockOffset = 0, problem } = server;
  const state = stateOf(server);
  const clock = `clock ${clockOffset > 0 ? '+' : ''}${duration(clockOffset)}`;
  return html`<span class="badges">${badge(words(state), tones[state] ?? '', problem?.message)}
    ${Math.abs(clockOffset) >= skewed ? badge(clock, 'warn', 'The clock of the server differs from that of the explorer') : null}</span>`;
}

/** serverColumns are the columns of a table of servers. */
export const serverColumns = [
  { title: 'Server', value: ({ id, kind }) => kind === 'dynpsrpc' ? id : null, cell: serverCell, find: findServer },
  {
    title: 'Program', value: ({ app, appVersion }) => app ? `${app} ${appVersion ?? ''}` : null, cell: programCell,
    width: '8rem', wide: true,
  },
  { title: 'State', value: stateOf, cell: stateCell, find: (row) => words(stateOf(row)), width: '7.75rem' },
  { title: 'Services', value: (row) => names(row.services), width: '8rem', wide: true },
  { title: 'Calls', value: (row) => row.rate, cell: (row) => rate(row.rate), end: true, width: '5.25rem', down: true },
  { title: 'Errors', value: ({ errorRate }) => errorRate, cell: errorCell, end: true, width: '5.25rem', down: true },
  { title: 'p99', value: ({ p99 }) => p99, cell: ({ p99 }) => duration(p99), end: true, width: '5.75rem', down: true },
  { title: 'Active', value: activeOf, cell: (row) => count(activeOf(row)), end: true, width: '4.75rem', wide: true, down: true },
  { title: 'Uptime', value: runningOf, cell: ({ started }) => started ? since(started) : '–', end: true, width: '6.5rem', wide: true },
];

/** serverHref returns the address of a server's page. Servers without an ID have none. */
export const serverHref = ({ id, kind }) => kind === 'dynpsrpc' ? routes.server(id) : null;

function serverCell({ id, kind, count: number }) {
  if (kind !== 'dynpsrpc') return html`<span class="quiet">${plural(number, 'server')}</span>`;
  return link(routes.server(id), html`<span class="mono">${id}</span>`);
}

// findServer returns the text that the filter of the servers searches: the ID, and each label as
// name=value.
function findServer({ id, labels = {} }) {
  return [id, ...Object.entries(labels).map((label) => label.join('='))].join(' ');
}

function programCell({ app, appVersion }) {
  return app ? html`${app} <span class="quiet">${appVersion}</span>` : '–';
}

function activeOf({ kind, active }) {
  return kind === 'dynpsrpc' ? active : null;
}

function runningOf({ started }) {
  return started ? Date.now() - new Date(started) : null;
}

const clients = [
  { title: 'Client', value: ({ id }) => id, cell: ({ id }) => html`<span class="mono">${id}</span>` },
  { title: 'Services', value: (row) => names(row.services) },
];

const groups = {
  '': null,
  'program': ({ app }) => app || 'unknown program',
  'version': ({ app, appVersion }) => app ? `${app} ${appVersion ?? ''}` : 'unknown version',
  'state': (row) => words(stateOf(row)),
  'service': (row) => names(row.services) || 'no service',
};

const noServices = html`<p>No service is known on this bus.</p>
  <p>Start a server, or run <code>psrpc up</code> to try an example.</p>`;
const noServers = html`<p>No server has answered.</p><p>Servers appear when their program calls <code>fleet.Serve</code>.</p>`;

export default {
  open(root, params, app) {
    const { fleet } = app.store;
    const byLabel = new Map();
    let group = app.store.load('fleet.group', '');
    let examined = null;

    // groupOf returns the same function for the same label, so that the table does not regroup its
    // rows.
    function groupOf(name) {
      if (name in groups) return groups[name];
      if (!byLabel.has(name)) byLabel.set(name, ({ labels }) => `${name} = ${labels?.[name] ?? 'none'}`);
      return byLabel.get(name);
    }

    function setGroup(event) {
      group = event.target.value;
      app.store.save('fleet.group', group);
      draw();
    }

    function draw() {
      const { now, error, history, recent } = fleet;
      if (!now) {
        render(html`${heading('Fleet')}
          ${error ? failure(error, null, 'The fleet cannot be shown') : loading('Asking the servers…')}`, root);
        return;
      }
      render(html`
        ${heading('Fleet', { note: now.truncated ? 'The fleet is too large to show. This is a part of it.' : null })}
        ${error ? hint('bad', `This is the state at ${time(now.at).slice(0, 8)}.`, error.message) : null}
        <dl class="tiles">${serversTile(now)}${trafficTiles(now, history)}${app.session.doctor ? doctorTile(examined) : null}</dl>
        <section class="section" aria-labelledby="services">
          <h2 id="services">Services</h2>
          <x-table .memory=${'fleet.services'} .label=${'Services'} .columns=${services}
            .key=${serviceKey} .href=${serviceHref} .filterLabel=${now.services.length > 8 ? 'Filter services' : ''}
            .empty=${noServices} .rows=${now.services}></x-table>
        </section>
        <section class="section" aria-labelledby="servers">
          <div class="section-head"><h2 id="servers">Servers</h2>${now.servers.length > 1 ? groupField(now) : null}</div>
          <x-table .memory=${'fleet.servers'} .label=${'Servers'} .columns=${serverColumns}
            .href=${serverHref} .group=${groupOf(group)} .filterLabel=${now.servers.length > 1 ? 'Filter servers' : ''}
            .empty=${noServers} .rows=${now.servers}></x-table>
        </section>
        ${now.clients.length ? html`<section class="section" aria-labelledby="clients">
          <h2 id="clients">Clients</h2>
          <x-table .label=${'Clients'} .columns=${clients}
            .filterLabel=${now.clients.length > 8 ? 'Filter clients' : ''} .rows=${now.clients}></x-table>
        </section>` : null}
        ${recent.length ? changesPanel(recent) : null}`, root);
    }

    function groupField(now) {
      const labels = [...new Set(now.servers.flatMap((server) => Object.keys(server.labels ?? {})))].sort();
      const textOf = (name) => name in groups ? name || 'nothing' : `label ${name}`;
      return html`<label class="check">Group by <select @change=${setGroup}>${[...Object.keys(groups), ...labels].map((name) =>
        html`<option value=${name} .selected=${name === group}>${textOf(name)}</option>`)}</select></label>`;
    }

    // examine gets a report of the doctor, unless the last one is recent.
    async function examine() {
      const kept = app.store.examined;
      if (kept && Date.now() - kept.at < examineAgain) {
        examined = kept;
      } else {
        examined = { at: Date.now() };
        try {
          const { findings } = await app.api.get('/api/doctor');
          examined.findings = findings ?? [];
          app.store.examined = examined;
        } catch (error) {
          examined.error = error;
        }
      }
      if (root.isConnected) draw();
    }

    const stop = fleet.watch(draw);
    const waiting = fleet.now ? 0 : setTimeout(draw, 150);
    const timer = app.session.doctor ? setTimeout(examine, 500) : 0;
    return () => {
      clearTimeout(waiting);
      clearTimeout(timer);
      stop();
    };
  },
};

const serviceKey = ({ name, wireName }) => `${name} ${wireName}`;
const serviceHref = ({ name }) => routes.service(name);

function serversTile({ servers }) {
  const counts = { serving: 0 };
  for (const server of servers) {
    const state = stateOf(server);
    counts[state] = (counts[state] ?? 0) + (server.count ?? 1);
  }
  const states = Object.entries(counts).filter(([, n]) => n);
  return tile('Servers', whole(sum(states, ([, n]) => n)), states.map(([state, n], i) =>
    html`${i ? ' · ' : ''}<span class=${state === 'serving' ? '' : tones[state] ?? ''}>${whole(n)} ${words(state)}</span>`));
}

function trafficTiles({ services: all }, history) {
  const known = all.some((service) => service.rate != null);
  const calls = sum(all, (service) => service.rate);
  const failed = sum(all, (service) => service.rate * service.errorRate);
  const slowest = all.filter(({ p99 }) => p99 != null).sort((a, b) => b.p99 - a.p99)[0];
  const course = history.length > 1 ? sparkline(history.map((total) => total.rate), 'Calls per second in the last minutes') : null;
  return [
    tile('Services', whole(all.length), plural(sum(all, ({ methods }) => methods), 'method')),
    tile('Calls', html`${known ? rate(calls) : '–'}${course}`, course ? null : 'measuring'),
    failed > 0 ? tile('Errors', percent(failed / calls), `${rate(failed)} fail`, 'bad') : tile('Errors', known ? percent(0) : '–', 'of all calls'),
    tile('Slowest p99', duration(slowest?.p99), slowest ? nameParts(slowest.name)[1] : 'no calls'),
  ];
}

function doctorTile(examined) {
  const to = (text) => html`<a href="#/doctor">${text}</a>`;
  if (examined?.error) return tile('Doctor', '?', to('check failed'));
  if (!examined?.findings) return tile('Doctor', '–', 'checking');
  const number = (severity) => examined.findings.filter((finding) => finding.severity === severity).length;
  const errors = number('error'), warnings = number('warn');
  const more = warnings ? `, ${plural(warnings, 'warning')}` : '';
  if (errors) return tile('Doctor', errors, to(`${errors === 1 ? 'problem' : 'problems'}${more}`), 'bad');
  if (warnings) return tile('Doctor', warnings, to(warnings === 1 ? 'warning' : 'warnings'), 'warn');
  return tile('Doctor', 'OK', to('no problems'), 'good');
}

const changesPanel = (recent) => html`<section class="panel" aria-labelledby="changes">
  <h2 id="changes">Recent changes</h2>
  <ol class="changes">${recent.map(({ at, server, kind, service, status, text }) => html`<li>
    <span class="quiet number">${time(at).slice(0, 8)}</span>
    <a class="mono" href=${routes.server(server)}>${server}</a>
    <span>${[words(kind), service && nameParts(service)[1], status && words(status)].filter(Boolean).join(' ')}
      <span class="quiet">${text}</span></span></li>`)}</ol>
</section>`;
