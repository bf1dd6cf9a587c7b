// Calls of methods through the gateway, which is at /rpc/.

import { url } from './lib/api.js';
import { headers } from './copy.js';

const subprotocol = 'psrpc.v1';
// A stream accepts no more messages while more than this number of bytes wait to be sent.
const mostWaiting = 4 << 20;
const stoppedHere = { code: 'canceled', message: 'Stopped on this page.' };
const lost = { code: 'unavailable', message: 'The connection to the explorer has been lost. Is its program still running?' };

/**
 * call calls a method that is not a stream. input is as described in copy.js. on has the functions
 * opened(), message({text, server, after}), and failed({code, message, server, details, after}) for
 * the error of one server of a multi call. call returns the outcome {code, message, details,
 * server, requestId, phases, took}; it never throws. Times are in seconds. Subscriptions, and
 * methods with the field viaGet, use GET, which a read-only explorer permits.
 */
export async function call(method, input, on, signal) {
  const began = performance.now();
  const after = () => (performance.now() - began) / 1000;
  const outcome = { code: 'ok', message: '', details: [], server: '', requestId: '', phases: [], took: 0 };
  const get = method.kind === 'subscription' || method.viaGet;
  let sent;
  try {
    sent = new Headers(headers(input).map(([name, value]) => [name, inBytes(value)]));
  } catch {
    return { ...outcome, code: 'invalid_argument', message: 'HTTP headers cannot carry this metadata: keys have letters, digits, - and _, and values have one line.' };
  }
  sent.set('Accept', 'application/x-ndjson');
  if (!get) sent.set('Content-Type', 'application/json');
  try {
    const path = url(`/rpc/${method.fullName}`);
    const response = await fetch(get ? `${path}?message=${encodeURIComponent(input.text)}` : path, {
      method: get ? 'GET' : 'POST', body: get ? undefined : input.text, signal, credentials: 'same-origin', cache: 'no-store', headers: sent,
    });
    // In a multi call, the header names only the server that answered first.
    if (method.kind === 'single') outcome.server = response.headers.get('Psrpc-Server') ?? '';
    outcome.requestId = response.headers.get('Psrpc-Request-Id') ?? '';
    outcome.phases = serverTiming(response.headers.get('Server-Timing'));
    if (!response.ok) {
      Object.assign(outcome, problemOf(await response.text(), response.status));
    } else {
      on.opened?.();
      for await (const line of lines(response.body)) take(line, method, on, outcome, after);
    }
  } catch {
    Object.assign(outcome, signal?.aborted ? stoppedHere : lost);
  }
  outcome.took = after();
  return outcome;
}

// inBytes returns the bytes of a text in UTF-8 as characters, because fetch sends one byte for each
// character of a header.
const inBytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

// take handles one line of the response. In a multi call, an error of one server does not end the
// call; any other error does.
function take(line, method, on, outcome, after) {
  const frame = JSON.parse(line);
  if (!frame.error) {
    on.message({ text: memberOf(line, frame), server: frame.server ?? outcome.server, after: after() });
  } else if (method.kind === 'multi' && frame.error.server) {
    on.failed?.({ details: [], ...frame.error, after: after() });
  } else {
    Object.assign(outcome, { details: [], ...frame.error });
  }
}

// memberOf returns the JSON of a message exactly as the gateway has sent it. Parsing and encoding
// it would change numbers with many digits.
function memberOf(line, frame) {
  const begin = '{"message":';
  const end = frame.server === undefined ? '}' : `,"server":${JSON.stringify(frame.server)}}`;
  return line.startsWith(begin) && line.endsWith(end) ? line.slice(begin.length, -end.length) : JSON.stringify(frame.message ?? {});
}

// problemOf returns the error in the body of a response.
function problemOf(body, status) {
  try {
    const problem = JSON.parse(body);
    if (problem.code) return { details: [], message: '', ...problem };
  } catch { /* It is not JSON: something else than the gateway has answered. */ }
  if (status === 401) dispatchEvent(new Event('psrpc-login'));
  return { code: status === 401 ? 'unauthenticated' : 'unknown', message: body.trim().slice(0, 500) || `HTTP status ${status}` };
}

/** lines yields the lines of a response as they arrive, without empty ones. */
export async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = value.split('\n');
      if (parts.length > 1) {
        yield* [rest.join('') + parts[0], ...parts.slice(1, -1)].filter(Boolean);
        rest = [];
      }
      rest.push(parts.at(-1));
    }
    if (rest.join('')) yield rest.join('');
  } finally {
    // If the caller stops early, this ends the request.
    reader.cancel().catch(() => {});
  }
}

// serverTiming returns the phases of the header Server-Timing, as {label, value} in seconds.
export function serverTiming(header) {
  return (header ?? '').split(',').flatMap((entry) => {
    const [label, ...parameters] = entry.split(';').map((part) => part.trim());
    const duration = parameters.find((parameter) => parameter.startsWith('dur='));
    return label && duration ? [{ label, value: Number(duration.slice(4)) / 1000 }] : [];
  });
}

/**
 * Stream is a call of a stream over a WebSocket. on has the functions opened(), message({text,
 * after}), and ended(outcome), which is called once. The outcome has the same fields as that of
 * call.
 */
export class Stream {
  #socket;
  #on;
  #began = performance.now();
  #outcome = { code: 'ok', message: '', details: [], server: '', requestId: '', phases: [], took: 0 };
  #ended = false;
  // Whether the gateway has ended the stream, or the user has stopped it.
  #finished = false;

  constructor(method, input, on) {
    this.#on = on;
    this.#socket = new WebSocket(streamURL(method, input), [subprotocol]);
    let opened = false;
    this.#socket.onopen = () => { opened = true; on.opened(); };
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = () => {
      if (!this.#finished) {
        Object.assign(this.#outcome, opened ? lost : { code: 'unavailable', message: 'The gateway has not accepted the stream.' });
      }
      this.#end();
    };
  }

  get #after() { return (performance.now() - this.#began) / 1000; }

  #receive(data) {
    const frame = JSON.parse(data);
    if (frame.error) {
      this.#finished = true;
      Object.assign(this.#outcome, { details: [], ...frame.error });
    } else if (frame.end) {
      this.#finished = true;
    } else {
      this.#on.message({ text: memberOf(data, frame), after: this.#after });
    }
  }

  #end() {
    if (this.#ended) return;
    this.#ended = true;
    this.#outcome.took = this.#after;
    this.#on.ended(this.#outcome);
  }

  /**
   * send sends a message, which is JSON. It returns the time since the start, like the field after
   * of messages.
   */
  send(text) {
    if (this.#socket.readyState !== WebSocket.OPEN) throw new Error('The stream is not open.');
    if (this.#socket.bufferedAmount > mostWaiting) throw new Error('The server does not read the messages fast enough.');
    this.#socket.send(`{"message":${text}}`);
    return this.#after;
  }

  /** finish tells the gateway that no more messages follow. Messages of the server still arrive. */
  finish() { this.#socket.send('{"end":true}'); }

  /** stop closes the stream at once. */
  stop() {
    if (this.#ended) return;
    this.#finished = true;
    this.#socket.close();
    this.#end();
  }
}

// streamURL returns the address of a stream. Headers are in the query, because a browser cannot add
// headers to a WebSocket.
function streamURL(method, input) {
  const address = new URL(url(`/rpc/${method.fullName}`));
  address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  for (const [name, value] of headers(input)) {
    address.searchParams.append(name === 'Psrpc-Topic' ? 'topic' : 'header', name === 'Psrpc-Topic' ? value : `${name}:${value}`);
  }
  return address.href;
}
