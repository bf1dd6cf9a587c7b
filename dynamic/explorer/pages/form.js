// The form of a message. It edits an object in protobuf's JSON mapping.

import { html } from './lib/html.js';
import {
  anyType, controlOf, elementOf, hasPresence, initialValue, keyTypeOf, parseDuration, parseScalar, parseTimestamp,
  setValue, typeText, valueOf, wellKnownForm,
} from './form-schema.js';

const anyPrefix = 'type.googleapis.com/';
const largestFile = 3 << 20;

/**
 * Form edits a message. schema is the schema of the service. changed is called after each change
 * of the message. draw returns a template of the form, which must be rendered after each change.
 */
export class Form {
  // The text typed into a field, keyed by the path of the field. It is kept until it is valid and
  // the user has left the field. Otherwise, drawing the form would replace "1." by "1".
  #typed = new Map();

  constructor(schema, changed) {
    this.schema = schema;
    this.changed = changed;
  }

  /** reset discards the typed texts, because the message has been changed elsewhere. */
  reset() { this.#typed.clear(); }

  /** problem returns the first invalid text, as {path, text}, or undefined. */
  get problem() {
    for (const [path, { problem }] of this.#typed) if (problem) return { path, text: problem };
    return undefined;
  }

  draw(name, value, path = '') {
    const fields = this.schema.messages[name]?.fields ?? [];
    if (!fields.length) return html`<p class="quiet">${name.split('.').pop()} has no fields.</p>`;
    const seen = new Set();
    return html`<div class="form-fields">${fields.map((field) => {
      if (!field.oneof || field.optional) return this.#field(field, value, path);
      if (seen.has(field.oneof)) return null;
      seen.add(field.oneof);
      return this.#oneof(fields.filter((f) => f.oneof === field.oneof && !f.optional), value, path);
    })}</div>`;
  }

  // #set changes one field of an object and calls changed.
  #set(object, field, value) {
    setValue(object, field, value);
    this.changed();
  }

  // #field draws a field with its label.
  #field(field, object, path) {
    const at = path ? `${path}.${field.jsonName}` : field.jsonName;
    const value = valueOf(object, field);
    const set = (next) => this.#set(object, field, next);
    if (field.map) return this.#many(field, at, value ?? {}, Object.keys(value ?? {}).length, this.#map(field, value ?? {}, set, at), set);
    if (field.repeated) return this.#many(field, at, value ?? [], value?.length, this.#list(field, value ?? [], set, at), set);
    if (hasPresence(field) && value == null) return this.#absent(field, at, set);
    if (controlOf(field) === 'message' || controlOf(field) === 'any') {
      return this.#group(field, html`${this.#control(field, value, set, at)}
        <button type="button" class="form-remove" data-then="f-${at}" @click=${() => { this.#forget(at); set(undefined); }}>Remove ${field.name}</button>`);
    }
    if (!hasPresence(field)) return this.#labelled(field, at, this.#control(field, value, set, at));
    return this.#labelled(field, at, html`<div class="form-row">
      ${this.#control(field, value, (next) => set(next ?? initialValue(this.schema, field)), at)}
      ${this.#removeButton(`Clear ${field.name}`, `f-${at}`, () => { this.#forget(at); set(undefined); })}</div>`);
  }

  // #absent draws a field that is not set, with a button that sets it.
  #absent(field, at, set) {
    const add = () => set(controlOf(field) === 'timestamp' ? new Date().toISOString() : initialValue(this.schema, field));
    return this.#line(field, html`<button type="button" class="form-add" id="f-${at}" @click=${add}>Set ${field.name}</button>`);
  }

  // #many draws a list or a map with its content and a button that adds an element.
  #many(field, at, values, length, content, set) {
    const next = () => initialValue(this.schema, elementOf(field));
    const add = () => set(field.map ? { ...values, [freeKey(keyTypeOf(field), values)]: next() } : [...values, next()]);
    const button = html`<button type="button" class="form-add" id="add-${at}" @click=${add}>Add to ${field.name}</button>`;
    return length ? this.#group(field, html`${content}${button}`) : this.#line(field, button);
  }

  // #removeButton draws a button that removes something. then is the ID of the element that gets
  // the focus afterwards.
  #removeButton(label, then, remove) {
    return html`<button type="button" class="form-icon" title=${label} aria-label=${label} data-then=${then} @click=${remove}>×</button>`;
  }

  // #line draws a field without a value.
  #line(field, button) {
    return html`<div class="form-field form-line"><span class="form-label">${this.#heading(field)}</span>${button}${this.#comment(field)}</div>`;
  }

