// The page of a server: its state, health, counters and administration.

import { html, render } from './lib/html.js';
import { bytes, count, date, duration, full, percent, rate, time, whole, words } from './lib/format.js';
import { histogram, merged, quantile, sparkline } from './lib/chart.js';
import {
  badge, confirm, facts, failure, heading, hint, link, loading, qualified, routes, since, tile, tones,
} from './lib/view.js';
import './lib/table.js';

// The number of points in the chart of calls.
const remembered = 60;
const levels = ['debug', 'info', 'warn', 'error'];

const withoutNulls = (answer) => JSON.parse(JSON.stringify(answer, (key, value) => value ?? undefined));
const errorsOf = (stats) => Object.values(stats?.errors ?? {}).reduce((sum, n) => sum + n, 0);
// used returns the durations of a method, or undefined if the method has not been called.
const used = (stats) => stats?.duration?.count ? stats.duration : undefined;
const statusBadge = (status) => badge(words(status), tones[status] ?? '');
const counter = (value) => value === undefined ? null : html`<span title=${whole(value)}>${count(value)}</span>`;
// faults shows a counter of faults, which is red unless it is 0.
const faults = (value) => value ? html`<span class="bad">${whole(value)}</span>` : '0';

const methodColumns = [
  {
    title: 'Method', value: ({ service, name }) => `${service}/${name}`,
    cell: ({ service, name, unimplemented }) => html`<span class="quiet">${service.split('.').pop()}/</span>${
      link(routes.method(service, name), name)} ${unimplemented ? badge('unimplemented', 'warn', 'The server has no handler') : null}`,
  },
  { title: 'Calls', value: (method) => method.rate, cell: (method) => rate(method.rate), end: true, width: '5.5rem', down: true },
  {
    title: 'Total', value: ({ stats }) => stats?.callsStarted, cell: ({ stats }) => count(stats?.callsStarted),
    end: true, width: '5.5rem', wide: true, down: true,
  },
  { title: 'Active', value: ({ stats }) => stats?.active, cell: activeCell, end: true, width: '6.25rem', down: true },
  { title: 'Errors', value: ({ stats }) => stats && errorsOf(stats), cell: errorsCell, end: true, width: '7.5rem', down: true },
  {
    title: 'Declined', value: ({ stats }) => stats?.declined, cell: ({ stats }) => count(stats?.declined),
    end: true, width: '5.75rem', wide: true, down: true,
  },
  {
    title: 'Not run', value: ({ stats }) => stats && stats.notRun + stats.expired, cell: ({ stats }) => count(stats && stats.notRun + stats.expired),
    end: true, width: '5.25rem', wide: true, down: true,
  },
  {
    title: 'p50', value: ({ stats }) => used(stats)?.p50, cell: ({ stats }) => duration(used(stats)?.p50),
    end: true, width: '5.75rem', wide: true, down: true,
  },
  {
    title: 'p99', value: ({ stats }) => used(stats)?.p99, cell: ({ stats }) => duration(used(stats)?.p99),
    end: true, width: '5.75rem', down: true,
  },
];

function activeCell({ stats, maxConcurrent }) {
  return html`${count(stats?.active)}${maxConcurrent ? html`<span class="quiet"> of ${count(maxConcurrent)}</span>` : null}`;
}

function errorsCell({ stats }) {
  const errors = errorsOf(stats);
  if (!errors) return stats ? '0' : '–';
  const codes = Object.entries(stats.errors).map(([code, n]) => `${words(code)}: ${n}`).join('\n');
  const share = percent(errors / Math.max(1, stats.callsStarted));
  return html`<span class="bad" title=${codes}>${count(errors)} <span class="small">(${share})</span></span>`;
}

