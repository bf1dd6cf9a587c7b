// The input of a call: the request, as a form and as JSON, and the options of the call.

import { html } from './lib/html.js';
import { Form, parseJSON } from './form.js';
import { check, initialValue, skeleton, wellKnownForm } from './form-schema.js';
import { indented } from './call-json.js';

/**
 * Input is what the user wants to send. method is a method of /api/services/{name}, with its
 * fullName. schema is the schema of the service. changed is called after each change, so that the
 * page is drawn again.
 */
export class Input {
  // The request as JSON. This text is sent, so that numbers keep all their digits.
  text = '{}';
  // The request as an object, which the form edits, or undefined while the JSON is wrong.
  #value = {};
  #problems = [];
  #topic;
  #metadata = [];
  #timeout = '';
  #expect = '';
  #select = { first: false, min: '', max: '' };
  // Which groups of options are expanded.
  #unfolded = { selection: false, metadata: false };

  constructor(method, schema, changed) {
    this.method = method;
    this.schema = schema;
    this.#changed = changed;
    this.#topic = this.#topicParts.map(() => '');
    this.form = new Form(schema, () => {
      this.text = JSON.stringify(this.#value, null, 2);
      changed();
    });
  }
  #changed;

  /** fill sets the input to values as `sent` returns them. All of them may be missing. */
  fill({ text, topic = [], metadata = [], timeout, expect, select = {} }) {
    this.#setText(text ? indentedOrSame(text) : this.#emptyText);
    if (topic.length > this.#topic.length) topic = [...topic.slice(0, this.#topic.length - 1), topic.slice(this.#topic.length - 1).join('/')];
    this.#topic = this.#topic.map((_, i) => topic[i] ?? '');
    this.#metadata = metadata.map((pair) => [...pair]);
    this.#timeout = timeout ? String(timeout) : '';
    this.#expect = expect ? String(expect) : '';
    this.#select = { first: Boolean(select.first), min: String(select.min ?? ''), max: String(select.max ?? '') };
    this.#unfolded = { selection: Boolean(compact(this.#select)), metadata: metadata.length > 0 };
    this.#changed();
  }

  /**
   * sent is the input in the form of copy.js, without options that methods of this kind do not use.
   */
  get sent() {
    const { kind } = this.method;
    const limited = kind === 'single' || kind === 'multi';
    return {
      text: this.#hasRequest ? this.text.trim() || this.#emptyText : '{}',
      topic: this.method.topics && this.#topic.some(Boolean) ? this.#topicValues : undefined,
      metadata: kind !== 'subscription' && this.#metadata.some(([key]) => key) ? this.#metadata.filter(([key]) => key) : undefined,
      timeout: limited ? Number(this.#timeout) || undefined : undefined,
      expect: kind === 'multi' ? Number(this.#expect) || undefined : undefined,
      select: this.#selects ? compact(this.#select) : undefined,
    };
  }

  /** value is the request as an object, or undefined while it is not valid. */
  get value() { return this.problem ? undefined : this.#value; }

  /** problem says why the input cannot be sent, or is undefined. */
  get problem() {
    const wrong = this.form.problem ?? this.#problems[0];
    return wrong && `${wrong.path ? `${wrong.path} ` : ''}${wrong.text}`;
  }

  // #emptyText is the JSON of an empty request. Well-known messages such as StringValue have a JSON
  // form of their own.
  get #emptyText() {
    const { request } = this.method;
    return wellKnownForm(request) ? JSON.stringify(initialValue(this.schema, { type: 'message', message: request })) : '{}';
  }

  // #fullText is the JSON of a request in which every field is present.
  get #fullText() {
    const { request } = this.method;
    return wellKnownForm(request) ? this.#emptyText : JSON.stringify(skeleton(this.schema, request), null, 2);
  }

  get #hasRequest() { return this.method.kind !== 'subscription'; }
  get #selects() { return this.method.requireClaim && (this.method.kind === 'single' || this.method.kind === 'stream'); }
  get #topicParts() { return this.method.topicParams?.length ? this.method.topicParams : ['topic']; }

  // #topicValues returns the parts of the topic. If the schema does not name the parts, the user
  // has typed all into one field.
  get #topicValues() {
    return this.method.topicParams?.length ? this.#topic : this.#topic[0].split('/');
  }

  #setText(text) {
    this.text = text;
    this.form.reset();
    try {
      const value = parseJSON(text.trim() || this.#emptyText);
      this.#problems = check(this.schema, this.method.request, value);
      this.#value = value;
    } catch (error) {
      this.#problems = [{ path: '', text: `The request ${error.message}` }];
    }
  }

  #edit(text) {
    this.#setText(text);
    this.#changed();
  }

  /** drawRequest draws the form and the JSON of the request. */
  drawRequest() {
    if (!this.#hasRequest) return html`<p class="quiet">A subscription sends no request: updates arrive as soon as it is open.</p>`;
    const invalid = this.#problems.length > 0;
    return html`<div class="m-editors">
      <section class="m-form" aria-label="Form of the request">${invalid
        ? html`<p class="quiet">The form reappears when the JSON is valid.</p>`
        : wellKnownForm(this.method.request) ? html`<p class="quiet">A ${this.method.request.split('.').pop()} has no form. Edit its JSON.</p>`
          : this.form.draw(this.method.request, this.#value)}</section>
      <section class="m-source" aria-label="JSON of the request">
        <textarea class="mono" aria-label="Request as JSON" spellcheck="false" autocomplete="off" .value=${this.text}
          aria-invalid=${invalid ? 'true' : null} aria-describedby=${invalid ? 'request-problems' : null}
          @input=${(event) => this.#edit(event.target.value)}></textarea>
        ${invalid ? html`<ul class="m-problems" id="request-problems">${this.#problems.map(({ path, text }) =>
          html`<li>${path ? html`<code>${path}</code> ` : null}${text}</li>`)}</ul>` : null}
        <div class="actions">
          <button type="button" ?disabled=${invalid} @click=${() => this.#edit(indented(this.text || this.#emptyText))}>Indent</button>
          <button type="button" @click=${() => this.#edit(this.#fullText)}
            title="Fill in all fields with default values">All fields</button>
          <button type="button" @click=${() => this.#edit(this.#emptyText)}>Empty</button>
        </div>
      </section></div>`;
  }

  /** drawOptions draws topic, timeout and the like. */
  drawOptions() {
    const { kind } = this.method;
    const limited = kind === 'single' || kind === 'multi';
    const parts = [
      this.method.topics ? this.#topicParts.map((name, i) => this.#drawTopic(name, i)) : null,
      limited ? this.#number('Timeout in seconds', 'timeout', this.#timeout, '0.001', 'default', (text) => { this.#timeout = text; }) : null,
      kind === 'multi' ? this.#number('Expected responses', 'expect', this.#expect, '1', 'all servers', (text) => { this.#expect = text; }) : null,
    ].flat().filter(Boolean);
    return html`<div class="m-options">${parts}
      ${this.#selects ? this.#drawSelection() : null}
      ${kind === 'subscription' ? null : this.#drawMetadata()}</div>`;
  }

  #drawTopic(name, i) {
    // The API joins the parts of a topic by "|".
    const names = (this.method.topicNames ?? []).map((topic) => this.method.topicParams?.length ? topic.split('|')[i] : topic.replaceAll('|', '/'));
    const known = [...new Set(names)].filter(Boolean);
    return html`<div class="field"><label for="topic-${i}">Topic${name === 'topic' ? null : html` <span class="quiet">${name}</span>`}</label>
      <input id="topic-${i}" .value=${this.#topic[i]} list="topics-${i}" autocomplete="off" spellcheck="false"
        @input=${(event) => { this.#topic[i] = event.target.value; this.#changed(); }}>
      <datalist id="topics-${i}">${known.map((part) => html`<option value=${part}></option>`)}</datalist></div>`;
  }

