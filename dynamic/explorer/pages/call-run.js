// One call, stream or subscription of the page Method, and its result.

import { html } from './lib/html.js';
import { loading } from './lib/view.js';
import { bytes, duration, plural } from './lib/format.js';
import { call, Stream } from './call-client.js';
import { MessageList } from './call-list.js';
import { copyButton, download, jsonView, oneLine } from './call-json.js';
import { parseJSON } from './form.js';
import { outcomeView, serverView, whoView } from './call-view.js';

// The word for a message of a server, by the kind of the method.
const arrivals = { multi: 'response', stream: 'message', subscription: 'update' };
const arrows = { sent: ['↑', 'sent'], received: ['↓', 'received'], failed: ['!', 'failed'] };

/**
 * Run is one call. changed is called when its state changes, and received when only its messages or
 * the time have changed. ended is called once, with the outcome of call-client.js and {messages,
 * text}: the number of messages and the last one.
 */
export class Run {
  // "running", "open" for a stream that accepts messages, "finished" after the user's last message,
  // or "ended".
  state = 'running';
  outcome = null;
  #began = performance.now();
  #received = 0;
  #failed = 0;
  // The last message, and its size in bytes.
  #last;
  #size = 0;
  #list = null;
  #chosen = null;
  // The view of the only response, or of the selected message.
  #view = null;
  #abort = new AbortController();
  #stream = null;
  #timer;

  constructor(method, input, { app, changed, received, ended }) {
    this.method = method;
    this.input = input;
    this.#app = app;
    this.#changed = changed;
    this.#onReceived = received;
    this.#ended = ended;
    if (method.kind !== 'single') {
      this.#list = new MessageList(`Messages of ${method.name}`, (message) => this.#row(message), (message) => this.#choose(message));
    }
    this.#timer = setInterval(received, 250);
    if (method.kind === 'stream') this.#openStream();
    else this.#call();
  }
  #app;
  #changed;
  #onReceived;
  #ended;

  get active() { return this.state !== 'ended'; }

