// Calls and examples that the browser stores, without their secrets.

import { redacted } from './form-schema.js';

const mostCalls = 200;
const mostExamples = 100;
// Longer requests and responses are not stored, so that 200 calls fit into the browser's storage.
const mostText = 8_000;
const secretKey = /auth|token|secret|passw|cookie|credential|api-?key|session/i;

// crypto.randomUUID does not exist in pages from another machine without TLS.
const newID = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;

/**
 * calls returns the stored calls, newest first: {id, at, method, kind, input, code, took, server,
 * messages, error, text}.
 */
export const calls = (store) => store.load('calls', []);

/** examples returns the saved examples: {id, at, name, method, kind, input}. */
export const examples = (store) => store.load('examples', []);

/** keepCall adds a call to the history. schema is the schema of its service. */
export function keepCall(store, schema, method, input, outcome) {
  const call = {
    id: newID(), at: new Date().toISOString(), method: method.fullName, kind: method.kind,
    input: withoutSecrets(schema, method.request, input),
    code: outcome.code, took: outcome.took, server: outcome.server, messages: outcome.messages,
    error: outcome.code === 'ok' ? undefined : String(outcome.message).slice(0, 500),
    text: outcome.text === undefined ? undefined : kept(schema, method.response, outcome.text),
  };
  save(store, 'calls', [call, ...calls(store)].slice(0, mostCalls));
}

/**
 * keepExample saves a request under a name. It replaces an example with the same name and method.
 */
export function keepExample(store, schema, method, input, name) {
  const example = {
    id: newID(), at: new Date().toISOString(), name, method: method.fullName, kind: method.kind,
    input: withoutSecrets(schema, method.request, input),
  };
  const others = examples(store).filter((e) => e.name !== name || e.method !== method.fullName);
  return save(store, 'examples', [example, ...others].slice(0, mostExamples));
}

/** removeCall and removeExample remove the entry with an ID, or all entries if there is no ID. */
export const removeCall = (store, id) => remove(store, 'calls', calls(store), id);
export const removeExample = (store, id) => remove(store, 'examples', examples(store), id);

function remove(store, key, entries, id) {
  save(store, key, id ? entries.filter((entry) => entry.id !== id) : []);
}

// save stores the entries, or only the newest of them if the browser has no space for all.
function save(store, key, entries) {
  for (let rest = entries; ; rest = rest.slice(0, Math.floor(rest.length / 2))) {
    if (store.save(key, rest)) return true;
    if (!rest.length) return false;
  }
}

/** withoutSecrets returns an input without the values of secret fields and of secret metadata. */
export function withoutSecrets(schema, type, input) {
  const metadata = input.metadata?.map(([key, value]) => [key, secretKey.test(key) ? '[redacted]' : value]);
  return { ...input, text: kept(schema, type, input.text), metadata };
}

// kept returns the JSON of a message without secrets. It returns undefined if the text is too long,
// or is not JSON and might therefore contain secrets.
function kept(schema, type, text) {
  if (text.length > 4 * mostText) return undefined;
  try {
    const safe = JSON.stringify(redacted(schema, type, JSON.parse(text)));
    if (safe.length > mostText) return undefined;
    // Prefer the original text, in which numbers keep all their digits.
    return safe === JSON.stringify(JSON.parse(text)) ? text : safe;
  } catch {
    return undefined;
  }
}

/** linkTo returns the address of a method's page with a request filled in. */
export function linkTo(method, input) {
  const at = method.lastIndexOf('/');
  const path = `#/method/${method.slice(0, at)}/${method.slice(at + 1)}`;
  return input ? `${path}?input=${encodeURIComponent(JSON.stringify(input))}` : path;
}
