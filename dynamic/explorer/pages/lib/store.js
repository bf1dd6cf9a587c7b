// Data that several pages share: the state of the fleet, and values that the browser stores.

import * as api from './api.js';

const remembered = 60;
// The pause before the next attempt after a failure, in milliseconds.
const pause = 2000;

/**
 * Fleet follows the servers and services while a page watches them and the window is visible. now
 * is the newest state, or null: {at, truncated, services, servers, clients}. history contains the
 * last total rates of all services, as {rate, errors} per second. recent contains the last changes
 * that servers have published, the newest first. error is the reason why there is no newer state.
 * live says whether the stream of changes is open.
 */
class Fleet {
  now = null;
  error = null;
  live = false;
  history = [];
  recent = [];
  #servers = new Map();
  #watchers = new Set();
  #following = null;

  constructor() {
    document.addEventListener('visibilitychange', () => this.#follow());
  }

  /**
   * watch calls watcher now and after each change of the state. It returns a function that ends
   * these calls.
   */
  watch(watcher) {
    this.#watchers.add(watcher);
    if (this.now || this.error) watcher(this);
    this.#follow();
    return () => this.#watchers.delete(watcher);
  }

  /** server returns a server of the newest state, or undefined. */
  server(id) { return this.#servers.get(id); }

  // The stream stays open when the last watcher has gone, because the next page probably needs it.
  #follow() {
    if (document.hidden) {
      this.#following?.abort();
      this.#following = null;
      this.live = false;
    } else if (this.#watchers.size && !this.#following) {
      this.#following = new AbortController();
      this.#connect(this.#following.signal);
    }
  }

  // connect loads the whole state and then follows the changes. When the stream breaks, it starts
  // again.
  async #connect(signal) {
    const again = (error) => {
      if (signal.aborted) return;
      this.#tell({ live: false, error });
      setTimeout(() => signal.aborted || this.#connect(signal), pause);
    };
    try {
      const state = await api.get('/api/fleet', signal);
      this.now = { clients: [] };
      this.#update({ ...state, whole: true });
    } catch (error) {
      return again(error);
    }
    const close = api.events(`/api/fleet/events?since=${encodeURIComponent(this.now.at)}`, {
      open: () => this.#tell({ live: true }),
      lost: () => {
        close();
        again(null);
      },
      fleet: (update) => {
        this.#update(update);
        this.#tell({ live: true, error: null });
      },
      problem: (error) => this.#tell({ live: false, error }),
      change: (change) => this.#tell({ recent: [change, ...this.recent].slice(0, 20) }),
    });
    signal.addEventListener('abort', close);
  }

  // update applies changes, or replaces the state if they are the whole state.
  #update({ servers = [], gone = [], whole = false, ...rest }) {
    if (whole) this.#servers.clear();
    for (const server of servers) this.#servers.set(server.id, server);
    for (const id of gone) this.#servers.delete(id);
    this.now = { ...this.now, truncated: false, ...rest, servers: [...this.#servers.values()] };
    this.#remember();
    this.#tell({ error: null });
  }

  #remember() {
    const known = this.now.services.filter(({ rate }) => rate != null);
    if (!known.length) return;
    const rate = known.reduce((sum, service) => sum + service.rate, 0);
    const errors = known.reduce((sum, service) => sum + service.rate * (service.errorRate ?? 0), 0);
    this.history = [...this.history, { rate, errors }].slice(-remembered);
  }

  #tell(changed) {
    Object.assign(this, changed);
    this.#watchers.forEach((watcher) => watcher(this));
  }
}

const prefix = 'psrpc.explorer.';

/**
 * store is passed to all pages. load, save and remove access JSON in the storage of the browser.
 */
export const store = {
  fleet: new Fleet(),

  load(key, fallback) {
    try {
      return JSON.parse(localStorage.getItem(prefix + key)) ?? fallback;
    } catch {
      return fallback;
    }
  },
  /** save returns false if the browser stores nothing, or has no more space. */
  save(key, value) {
    try {
      localStorage.setItem(prefix + key, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  },
  remove(key) {
    try {
      localStorage.removeItem(prefix + key);
    } catch { /* Nothing is kept, so there is nothing to remove. */ }
  },
  /** clear removes everything that the pages have stored. */
  clear() {
    try {
      Object.keys(localStorage).filter((key) => key.startsWith(prefix)).forEach((key) => localStorage.removeItem(key));
    } catch { /* Nothing is kept, so there is nothing to remove. */ }
  },
};