  #number(label, id, value, step, placeholder, set) {
    return html`<div class="field"><label for="call-${id}">${label}</label>
      <input id="call-${id}" type="number" min=${step} step="any" .value=${value} placeholder=${placeholder}
        @input=${(event) => { set(event.target.value); this.#changed(); }}></div>`;
  }

  // #unfold remembers whether a group is expanded, because drawing would otherwise collapse it.
  #unfold(part) { return (event) => { this.#unfolded[part] = event.target.open; }; }

  #drawSelection() {
    const { first, min, max } = this.#select;
    const set = (change) => { Object.assign(this.#select, change); };
    return html`<details ?open=${this.#unfolded.selection} @toggle=${this.#unfold('selection')}>
      <summary>Selection${summary([first && 'first', min && `min ${min}`, max && `max ${max}`])}</summary>
      <div class="m-options">
        <label class="check"><input type="checkbox" .checked=${first}
          @change=${(event) => { set({ first: event.target.checked }); this.#changed(); }}>Take the first server that claims</label>
        ${this.#number('Minimum affinity', 'min', min, '0', 'any', (text) => set({ min: text }))}
        ${this.#number('Sufficient affinity', 'max', max, '0', 'none', (text) => set({ max: text }))}
      </div></details>`;
  }

  #drawMetadata() {
    const rows = this.#metadata;
    const edit = (i, part) => (event) => { rows[i][part] = event.target.value; this.#changed(); };
    return html`<details ?open=${this.#unfolded.metadata} @toggle=${this.#unfold('metadata')}><summary>Metadata${summary(rows.map(([key]) => key))}</summary>
      <div class="m-metadata">${rows.map(([key, value], i) => html`<div class="form-row">
        <input class="mono form-key" aria-label="Metadata key ${i + 1}" placeholder="key" .value=${key}
          autocomplete="off" spellcheck="false" @input=${edit(i, 0)}>
        <input class="mono form-grow" aria-label="Metadata value ${i + 1}" placeholder="value" .value=${value}
          autocomplete="off" spellcheck="false" @input=${edit(i, 1)}>
        <button type="button" class="form-icon" aria-label="Remove metadata ${key || i + 1}" title="Remove"
          @click=${() => { rows.splice(i, 1); this.#changed(); }}>×</button></div>`)}
        <button type="button" class="form-add" @click=${() => {
          rows.push(['', '']);
          this.#unfolded.metadata = true; // the event toggle may not have arrived yet
          this.#changed();
        }}>Add metadata</button></div></details>`;
  }
}

const summary = (items) => {
  const shown = items.filter(Boolean);
  return shown.length ? html` <span class="quiet">${shown.join(', ')}</span>` : null;
};

// compact returns the parts of a selection that are set, or undefined.
function compact({ first, min, max }) {
  const set = { ...(first && { first }), ...(Number(min) > 0 && { min: Number(min) }), ...(Number(max) > 0 && { max: Number(max) }) };
  return Object.keys(set).length ? set : undefined;
}

function indentedOrSame(text) {
  try {
    JSON.parse(text);
    return indented(text);
  } catch {
    return text;
  }
}
