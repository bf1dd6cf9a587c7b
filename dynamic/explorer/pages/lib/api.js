// The client of the explorer's own API. Paths begin with "/" but are relative to the page, so that
// the explorer also works below another path.

/**
 * ApiError is an error that the API has returned. If there was no response, its code is
 * "unavailable".
 */
export class ApiError extends Error {
  constructor(code, message, status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** url returns the address of a path, such as "/api/fleet" or "/rpc/pkg.Service/Method". */
export const url = (path) => new URL(path.replace(/^\//, ''), document.baseURI).href;

/** get returns the JSON of a path. signal is an AbortSignal. */
export const get = (path, signal) => request(path, { signal });

/** post sends JSON and returns the JSON of the response. */
export const post = (path, body = {}, signal) => request(path, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json', 'X-Psrpc-Explorer': '1' },
  body: JSON.stringify(body),
  signal,
});

async function request(path, options) {
  let response;
  try {
    response = await fetch(url(path), { ...options, credentials: 'same-origin' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('unavailable', 'The explorer does not answer. Is its program still running?');
  }
  const text = await response.text();
  let answer;
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    answer = null;
  }
  if (response.ok && answer !== null) return answer;
  if (response.status === 401) {
    dispatchEvent(new Event('psrpc-login'));
    throw new ApiError('unauthenticated', 'The session has ended. Open the link that the program has printed.', 401);
  }
  throw new ApiError(answer?.code ?? 'unknown', answer?.message ?? `HTTP status ${response.status}`, response.status);
}

/**
 * events opens a stream of server-sent events, and opens it again when it breaks. handlers has a
 * function for each event name, which gets the parsed data. The function "open" is called each time
 * the stream has been opened, and "lost" each time it breaks. An event "error" from the server has
 * data, unlike the browser's own event "error" for a broken stream. events returns a function that
 * closes the stream.
 */
export function events(path, handlers) {
  const { open, lost, ...named } = handlers;
  let source, timer, delay = 500, closed = false;
  const connect = () => {
    source = new EventSource(url(path));
    source.addEventListener('open', () => {
      delay = 500;
      open?.();
    });
    source.addEventListener('error', (event) => {
      if (event.data !== undefined) return;
      lost?.();
      // The browser reconnects by itself, but not after an HTTP error.
      if (closed || source.readyState !== EventSource.CLOSED) return;
      timer = setTimeout(connect, delay);
      delay = Math.min(delay * 2, 15000);
    });
    for (const [name, handler] of Object.entries(named)) {
      source.addEventListener(name, (event) => {
        if (event.data !== undefined) handler(event.data ? JSON.parse(event.data) : {});
      });
    }
  };
  connect();
  return () => {
    closed = true;
    clearTimeout(timer);
    source.close();
  };
}

/** eventsWhileVisible is like events, but closes the stream while the window is hidden. */
export function eventsWhileVisible(path, handlers) {
  let close = null;
  const follow = () => {
    if (!document.hidden) {
      close ??= events(path, handlers);
    } else {
      close?.();
      close = null;
    }
  };
  follow();
  document.addEventListener('visibilitychange', follow);
  return () => {
    document.removeEventListener('visibilitychange', follow);
    close?.();
  };
}

/**
 * poll requests a path at once and then at an interval in seconds, while the window is visible. It
 * calls answered with each response and failed with each error. It returns a function that stops
 * the requests. The property now of this function is a function that sends a request at once.
 */
export function poll(path, interval, answered, failed) {
  const control = new AbortController();
  let timer, asking = false;
  const ask = async () => {
    if (asking || control.signal.aborted) return;
    asking = true;
    clearTimeout(timer);
    try {
      if (!document.hidden) answered(await get(path, control.signal));
    } catch (error) {
      if (!control.signal.aborted) failed(error);
    }
    asking = false;
    timer = setTimeout(ask, interval * 1000);
  };
  ask();
  const stop = () => {
    control.abort();
    clearTimeout(timer);
  };
  return Object.assign(stop, { now: ask });
}