  stop() {
    if (this.#stream) this.#stream.stop();
    else this.#abort.abort();
  }

  async #call() {
    const outcome = await call(this.method, this.input, {
      opened: () => this.#set('open'),
      message: ({ text, server, after }) => this.#add({ direction: 'received', text, server, after }),
      failed: ({ after, server, ...problem }) => {
        this.#failed++;
        this.#add({ direction: 'failed', text: JSON.stringify(problem), line: `${problem.code}: ${problem.message}`, server, after });
      },
    }, this.#abort.signal);
    if (this.method.kind === 'subscription' && this.#abort.signal.aborted) {
      Object.assign(outcome, { code: 'ok', message: '' }); // a subscription ends only when it is stopped
    }
    if (outcome.code === 'ok' && this.#failed) {
      const message = `${this.#failed} of ${this.#failed + this.#received} servers have failed.`;
      Object.assign(outcome, { code: 'failed', message });
    }
    this.#end(outcome);
  }

  #openStream() {
    this.#stream = new Stream(this.method, this.input, {
      opened: () => this.#set('open'),
      message: ({ text, after }) => this.#add({ direction: 'received', text, after }),
      ended: (outcome) => this.#end(outcome),
    });
  }

  /** send sends the request of an input on an open stream. */
  send(input) {
    this.input = input;
    const text = input.text.trim() || '{}';
    const after = this.#stream.send(text);
    this.#list.add({ direction: 'sent', text, after });
    this.#onReceived();
  }

  /** finish ends the messages from this side of the stream. */
  finish() {
    this.#stream.finish();
    this.#set('finished');
  }

  #set(state) {
    this.state = state;
    this.#changed();
  }

  #add(message) {
    if (message.direction === 'received') {
      this.#received++;
      this.#last = message.text;
    }
    if (this.#list) this.#list.add(message);
    else {
      this.#size = new Blob([message.text]).size;
      this.#view = jsonView(message.text, 'Response');
    }
    this.#onReceived();
  }

  #end(outcome) {
    clearInterval(this.#timer);
    this.outcome = outcome;
    this.state = 'ended';
    this.#ended({ ...outcome, messages: this.#received, text: this.#last });
    this.#changed();
  }

  #choose(message) {
    this.#chosen = message;
    this.#view = jsonView(message.text, 'Message');
    this.#onReceived();
  }

  #row({ direction, after, server, text, line }) {
    const [arrow, meaning] = arrows[direction];
    return html`<span class=${`m-arrow ${direction}`} title=${meaning}>${arrow}<span class="visually-hidden">${meaning}</span></span>
      <span class="m-after number">${duration(after)}</span>
      ${server ? html`<span class="m-server">${server}</span>` : null}<span class="m-text mono">${line ?? oneLine(text)}</span>`;
  }

  draw() {
    const { kind } = this.method;
    const arrived = kind !== 'single' ? plural(this.#received, arrivals[kind]) : this.#last === undefined ? null : bytes(this.#size);
    return html`${this.outcome ? outcomeView(this.outcome, arrived) : this.#drawRunning()}
      ${this.#list ? html`<div class="m-messages" ?hidden=${!this.#list.items.length}>${this.#list.element}${this.#drawChosen()}</div>`
        : this.#view ? html`${this.#view}${this.#drawActions(this.#last)}` : null}`;
  }

  #drawRunning() {
    const waited = duration((performance.now() - this.#began) / 1000);
    if (this.method.kind === 'single') return loading(`Waiting for the response for ${waited}…`);
    const open = this.method.kind === 'multi' ? 'Waiting for responses' : 'Open';
    const text = { running: 'Opening…', open, finished: 'No more messages are sent' }[this.state];
    return html`<div class="m-status"><span class="m-code info">${text}</span>
      <ul class="m-facts"><li>${plural(this.#received, arrivals[this.method.kind])}</li><li>${waited}</li></ul></div>`;
  }

  #drawChosen() {
    if (!this.#chosen) return html`<p class="m-chosen quiet">Select a message to see the details.</p>`;
    const { server, after } = this.#chosen;
    return html`<div class="m-chosen">${this.#view}<div class="actions">
      <span class="quiet small">${server ? html`${serverView(server)}, ` : null}after ${duration(after)}</span>
      ${this.#drawActions(this.#chosen.text)}</div></div>`;
  }

  #drawActions(text) {
    return html`<div class="actions">${copyButton('Copy JSON', () => text, this.#app.toast)}
      <button type="button" @click=${() => download(`${this.method.name}.json`, text)}>Download</button>
      ${this.#list ? html`<button type="button" @click=${() => this.#downloadAll()}>Download all</button>` : null}</div>`;
  }

  #downloadAll() {
    const lines = this.#list.items.map(({ direction, after, server, text }) =>
      `{"direction":${JSON.stringify(direction)},"after":${after.toFixed(6)}${server ? `,"server":${JSON.stringify(server)}` : ''},"message":${text}}`);
    download(`${this.method.name}.ndjson`, `${lines.join('\n')}\n`, 'application/x-ndjson');
  }
}

/**
 * Who finds out which servers would take a request, without running it. It has the same methods as
 * Run.
 */
export class Who {
  state = 'running';
  #answer = null;
  #error = null;
  #abort = new AbortController();

  constructor(method, input, { app, changed }) {
    const body = { method: method.fullName, topic: input.topic, metadata: input.metadata && Object.fromEntries(input.metadata) };
    Object.assign(body, input.select && { first: input.select.first, minAffinity: input.select.min, maxAffinity: input.select.max });
    // A stream is opened without a message.
    if (method.kind !== 'stream') body.request = parseJSON(input.text || '{}');
    app.api.post('/api/who', body, this.#abort.signal).then((answer) => { this.#answer = answer; }, (error) => { this.#error = error; })
      .finally(() => {
        this.state = 'ended';
        changed();
      });
  }

  get active() { return this.state !== 'ended'; }

  stop() { this.#abort.abort(); }

  draw() {
    if (this.#answer) return whoView(this.#answer);
    if (!this.#error) return loading('Asking the servers…');
    const stopped = this.#error.name === 'AbortError';
    return html`<div class="m-status"><span class="m-code bad">${stopped ? 'canceled' : this.#error.code}</span></div>
      <p class="m-message">${stopped ? 'Stopped on this page.' : this.#error.message}</p>`;
  }
}
