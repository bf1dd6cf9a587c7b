// The page Live: a tap of servers, or the updates of a subscription.

import { url } from './lib/api.js';
import { html, render } from './lib/html.js';
import { heading, routes } from './lib/view.js';
import { duration, plural, time, whole } from './lib/format.js';
import { call, lines } from './call-client.js';
import { linkTo } from './call-history.js';
import { copyButton, download, jsonView, oneLine } from './call-json.js';
import { Kept, MessageList } from './call-list.js';
import { keepFocus, serverView } from './call-view.js';
import { styled } from './call-style.js';

// The maximum number of characters of a recording.
const mostRecorded = 128 << 20;
const longestDelay = 10_000;
// Errors after which a retry would not help.
const final = new Set(['invalid_argument', 'permission_denied', 'unauthenticated', 'unimplemented', 'not_found', 'failed_precondition']);
const requests = new Set(['request', 'message_in']);
// Claims and declines are hidden by default, because each server sends one for each request.
const claims = new Set(['claim', 'decline']);
const failures = new Set(['error', 'decline']);

class LivePage {
  #root;
  #app;
  #source = 'tap';
  #settings = { method: '', server: '', filter: '', rate: '' };
  #claims = false;
  #filterProblem = '';
  // The subscriptions of all services, or null until they have been loaded.
  #subscriptions = null;
  #subscription = null;
  #loading = false;
  #topic = '';
  // The AbortController of the running tap or subscription, or null.
  #running = null;
  #status = { tone: '', text: 'Not started' };
  #paused = false;
  // Events that have arrived since the page was paused.
  #pending = new Kept();
  // The lines of the recording, and the number of their characters.
  #recorded = null;
  #recordedCharacters = 0;
  #seen = 0;
  #missed = 0;
  #chosen = null;
  #view = null;
  #queued = false;
  #closed = false;

  constructor(root, params, app) {
    this.#root = root;
    this.#app = app;
    for (const name of Object.keys(this.#settings)) this.#settings[name] = params.query.get(name) ?? '';
    this.#list = new MessageList('Events', (event) => this.#row(event), (event) => this.#choose(event));
    this.#unwatch = app.store.fleet.watch(() => {
      this.#loadSubscriptions();
      this.#later();
    });
    this.draw();
    if (params.query.has('method') || params.query.has('server')) this.#start();
  }
  #list;
  #unwatch;

  close() {
    this.#closed = true;
    this.#unwatch();
    this.#running?.abort();
  }

  get #services() { return this.#app.store.fleet.now?.services ?? []; }

