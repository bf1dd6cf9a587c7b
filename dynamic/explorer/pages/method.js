// The page Method: it edits a request and makes a call, opens a stream or subscribes.

import { html, render } from './lib/html.js';
import { badge, failure, heading, loading, routes } from './lib/view.js';
import { duration, plural } from './lib/format.js';
import { styled } from './call-style.js';
import { Input } from './call-input.js';
import { Run, Who } from './call-run.js';
import { copyButton } from './call-json.js';
import { examples, keepCall, keepExample, linkTo } from './call-history.js';
import { keepFocus } from './call-view.js';
import { asCurl, asGo, asGrpcurl, asPsrpc } from './copy.js';

// The default address of psrpc gateway and psrpc up.
const defaultGateway = 'http://127.0.0.1:8321';
const verbs = { single: 'Call', multi: 'Call all servers', stream: 'Open stream', subscription: 'Subscribe' };
const kinds = {
  single: 'One server answers.', multi: 'Every server answers.', stream: 'Messages go both ways until one side closes the stream.',
  subscription: 'Subscribers get the updates that servers publish.',
};

const routings = {
  queue: 'The bus gives each request to one of the servers.', affinity: 'The server with the highest affinity gets the request.',
};

class MethodPage {
  #root;
  #app;
  #params;
  #error = null;
  #method = null;
  #schema = null;
  #input = null;
  #run = null;
  #tool;
  #queued = false;
  #examples = [];
  // The result has a root of its own, so that frequent messages do not redraw the whole page.
  #result = document.createElement('div');
  #closed = false;
  // The text that screen readers announce.
  #announcement = '';

  constructor(root, params, app) {
    this.#root = root;
    this.#params = params;
    this.#app = app;
    this.#result.className = 'section';
    this.#tool = app.store.load('copyAs', 'psrpc');
    this.onKey = (event) => this.#key(event);
    addEventListener('keydown', this.onKey);
  }

  close() {
    this.#closed = true;
    removeEventListener('keydown', this.onKey);
    this.#run?.stop();
  }