  #heading(field) {
    return html`<span class="form-name">${field.name}</span> <span class="form-type">${typeText(field)}</span>
      ${field.required ? html`<span class="form-mark">required</span>` : null}
      ${field.deprecated ? html`<span class="form-mark">deprecated</span>` : null}
      ${field.redact ? html`<span class="form-mark" title="Servers and the history leave out its value.">secret</span>` : null}`;
  }

  // #labelled draws a field with one control.
  #labelled(field, at, control) {
    const typed = this.#typed.get(at);
    return html`<div class="form-field">
      <label class="form-label" for="f-${at}">${this.#heading(field)}</label>
      ${control}
      ${typed?.problem ? html`<p class="form-problem" id="p-${at}">${field.name} ${typed.problem}.</p>` : null}
      ${this.#comment(field)}</div>`;
  }

  // #group draws a field that contains other fields.
  #group(field, content) {
    return html`<fieldset class="form-group"><legend>${this.#heading(field)}</legend>
      ${this.#comment(field)}${content}</fieldset>`;
  }

  #comment(field) {
    return field.comment ? html`<p class="form-comment">${field.comment}</p>` : null;
  }

  #oneof(fields, object, path) {
    const chosen = fields.find((field) => valueOf(object, field) != null);
    const at = `${path}(${fields[0].oneof})`;
    const choose = (event) => {
      const next = fields[Number(event.target.value)];
      for (const field of fields) setValue(object, field, undefined);
      this.#forget(path ? `${path}.${chosen?.jsonName}` : chosen?.jsonName);
      if (next) setValue(object, next, initialValue(this.schema, next));
      this.changed();
    };
    return html`<fieldset class="form-group"><legend><span class="form-name">${fields[0].oneof}</span>
        <span class="form-type">oneof</span></legend>
      <select id="f-${at}" aria-label="Field of ${fields[0].oneof}" @change=${choose}>
        <option value="-1" .selected=${!chosen}>none</option>
        ${fields.map((field, i) => html`<option value=${i} .selected=${field === chosen}>${field.name}</option>`)}
      </select>
      ${chosen ? this.#chosen(chosen, object, path) : null}</fieldset>`;
  }

  // #chosen draws the chosen field of a oneof. The select of the oneof removes it.
  #chosen(field, object, path) {
    const at = path ? `${path}.${field.jsonName}` : field.jsonName;
    const set = (next) => this.#set(object, field, next ?? initialValue(this.schema, field));
    const control = this.#control(field, valueOf(object, field), set, at);
    return controlOf(field) === 'message' ? this.#group(field, control) : this.#labelled(field, at, control);
  }

  #list(field, values, set, at) {
    const element = elementOf(field);
    return html`${values.map((value, i) => html`<div class="form-row form-item">
        <div class="form-grow">${this.#element(element, value, `${field.name} ${i + 1}`, `${at}[${i}]`, (next) => {
          values[i] = next ?? initialValue(this.schema, element);
          set(values);
        })}</div>
        ${this.#removeButton(`Remove ${field.name} ${i + 1}`, `add-${at}`, () => {
          this.#forget(at);
          set(values.length > 1 ? values.toSpliced(i, 1) : undefined);
        })}</div>`)}`;
  }

  #map(field, values, set, at) {
    const element = elementOf(field);
    const keys = Object.keys(values);
    return html`${keys.map((key, i) => html`<div class="form-row form-item">
        ${this.#key(field, values, key, `${at}{${i}}`, set)}
        <div class="form-grow">${this.#element(element, values[key], `value of ${key}`, `${at}[${i}]`, (next) => {
          values[key] = next ?? initialValue(this.schema, element);
          set(values);
        })}</div>
        ${this.#removeButton(`Remove ${key} from ${field.name}`, `add-${at}`, () => {
          this.#forget(at);
          const { [key]: removed, ...rest } = values;
          set(keys.length > 1 ? rest : undefined);
        })}</div>`)}`;
  }

  // #key draws the key of an entry. A new key takes effect when the user leaves the field, because
  // JavaScript sorts keys that are whole numbers.
  #key(field, values, key, at, set) {
    const typed = this.#typed.get(at);
    const rename = (event) => {
      const next = event.target.value;
      try {
        const parsed = String(keyTypeOf(field) === 'bool' ? parseBool(next) : parseScalar(keyTypeOf(field), next));
        if (parsed !== key && Object.hasOwn(values, parsed)) throw new Error('is a duplicate');
        this.#typed.delete(at);
        set(Object.fromEntries(Object.entries(values).map(([k, v]) => [k === key ? parsed : k, v])));
      } catch (error) {
        this.#typed.set(at, { text: next, problem: error.message });
        this.changed();
      }
    };
    return html`<div class="form-key"><input class="mono" aria-label="key of ${field.name}" .value=${typed?.text ?? key}
        aria-invalid=${typed?.problem ? 'true' : null} autocomplete="off" spellcheck="false" @change=${rename}>
      ${typed?.problem ? html`<p class="form-problem">The key ${typed.problem}.</p>` : null}</div>`;
  }

  // #element draws one element of a list or a map.
  #element(element, value, label, at, set) {
    const problem = this.#typed.get(at)?.problem;
    return html`${this.#control(element, value, set, at, label)}
      ${problem ? html`<p class="form-problem" id="p-${at}">It ${problem}.</p>` : null}`;
  }

  // #control draws the control for one value. If there is no label, a label element refers to the
  // control.
  #control(field, value, set, at, label) {
    switch (controlOf(field)) {
      case 'message': return html`<div class="form-message" id="f-${at}" tabindex="-1" role="group" aria-label=${label ?? field.name}>
        ${this.draw(field.message, value ?? {}, at)}</div>`;
      case 'any': return this.#any(value ?? {}, set, at, label ?? field.name);
      case 'bool': return this.#bool(field, value, set, at, label);
      case 'enum': return this.#enum(field, value, set, at, label);
      case 'timestamp': return this.#timestamp(field, value, set, at, label);
      case 'duration': return this.#text(value, set, at, label, parseDuration, 'such as 1.5s');
      case 'json': return this.#json(value, set, at, label);
      case 'bytes': return this.#bytes(value, set, at, label);
      case 'mask': return this.#text(value, set, at, label, (text) => parseScalar('mask', text), 'fields, separated by commas');
      case 'string': return this.#text(value, set, at, label, (text) => text, field.default ?? '');
      default: return this.#text(value, set, at, label, (text) => parseScalar(controlOf(field), text), field.default ?? '0', 'decimal');
    }
  }

  // #type handles the text that the user types. If the text is empty, it removes the field.
  #type(at, text, parse, set) {
    try {
      const value = text === '' ? undefined : parse(text);
      this.#typed.set(at, { text });
      set(value);
    } catch (error) {
      this.#typed.set(at, { text, problem: error.message });
      this.changed();
    }
  }

  // #leave is called when the user leaves a field. It discards the typed text if that is valid.
  #leave(at) {
    if (this.#typed.get(at)?.problem === undefined && this.#typed.delete(at)) this.changed();
  }

  #text(value, set, at, label, parse, placeholder, inputmode) {
    const typed = this.#typed.get(at);
    const text = typed?.text ?? (value == null ? '' : String(value));
    const type = (event) => this.#type(at, event.target.value, parse, set);
    // A text with several lines cannot be shown in an input element.
    if (text.includes('\n')) {
      return html`<textarea id="f-${at}" aria-label=${label ?? null} rows="3" .value=${text} @input=${type} @blur=${() => this.#leave(at)}></textarea>`;
    }
    return html`<input id="f-${at}" aria-label=${label ?? null} .value=${text} placeholder=${placeholder} inputmode=${inputmode ?? null}
      autocomplete="off" spellcheck="false" aria-invalid=${typed?.problem ? 'true' : null}
      aria-describedby=${typed?.problem ? `p-${at}` : null} @input=${type} @blur=${() => this.#leave(at)}>`;
  }

  #bool(field, value, set, at, label) {
    const explicit = hasPresence(field) || label;
    return html`<input type="checkbox" id="f-${at}" aria-label=${label ?? null} .checked=${value === true}
      @change=${(event) => set(event.target.checked || (explicit ? false : undefined))}>`;
  }

  #enum(field, value, set, at, label) {
    const values = this.schema.enums[field.enum] ?? [];
    const known = values.find((v) => v.name === value || v.number === value);
    const implicit = !hasPresence(field) && !label;
    const choose = (event) => {
      const chosen = values[Number(event.target.value)];
      set(implicit && chosen.number === 0 ? undefined : chosen.name);
    };
    return html`<select id="f-${at}" aria-label=${label ?? null} @change=${choose}>
      ${value != null && !known ? html`<option value="" .selected=${true}>${value}</option>` : null}
      ${values.map((v, i) => html`<option value=${i} .selected=${known ? v === known : value == null && i === 0}
        >${v.name} = ${v.number}</option>`)}</select>`;
  }

  #timestamp(field, value, set, at, label) {
    const typed = this.#typed.get(at);
    const now = () => {
      this.#forget(at);
      set(new Date().toISOString());
    };
    return html`<div class="form-row"><input type="datetime-local" step="0.001" id="f-${at}" aria-label=${label ?? null}
        .value=${typed?.text ?? localTime(value)} aria-invalid=${typed?.problem ? 'true' : null}
        @change=${(event) => this.#type(at, event.target.value, parseTimestamp, set)} @blur=${() => this.#leave(at)}><span class="form-type">UTC</span>
      <button type="button" class="form-small" aria-label="Set ${label ?? field.name} to now" @click=${now}>Now</button></div>`;
  }

  #json(value, set, at, label) {
    const typed = this.#typed.get(at);
    return html`<textarea class="mono" id="f-${at}" aria-label=${label ?? null} rows="3" spellcheck="false"
      .value=${typed?.text ?? (value === undefined ? '' : JSON.stringify(value, null, 2))}
      aria-invalid=${typed?.problem ? 'true' : null} @blur=${() => this.#leave(at)}
      @input=${(event) => this.#type(at, event.target.value, parseJSON, set)}></textarea>`;
  }

  #bytes(value, set, at, label) {
    const read = async (event) => {
      const [file] = event.target.files;
      if (!file) return;
      this.#forget(at);
      if (file.size > largestFile) {
        this.#typed.set(at, { text: '', problem: 'must be smaller than 3 MiB' });
        this.changed();
      } else {
        set(toBase64(new Uint8Array(await file.arrayBuffer())));
      }
    };
    return html`<div class="form-row">${this.#text(value, set, at, label, (text) => parseScalar('bytes', text), 'Base64')}
      <label class="form-small form-file">File…<input type="file" aria-label="File for ${label ?? at}" @change=${read}></label></div>`;
  }

  #any(value, set, at, label) {
    const name = anyType(value);
    const names = Object.keys(this.schema.messages).filter((known) => known !== 'google.protobuf.Any').sort();
    const choose = (event) => {
      this.#forget(at);
      set(event.target.value ? this.#newAny(event.target.value) : {});
    };
    const inner = { type: 'message', message: name, name: 'value', jsonName: 'value' };
    return html`<select id="f-${at}" aria-label="Type of ${label}" @change=${choose}>
        <option value="" .selected=${!name}>choose a type</option>
        ${name && !names.includes(name) ? html`<option .selected=${true}>${name}</option>` : null}
        ${names.map((known) => html`<option .selected=${known === name}>${known}</option>`)}</select>
      ${!name ? null : wellKnownForm(name)
        ? this.#labelled(inner, `${at}.value`, this.#control(inner, value.value, (next) => this.#set(value, inner, next), `${at}.value`))
        : html`<div class="form-message" role="group" aria-label=${label}>${this.draw(name, value, at)}</div>`}`;
  }

  #newAny(name) {
    const value = { '@type': anyPrefix + name };
    if (wellKnownForm(name)) value.value = initialValue(this.schema, { type: 'message', message: name });
    return value;
  }

  // #forget discards the typed text of a field and of all fields inside it.
  #forget(path) {
    for (const at of this.#typed.keys()) {
      if (at === path || at.startsWith(path) && '.[{('.includes(at[path.length])) this.#typed.delete(at);
    }
  }
}