  // #later draws once in the next animation frame, however many events arrive before.
  #later() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      this.draw();
    });
  }

  #start() {
    this.#running?.abort();
    const abort = this.#running = new AbortController();
    this.#tell('', 'Opening…');
    const done = this.#source === 'tap' ? this.#tap(abort) : this.#subscribe(abort);
    done.finally(() => {
      if (this.#running !== abort) return;
      this.#running = null;
      this.#later();
    });
  }

  #stop() {
    this.#running?.abort();
    this.#running = null;
    this.#tell('', 'Stopped');
  }

  #tell(tone, text) {
    this.#status = { tone, text };
    this.#later();
  }

  // #tap shows the events of a tap until it is stopped. If the connection breaks, it opens the tap
  // again.
  async #tap(abort) {
    const query = new URLSearchParams(Object.entries(this.#settings).filter(([, value]) => value));
    // Once servers have been watched, every error is retried, because it may come from the restart
    // of a server.
    let watched = false;
    for (let delay = 1000; !abort.signal.aborted; delay = Math.min(delay * 2, longestDelay)) {
      let problem = { code: 'unavailable', message: 'The tap has ended.' };
      try {
        const response = await fetch(url(`/api/tap?${query}`), { signal: abort.signal, credentials: 'same-origin' });
        if (!response.ok) {
          problem = await response.json();
        } else {
          for await (const event of events(response.body)) {
            delay = 1000;
            if (event.name === 'open') {
              problem = this.#opened(event.data) ?? problem;
              watched ||= event.data.servers.length > 0;
            } else if (event.name === 'frame') this.#add({ ...event.data, text: event.data.message === undefined ? '' : JSON.stringify(event.data.message) });
            else if (event.name === 'lost') this.#missed += event.data.count;
            else if (event.name === 'end' && event.data.message) problem = event.data;
          }
        }
      } catch {
        problem.message = 'The connection to the explorer has been lost.';
      }
      if (abort.signal.aborted) return;
      if (!watched && final.has(problem.code)) return void this.#tell('bad', problem.message);
      this.#tell('warn', `${problem.message} Trying again…`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, delay);
        abort.signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); });
      });
    }
  }

  // #opened shows which servers are watched. If there are none, it returns the problem.
  #opened({ servers, found, refused }) {
    if (!servers.length) return refused[0];
    const others = found - servers.length;
    this.#tell('good', `Watching ${plural(servers.length, 'server')}${others > 0 ? ` of ${whole(found)}` : ''}${refused.length
      ? `. ${refused[0].server}: ${refused[0].message}` : ''}`);
    return undefined;
  }

  async #subscribe(abort) {
    const method = this.#subscription;
    if (!method) return void this.#tell('bad', 'There is no subscription to open.');
    const input = { text: '{}', topic: method.topics && this.#topic ? this.#topic.split('/') : undefined };
    const outcome = await call(method, input, {
      opened: () => this.#tell('good', 'Subscribed'),
      message: ({ text }) => this.#add({ at: new Date().toISOString(), kind: 'update', method: method.fullName, topic: input.topic, text }),
    }, abort.signal);
    if (!abort.signal.aborted) this.#tell(outcome.code === 'ok' ? '' : 'bad', outcome.message || 'The subscription has ended.');
  }

  #add(event) {
    if (claims.has(event.kind) && !this.#claims) return;
    this.#seen++;
    if (this.#recorded && this.#recordedCharacters < mostRecorded) {
      this.#recorded.push(line(event));
      this.#recordedCharacters += this.#recorded.at(-1).length;
    }
    if (this.#paused) this.#pending.add([event]);
    else this.#list.add(event);
    this.#later();
  }

  #pause() {
    this.#paused = !this.#paused;
    if (!this.#paused) this.#list.add(...this.#pending.take());
    this.draw();
  }

  #clear() {
    this.#list.clear();
    this.#pending.take();
    this.#seen = this.#missed = 0;
    this.#chosen = this.#view = null;
    this.draw();
  }

  #record() {
    if (this.#recorded) {
      download('psrpc.ndjson', this.#recorded.join(''), 'application/x-ndjson');
      this.#recorded = null;
    } else {
      this.#recorded = [];
      this.#recordedCharacters = 0;
    }
    this.draw();
  }

  #choose(event) {
    this.#chosen = event;
    this.#view = event.text ? jsonView(event.text, 'Message') : null;
    this.draw();
  }

  // #chooseSource switches the source. It loads the subscriptions each time, because services come
  // and go.
  #chooseSource(source) {
    this.#stop();
    this.#source = source;
    this.#subscriptions = null;
    this.#loadSubscriptions();
  }

  // #loadSubscriptions loads the subscriptions of all services if the page shows them, as soon as
  // the services are known.
  async #loadSubscriptions() {
    if (this.#source !== 'subscription' || this.#subscriptions || this.#loading || !this.#app.store.fleet.now) return;
    this.#loading = true;
    const found = await Promise.allSettled(this.#services.slice(0, 100).map(({ name }) => this.#app.api.get(`/api/services/${encodeURIComponent(name)}`)));
    this.#loading = false;
    const failed = found.find(({ reason }) => reason);
    if (failed) this.#tell('bad', failed.reason.message);
    this.#subscriptions = found.filter(({ value }) => value).flatMap(({ value }) => value.methods
      .filter(({ kind }) => kind === 'subscription').map((method) => ({ ...method, fullName: `${value.name}/${method.name}` })));
    const chosen = this.#subscription?.fullName;
    this.#subscription = this.#subscriptions.find(({ fullName }) => fullName === chosen) ?? this.#subscriptions[0] ?? null;
    this.#later();
  }

  async #checkFilter() {
    const { filter, method } = this.#settings;
    this.#filterProblem = '';
    try {
      if (filter) await this.#app.api.post('/api/check-filter', { filter, method });
    } catch (error) {
      if (filter === this.#settings.filter) this.#filterProblem = error.message;
    }
    this.#later();
  }

  draw() {
    if (this.#closed) return;
    const running = this.#running !== null;
    keepFocus(this.#root, () => render(html`${heading('Live', { note: 'The messages of servers, as they happen. Servers send copies without secret fields; the calls are not affected.' })}
      <section class="panel m-request" aria-label="What to watch">
        <fieldset class="bare"><legend class="visually-hidden">Source</legend><div class="choice">${[['tap', 'Watch servers'], ['subscription', 'Subscribe']].map(([value, label]) => html`<label>
          <input type="radio" name="source" .checked=${this.#source === value} @change=${() => this.#chooseSource(value)}>${label}</label>`)}</div></fieldset>
        ${this.#source === 'tap' ? this.#drawTap() : this.#drawSubscription()}
        <div class="m-actions">
          ${running ? html`<button type="button" @click=${() => this.#stop()}>Stop</button>`
            : html`<button type="button" class="primary" ?disabled=${this.#filterProblem !== ''} @click=${() => this.#start()}>Start</button>`}
          <button type="button" aria-pressed=${this.#paused ? 'true' : 'false'} @click=${() => this.#pause()}>${this.#paused
            ? `Resume (${whole(this.#pending.items.length)} new)` : 'Pause'}</button>
          <button type="button" @click=${() => this.#clear()}>Clear</button>
          <button type="button" aria-pressed=${this.#recorded ? 'true' : 'false'} @click=${() => this.#record()}>${this.#recorded
            ? `Download ${plural(this.#recorded.length, 'event')}${this.#recordedCharacters < mostRecorded ? '' : ', full'}` : 'Record'}</button>
          <span class="live ${this.#status.tone}"><span class="dot" aria-hidden="true"></span><span role="status">${this.#status.text}</span></span>
          <span class="quiet small number">${plural(this.#seen, 'event')}${this.#missed ? `, ${whole(this.#missed)} dropped` : null}</span></div>
      </section>
      ${this.#list.items.length ? html`<div class="m-messages">${this.#list.element}${this.#drawChosen()}</div>`
        : html`<div class="empty">${running ? 'No events yet.' : 'Press Start to watch.'}</div>`}`, this.#root));
  }

  #drawTap() {
    const { method, server, filter, rate } = this.#settings;
    const servers = (this.#app.store.fleet.now?.servers ?? []).filter(({ kind }) => kind === 'dynpsrpc').slice(0, 1000);
    const set = (name) => (event) => { this.#settings[name] = event.target.value; };
    // While the tap is running, a change takes effect at once.
    const again = () => { if (this.#running && !this.#filterProblem) this.#start(); };
    return html`<div class="m-live-tools">
      <div class="field"><label for="live-method">Methods</label><input id="live-method" list="live-methods" .value=${method} placeholder="all, or Orders/*"
        autocomplete="off" spellcheck="false" @input=${set('method')} @change=${again}>
        <datalist id="live-methods">${this.#services.map(({ wireName }) => html`<option value="${wireName}/*"></option>`)}</datalist></div>
      <div class="field"><label for="live-server">Server</label><select id="live-server" @change=${(event) => { set('server')(event); again(); }}>
        <option value="" .selected=${!server}>all, at most 20</option>
        ${server && !servers.some(({ id }) => id === server) ? html`<option .selected=${true}>${server}</option>` : null}
        ${servers.map(({ id }) => html`<option .selected=${id === server}>${id}</option>`)}</select></div>
      <div class="field"><label for="live-rate">Events per second</label><input id="live-rate" type="number" min="1" max="1000" .value=${rate}
        placeholder="100" @input=${set('rate')} @change=${again}></div>
      <label class="check m-beside"><input type="checkbox" .checked=${this.#claims} @change=${(event) => { this.#claims = event.target.checked; }}>
        Show claims</label>
      <div class="field m-wide"><label for="live-filter">Filter <span class="quiet">CEL</span></label><input id="live-filter" class="mono" .value=${filter}
        placeholder='duration &gt; duration("50ms") || code != ""' autocomplete="off" spellcheck="false" aria-invalid=${this.#filterProblem ? 'true' : null}
        aria-describedby="live-filter-note" @input=${set('filter')} @change=${async () => { await this.#checkFilter(); again(); }}>
        <p class="${this.#filterProblem ? 'field-error' : 'quiet small'}" id="live-filter-note">${this.#filterProblem
          || 'Fields: method, kind, code, duration, topic, client_id, metadata and message, such as message.amount > 100'}</p></div></div>`;
  }

  #drawSubscription() {
    if (!this.#subscriptions) return html`<p class="quiet">Looking for subscriptions…</p>`;
    if (!this.#subscriptions.length) return html`<p class="quiet">No service has a subscription.</p>`;
    return html`<div class="m-live-tools">
      <div class="field m-wide"><label for="live-subscription">Subscription</label><select id="live-subscription" @change=${(event) => {
        this.#subscription = this.#subscriptions[event.target.selectedIndex];
        this.#stop();
      }}>${this.#subscriptions.map((method) => html`<option .selected=${method === this.#subscription}>${method.fullName}</option>`)}</select></div>
      ${this.#subscription?.topics ? html`<div class="field"><label for="live-topic">Topic</label><input id="live-topic" .value=${this.#topic}
        autocomplete="off" @input=${(event) => { this.#topic = event.target.value; }}></div>` : null}</div>`;
  }

  #row({ at, kind, method, server, duration: took, error, text }) {
    const code = error?.code ?? error;
    return html`<span class="number quiet">${time(at)}</span>
      <span class=${`m-kind ${failures.has(kind) || code ? 'bad' : requests.has(kind) ? '' : 'quiet'}`}>${code || kind.replaceAll('_', ' ')}</span>
      <span class="m-method">${method.split('.').pop()}</span><span class="m-server">${server ?? ''}</span>
      <span class="m-after number">${took ? duration(took) : null}</span><span class="m-text mono">${text ? oneLine(text, 200) : error?.message ?? ''}</span>`;
  }

  #drawChosen() {
    const event = this.#chosen;
    if (!event) return html`<p class="m-chosen quiet">Select an event to see the details.</p>`;
    const code = event.error?.code ?? event.error;
    const rows = [
      ['time', time(event.at)], ['server', serverView(event.server)], ['kind', event.kind.replaceAll('_', ' ')],
      ['method', this.#methodLink(event)], ['topic', event.topic?.join('/')],
      ['code', code], ['error', event.error?.message], ['duration', event.duration ? duration(event.duration) : null],
      ['client', event.client], ['request', event.id], ['affinity', event.affinity],
      ['metadata', event.metadata && Object.keys(event.metadata).length ? Object.entries(event.metadata).map(([key, value]) => `${key}: ${value}`).join(', ') : null],
    ].filter(([, value]) => value);
    return html`<div class="m-chosen"><dl class="m-pairs">${rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
      ${this.#view}
      <div class="actions">${this.#drawOpen(event)}
        ${copyButton('Copy JSON', () => line(event).trim(), this.#app.toast)}</div></div>`;
  }

  // #fullName returns the full name of the method of an event, which may have only the name on the
  // bus.
  #fullName({ method }) {
    const at = method.lastIndexOf('/');
    const service = this.#services.find(({ name, wireName }) => wireName === method.slice(0, at) || name === method.slice(0, at));
    return service && `${service.name}${method.slice(at)}`;
  }

  #methodLink(event) {
    const name = this.#fullName(event);
    const at = name?.lastIndexOf('/');
    return name ? html`<a href=${routes.method(name.slice(0, at), name.slice(at + 1))}>${event.method}</a>` : event.method;
  }

  #drawOpen(event) {
    const name = this.#fullName(event);
    if (!name || !requests.has(event.kind)) return null;
    const input = { text: event.text || '{}', topic: event.topic?.length ? event.topic : undefined };
    return html`<a class="button" href=${linkTo(name, input)}>Open in Method</a>`;
  }
}

// line returns an event as a line of newline-delimited JSON.
function line({ text, ...event }) {
  const members = JSON.stringify({ ...event, message: undefined }).slice(1, -1);
  return `{${members}${text ? `,"message":${text}` : ''}}\n`;
}

// events yields the server-sent events of a response as {name, data}. The explorer writes the data
// of an event in one line.
async function* events(body) {
  let name = 'message';
  for await (const text of lines(body)) {
    if (text.startsWith('event:')) name = text.slice(6).trim();
    else if (text.startsWith('data:')) {
      yield { name, data: JSON.parse(text.slice(5) || '{}') };
      name = 'message';
    }
  }
}

export default {
  async open(root, params, app) {
    await styled;
    const page = new LivePage(root, params, app);
    return () => page.close();
  },
};