  async load() {
    const { service, method: name, query } = this.#params;
    const path = `/api/services/${encodeURIComponent(service)}`;
    try {
      const [description, schema] = await Promise.all([this.#app.api.get(path), this.#app.api.get(`${path}/schema`)]);
      const method = description.methods.find((m) => m.name === name || m.wireName === name);
      if (!method) throw new Error(`${service} has no method ${name}.`);
      this.#method = {
        ...method, service: description.name, fullName: `${description.name}/${method.name}`, pattern: `${description.wireName}/${method.wireName}`,
        viaGet: method.kind === 'subscription' || Boolean(this.#app.session?.readOnly && method.idempotent),
      };
      this.#schema = { messages: schema.messages ?? {}, enums: schema.enums ?? {} };
      this.#error = null;
      this.#loadExamples();
      this.#input = new Input(this.#method, this.#schema, () => this.draw());
      this.#input.fill(inputOf(query.get('input')));
    } catch (error) {
      this.#error = error;
      this.draw();
    }
  }

  #loadExamples() {
    this.#examples = examples(this.#app.store).filter(({ method }) => method === this.#method.fullName);
  }

  // #later draws the result once in the next animation frame, however many messages arrive before.
  #later() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      this.#drawResult();
    });
  }

  draw() {
    if (this.#closed) return;
    keepFocus(this.#root, () => render(this.#error ? html`${heading(this.#params.method, { above: this.#above(this.#params.service) })}
      ${failure(this.#error, () => this.load(), 'The method cannot be shown')}`
      : this.#method ? this.#page() : loading(), this.#root));
    this.#drawResult();
  }

  #drawResult() {
    render(this.#run ? this.#run.draw() : html`<p class="quiet">Nothing has been sent yet.</p>`, this.#result);
  }

  #above(service) { return html`<a href="#/fleet">Fleet</a> / <a href=${routes.service(service)}>${service}</a>`; }

  #page() {
    const method = this.#method;
    return html`${heading(method.name, { above: this.#above(method.service), note: this.#note(), actions: this.#headActions() })}
      <section class="panel m-request" aria-labelledby="request-title">
        <div class="section-head"><h2 id="request-title">Request <span class="quiet mono">${method.request}</span></h2>${this.#drawExamples()}</div>
        ${this.#input.drawRequest()}
        ${this.#input.drawOptions()}
        ${this.#drawActions()}
      </section>
      <section class="panel m-result" aria-labelledby="result-title">
        <h2 id="result-title">Result <span class="quiet mono">${method.response}</span></h2>
        <p class="visually-hidden" role="status">${this.#announcement}</p>
        ${this.#result}
      </section>
      ${this.#drawCopy()}`;
  }

  #note() {
    const { kind, routing, queue, requireClaim, deprecated, idempotent, comment } = this.#method;
    return html`<span class="badges">${badge(kind, kind === 'single' ? '' : 'info', kinds[kind])}
        ${routing && routing !== kind ? badge(routing, '', routings[routing]) : null}
        ${queue && routing !== 'queue' ? badge('queue', '', routings.queue) : null}
        ${requireClaim ? badge('claims', '', 'Servers offer to take a request, and the client selects one.') : null}
        ${idempotent ? badge('no side effects', '', 'HTTP clients may use GET.') : null}
        ${deprecated ? badge('deprecated', 'warn') : null}</span>
      ${comment ? html`<p class="m-comment">${comment}</p>` : null}`;
  }

  #headActions() {
    return html`<a class="button" href=${`#/live?method=${encodeURIComponent(this.#method.pattern)}`}>Watch live</a>`;
  }

  #drawExamples() {
    const saved = this.#examples;
    const choose = (event) => {
      const example = saved[Number(event.target.value)];
      event.target.value = '';
      if (example) this.#input.fill(example.input);
    };
    return html`<div class="actions">${saved.length ? html`<select aria-label="Examples" @change=${choose}>
        <option value="">${plural(saved.length, 'example')}</option>
        ${saved.map(({ name }, i) => html`<option value=${i}>${name}</option>`)}</select>` : null}
      <button type="button" @click=${() => this.#saveExample()}>Save as example</button>
      ${copyButton('Copy link', () => new URL(linkTo(this.#method.fullName, this.#input.sent), document.baseURI).href, this.#app.toast)}</div>`;
  }

  async #saveExample() {
    const name = await askName('Save as example', 'Name');
    if (!name) return;
    const saved = keepExample(this.#app.store, this.#schema, this.#method, this.#input.sent, name);
    this.#app.toast(saved ? `Saved “${name}”. History lists all examples.` : 'The browser has no space for the example.', saved ? 'good' : 'bad');
    this.#loadExamples();
    this.draw();
  }

  #drawActions() {
    const { kind, requireClaim } = this.#method;
    const active = this.#run?.active;
    const open = kind === 'stream' && active && this.#run.state !== 'running';
    const readOnly = this.#app.session?.readOnly && !this.#method.viaGet;
    const { problem } = this.#input;
    const asks = requireClaim && (kind === 'single' || kind === 'stream');
    // aria-disabled instead of disabled, which would take the focus away from the button during a
    // call.
    const blocked = problem || readOnly || (open ? this.#run.state !== 'open' : active);
    return html`<div class="m-actions">
      <button type="button" class="primary" aria-disabled=${blocked ? 'true' : null}
        @click=${() => { if (!blocked) this.#primary(); }}>${open ? 'Send message' : verbs[kind]}</button>
      ${open ? html`<button type="button" ?disabled=${this.#run.state !== 'open'} @click=${() => this.#run.finish()}>No more messages</button>`
        : asks ? html`<button type="button" aria-disabled=${problem || active ? 'true' : null} @click=${() => { if (!problem && !active) this.#who(); }}
          title="Ask which servers would take the request, without running it">Who</button>` : null}
      ${active ? html`<button type="button" @click=${() => this.#run.stop()}>${open ? 'Close' : kind === 'subscription' ? 'Unsubscribe' : 'Stop'}</button>` : null}
      <span class="quiet small">${readOnly ? 'This explorer is read only, and the method may have side effects.'
        : problem ? html`<span class="bad">${problem}</span>` : html`<kbd>Ctrl</kbd> <kbd>Enter</kbd> ${open ? 'sends' : 'starts'}, <kbd>Esc</kbd> stops`}</span></div>`;
  }

  // #primary is the action of the primary button: it sends a message on an open stream, or starts a
  // call.
  #primary() {
    if (this.#method.kind === 'stream' && this.#run?.state === 'open') this.#send();
    else this.#start();
  }

  #start() {
    const method = this.#method;
    const input = this.#input.sent;
    this.#run?.stop();
    const run = new Run(method, input, {
      app: this.#app, changed: () => this.draw(), received: () => this.#later(),
      ended: (outcome) => {
        this.#announcement = `${outcome.code} after ${duration(outcome.took)}. ${outcome.message}`;
        keepCall(this.#app.store, this.#schema, method, run.input, outcome);
      },
    });
    this.#run = run;
    this.#announcement = '';
    this.draw();
    this.#reveal();
  }

  // #reveal scrolls down until the start of the result is visible.
  #reveal() {
    const { top } = this.#result.getBoundingClientRect();
    const wanted = innerHeight * 0.7;
    if (top > wanted) scrollBy({ top: top - wanted });
  }

  #send() {
    try {
      this.#run.send(this.#input.sent);
    } catch (error) {
      this.#app.toast(error, 'bad');
    }
  }

  #who() {
    this.#run?.stop();
    this.#run = new Who(this.#method, this.#input.sent, { app: this.#app, changed: () => this.draw() });
    this.draw();
    this.#reveal();
  }

  #key(event) {
    if (!this.#input || document.querySelector('dialog[open]')) return;
    if (event.key === 'Escape' && this.#run?.active) {
      event.preventDefault();
      this.#run.stop();
    } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      // The button checks whether the action is possible now.
      this.#root.querySelector('.m-actions .primary')?.click();
    }
  }

  #drawCopy() {
    const { bus, prefix, gateway } = this.#app.session ?? {};
    const base = gateway ? new URL(gateway, location.href).href.replace(/\/$/, '') : defaultGateway;
    const texts = {
      psrpc: () => asPsrpc(this.#method, this.#input.sent, bus, prefix),
      curl: () => needsGateway + asCurl(this.#method, this.#input.sent, base),
      grpcurl: () => needsGateway + asGrpcurl(this.#method, this.#input.sent, base),
      Go: () => asGo(this.#method, this.#input.sent),
    };
    const needsGateway = gateway ? '' : '# needs psrpc gateway, which listens on this port\n';
    const text = texts[this.#tool] ?? texts.psrpc;
    const choose = (tool) => {
      this.#tool = tool;
      this.#app.store.save('copyAs', tool);
      this.draw();
    };
    return html`<section class="panel m-copy" aria-labelledby="copy-title">
      <div class="section-head"><h2 id="copy-title">Copy as</h2><div class="actions">
        <fieldset class="bare"><legend class="visually-hidden">Tool</legend><div class="choice">${Object.keys(texts).map((tool) => html`<label><input type="radio"
          name="tool" .checked=${tool === this.#tool} @change=${() => choose(tool)}>${tool}</label>`)}</div></fieldset>
        ${copyButton('Copy', text, this.#app.toast)}</div></div>
      <pre tabindex="0" role="region" aria-label="The call for ${this.#tool}">${text()}</pre></section>`;
  }
}

// inputOf returns the input in a link. It ignores invalid input, because a link may come from any
// source.
function inputOf(text) {
  try {
    const input = JSON.parse(text) ?? {};
    const strings = (list) => (Array.isArray(list) ? list.map(String) : []);
    return {
      text: typeof input.text === 'string' ? input.text : undefined, topic: strings(input.topic),
      metadata: Array.isArray(input.metadata) ? input.metadata.map(([key, value]) => [String(key), String(value)]) : [],
      timeout: Number(input.timeout) || undefined, expect: Number(input.expect) || undefined,
      select: typeof input.select === 'object' ? input.select ?? {} : {},
    };
  } catch {
    return {};
  }
}

// askName asks the user for a name. It resolves to the name, or to an empty string.
function askName(title, label) {
  return new Promise((resolve) => {
    const dialog = document.createElement('dialog');
    dialog.setAttribute('aria-labelledby', 'ask-title');
    render(html`<form method="dialog"><h2 id="ask-title">${title}</h2>
      <div class="field"><label for="ask-name">${label}</label><input id="ask-name" name="name" maxlength="80" required autocomplete="off"></div>
      <p class="quiet small">It is stored in this browser, without the values of secret fields.</p>
      <div class="actions"><button type="button" @click=${() => dialog.close('')}>Cancel</button><button class="primary" value="yes">Save</button></div></form>`, dialog);
    dialog.addEventListener('close', () => {
      const name = dialog.querySelector('input').value.trim();
      dialog.remove();
      resolve(dialog.returnValue === 'yes' ? name : '');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

export default {
  async open(root, params, app) {
    const page = new MethodPage(root, params, app);
    await Promise.all([page.load(), styled]);
    return () => page.close();
  },
};