export default {
  open(root, { id }, app) {
    const path = `/api/servers/${encodeURIComponent(id)}`;
    const history = [];
    let server = null, methods = [], problem = null, busy = false;

    function take(answer) {
      server = withoutNulls(answer);
      problem = null;
      methods = server.services.flatMap((service) => service.methods.map((method) => ({ ...method, service: service.name })));
      if (methods.some((method) => method.rate !== undefined)) {
        history.push(methods.reduce((sum, method) => sum + (method.rate ?? 0), 0));
        history.splice(0, history.length - remembered);
      }
      draw();
    }

    function fail(error) {
      problem = error;
      draw();
    }

    // change makes a change on the server and shows the result in a message.
    async function change(verb, body, done) {
      busy = true;
      draw();
      try {
        const answer = await app.api.post(`${path}/${verb}`, body);
        app.toast(done(answer), 'good');
      } catch (error) {
        app.toast(error, 'bad');
      }
      busy = false;
      draw();
      stop.now();
    }

    async function drain() {
      const text = html`<span class="mono">${id}</span> takes no new requests until it is resumed. It finishes those in progress.`;
      if (await confirm('Drain this server?', text, 'Drain')) await change('drain', {}, () => 'The server is draining.');
    }

    async function reload(name) {
      const text = 'The server loads the plugin again from the same place. Calls are not interrupted.';
      if (await confirm(`Reload ${name}?`, text, 'Reload', '')) {
        await change('reload-plugin', { name }, () => `${name} has been reloaded.`);
      }
    }

    function setLevel(event) {
      const level = event.target.value;
      event.target.value = '';
      if (level) change('log-level', { level }, ({ previous }) => `The log level is now ${level}; it was ${previous.toLowerCase()}.`);
    }

    // actions are disabled in a read-only explorer, with a note that says so.
    function actions() {
      const { readOnly } = app.session;
      const disabled = busy || readOnly;
      return html`
        <a class="button" href=${`#/live?server=${encodeURIComponent(id)}`}>Watch live</a>
        <label class="check">Log level <select ?disabled=${disabled} @change=${setLevel}><option value="">change…</option>${
          levels.map((level) => html`<option value=${level}>${level}</option>`)}</select></label>
        ${server.state === 'draining'
          ? html`<button type="button" ?disabled=${disabled} @click=${() => change('resume', {}, () => 'The server takes requests again.')}>Resume</button>`
          : html`<button type="button" ?disabled=${disabled} @click=${drain}>Drain…</button>`}
        ${readOnly ? html`<span class="quiet small">This explorer is read-only.</span>` : null}`;
    }

    function draw() {
      const above = html`<a href="#/fleet">Fleet</a> / Server`;
      const title = html`<span class="mono">${id}</span>`;
      if (!server) {
        render(html`${heading(title, { above })}
          ${problem ? failure(problem, () => stop.now(), 'The server cannot be shown') : loading('Asking the server…')}`, root);
        return;
      }
      const { app: program, appVersion, state, health, bus, runtime, plugins, now, truncated } = server;
      const durations = merged(methods.map(({ stats }) => stats?.duration.buckets ?? []));
      const note = html`<span class="badges">${statusBadge(state)}${
        health.status === 'unknown' ? null : badge(`health: ${words(health.status)}`, tones[health.status] ?? '')}</span> ${program} ${appVersion}`;
      render(html`
        ${heading(title, { above, note, actions: actions() })}
        ${problem ? hint('bad', `The server does not answer. This is its state at ${time(now).slice(0, 8)}.`, problem.message) : null}
        ${truncated ? hint('warn', 'This is incomplete.', 'The full response of the server would be too large.') : null}
        ${tiles(server, methods, durations, history)}
        <section class="section" aria-labelledby="methods"><h2 id="methods">Methods</h2>
          <x-table .label=${'Methods'} .columns=${methodColumns} .key=${({ service, name }) => `${service}/${name}`}
            .href=${({ service, name }) => routes.method(service, name)} .filterLabel=${methods.length > 8 ? 'Filter methods' : ''}
            .empty=${'The server serves no methods.'} .rows=${methods}></x-table></section>
        <div class="columns">
          ${panel('Durations', histogram(durations, 'Durations of all calls'))}
          ${panel('Health', healthPart(health))}
          ${lastErrors(methods)}
          ${topicsPanel(methods)}
          ${panel('Identity', identity(server))}
          ${bus ? panel('Bus', busPart(bus)) : null}
          ${runtime ? panel('Process', processPart(runtime)) : null}
          ${plugins.length ? panel('Plugins', plugins.map((plugin) => pluginPart(plugin, busy || app.session.readOnly, reload))) : null}
        </div>`, root);
    }

    const stop = app.api.poll(path, app.session.refresh, take, fail);
    draw();
    return stop;
  },
};

function panel(title, content) {
  const id = `part-${title.replaceAll(' ', '-')}`;
  return html`<section class="panel" aria-labelledby=${id}><h2 id=${id}>${title}</h2>${content}</section>`;
}

function tiles({ state, started, stateSince, roundTrip, clockOffset }, methods, durations, history) {
  const total = (name) => methods.reduce((sum, { stats }) => sum + (stats?.[name] ?? 0), 0);
  const errors = methods.reduce((sum, { stats }) => sum + errorsOf(stats), 0);
  const clock = Math.abs(clockOffset) < 0.001 ? 'clock in sync'
    : `clock ${duration(Math.abs(clockOffset))} ${clockOffset > 0 ? 'ahead' : 'behind'}`;
  const course = history.length > 1 ? sparkline(history, 'Calls per second in the last minutes') : null;
  const panics = total('panics') ? html` · <span class="bad">${count(total('panics'))} panics</span>` : null;
  return html`<dl class="tiles">
    ${tile('Calls', html`${rate(history.at(-1))}${course}`, course ? null : 'measuring')}
    ${tile('Active', count(total('active')), `${count(total('callsStarted'))} calls in total`)}
    ${tile('Errors', count(errors), html`${percent(errors / Math.max(1, total('callsStarted')))} of all calls${panics}`, errors ? 'bad' : '')}
    ${tile('p50', duration(quantile(durations, 0.5)), `p99 ${duration(quantile(durations, 0.99))}`)}
    ${tile('Round trip', duration(roundTrip), clock)}
    ${tile('Uptime', since(started), html`${state} for ${since(stateSince ?? started)}`)}
  </dl>`;
}

function healthPart({ status, services, checks }) {
  const named = Object.entries(services);
  if (!checks.length && !named.length) {
    return html`<p class="quiet">${status === 'unknown' ? 'The program has no health checks.'
      : `The server is ${words(status)}. Its program has no checks.`}</p>`;
  }
  return html`<ul class="list">
    ${checks.map(({ name, status: result, text, since: at }) => html`<li>
      <div class="section-head"><b>${name}</b><span>${at ? html`<span class="quiet small">for ${since(at)}</span> ` : null}${statusBadge(result)}</span></div>
      ${text ? html`<div class="small">${text}</div>` : null}</li>`)}
    ${named.map(([name, result]) => html`<li><div class="section-head"><span>${qualified(name)}</span>${statusBadge(result)}</div></li>`)}</ul>`;
}

function lastErrors(methods) {
  const failed = methods.filter(({ stats }) => date(stats?.lastError?.at))
    .sort((a, b) => date(b.stats.lastError.at) - date(a.stats.lastError.at)).slice(0, 8);
  if (!failed.length) return null;
  return panel('Last errors', html`<ul class="list">${failed.map(({ service, name, stats: { lastError: { at, code, text } } }) => html`<li>
    <a href=${routes.method(service, name)}>${name}</a> ${badge(words(code), 'bad')} <span class="quiet">${since(at)} ago</span>
    ${text ? html`<div class="small">${text}</div>` : null}</li>`)}</ul>`);
}

function topicsPanel(methods) {
  const used = methods.filter(({ topicCount }) => topicCount);
  if (!used.length) return null;
  return panel('Topics', html`<ul class="list">${used.map(({ service, name, topics, topicCount }) => html`<li>
    <a href=${routes.method(service, name)}>${name}</a> <span class="badges">${topics.map((topic) => badge(topic))}</span>
    ${topicCount > topics.length ? html`<span class="quiet">and ${whole(topicCount - topics.length)} more</span>` : null}</li>`)}</ul>`);
}

const identity = ({ app, appVersion, software, started, labels = {} }) => facts([
  ['Program', app && `${app} ${appVersion}`], ['Library', software], ['Started', full(started)],
  ...Object.entries(labels).sort(([a], [b]) => a < b ? -1 : 1),
]);

const busPart = ({ kind, connected, rtt, prefix, modes, redisDb, published, publishErrors, received, dropped, disconnects }) => facts([
  ['Kind', html`${kind} ${connected ? badge('connected', 'good') : badge('not connected', 'bad')}`],
  ['Round trip', rtt ? duration(rtt) : null], ['Prefix', prefix], ['Modes', modes.map(words).join(', ')], ['Database', redisDb || null],
  ['Published', counter(published)], ['Not published', faults(publishErrors)], ['Received', counter(received)],
  ['Dropped', faults(dropped)], ['Disconnects', faults(disconnects)],
]);

const processPart = ({ os, arch, numCpu, goroutines, rssBytes, heapBytes, cpu, gcPause, openFds }) => facts([
  ['System', `${os}/${arch}, ${numCpu} CPUs`], ['Goroutines', counter(goroutines)],
  ['Memory', html`${bytes(rssBytes)} <span class="quiet">including ${bytes(heapBytes)} of heap</span>`],
  ['CPU time', duration(cpu)], ['Garbage collection', html`${duration(gcPause)} <span class="quiet">paused in total</span>`],
  ['Open files', counter(openFds)],
]);

function pluginPart({ name, version, state, loader, digest, generation, since: at, services, handled, failed, error }, disabled, reload) {
  return html`<div class="plugin">
    <div class="section-head"><h3>${name} <span class="quiet">${version}</span> ${badge(words(state), error ? 'bad' : 'good')}</h3>
      <button type="button" ?disabled=${disabled} @click=${() => reload(name)}>Reload…</button></div>
    ${facts([
      ['Loader', loader], ['Digest', digest && html`<code>${digest.slice(0, 16)}</code>`], ['Generation', generation], ['Since', since(at)],
      ['Services', services.map((service) => html`${qualified(service)} `)], ['Handled', counter(handled)], ['Failed', faults(failed)],
      ['Error', error && html`<span class="bad">${error}</span>`],
    ])}</div>`;
}