function parseBool(text) {
  if (text !== 'true' && text !== 'false') throw new Error('must be true or false');
  return text;
}

/**
 * parseJSON parses JSON. It returns whole numbers that JavaScript cannot represent as strings of
 * digits.
 */
export function parseJSON(text) {
  try {
    return JSON.parse(text, (key, value, context) =>
      Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source) ? context.source : value);
  } catch (error) {
    throw new Error(`is not JSON: ${error.message}`);
  }
}

// localTime converts RFC 3339 to the value of an input of type datetime-local, in UTC. It uses the
// same short form as browsers.
function localTime(value) {
  const at = Date.parse(value);
  return Number.isNaN(at) ? '' : new Date(at).toISOString().slice(0, -1).replace(/\.000$/, '').replace(/(T\d\d:\d\d):00$/, '$1');
}

// freeKey returns a key that a map does not have yet.
function freeKey(type, values) {
  const keys = type === 'bool' ? ['false', 'true'] : { next: (i) => (type === 'string' ? `key${i || ''}` : String(i)) };
  if (Array.isArray(keys)) return keys.find((key) => !(key in values)) ?? 'false';
  for (let i = 0; ; i++) if (!(keys.next(i) in values)) return keys.next(i);
}

function toBase64(data) {
  let text = '';
  for (let i = 0; i < data.length; i += 0x8000) text += String.fromCharCode(...data.subarray(i, i + 0x8000));
  return btoa(text);
}
