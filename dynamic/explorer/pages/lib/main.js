// The frame of all pages: navigation, routes, messages and the keyboard.

import * as api from './api.js';
import { html, render } from './html.js';
import { duration } from './format.js';
import { store } from './store.js';
import { failure, heading, loading } from './view.js';

// Each page with its file and the names of the parts of its address.
const pages = {
  fleet: { file: '../fleet.js', title: 'Fleet', key: 'f' },
  topology: { file: '../topology.js', title: 'Topology', key: 't' },
  live: { file: '../live.js', title: 'Live', key: 'l' },
  doctor: { file: '../doctor.js', title: 'Doctor', key: 'd' },
  history: { file: '../history.js', title: 'History', key: 'h' },
  settings: { file: '../settings.js', title: 'Settings', key: 's' },
  service: { file: '../service.js', parts: ['service'], below: 'fleet' },
  method: { file: '../method.js', parts: ['service', 'method'], below: 'fleet' },
  server: { file: '../server.js', parts: ['id'], below: 'fleet' },
};

const mostToasts = 5;
const main = document.getElementById('main');
const side = document.getElementById('side');

/**
 * app is passed to all pages. session is the response of /api/session. toast shows a message; its
 * tone is "", "good" or "bad".
 */
const app = { api, store, session: null, toast };

function toast(message, tone = '') {
  const note = document.createElement('div');
  note.className = `toast ${tone}`;
  render(html`<span>${message?.message ?? message}</span>
    <button type="button" aria-label="Dismiss" @click=${() => note.remove()}>×</button>`, note);
  const toasts = document.getElementById('toasts');
  toasts.append(note);
  if (toasts.childElementCount > mostToasts) toasts.firstElementChild.remove();
  // A message about a failure stays until the user dismisses it.
  if (tone !== 'bad') setTimeout(() => note.remove(), 6000);
}

// route parses the address of the page: "#/method/pkg.Service/Method?topic=eu" has the parts
// service and method.
function route() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...values] = path.split('/');
  const page = pages[name || 'fleet'];
  const params = { query: new URLSearchParams(query) };
  try {
    page?.parts?.forEach((part, i) => { params[part] = decodeURIComponent(values[i] ?? ''); });
  } catch { /* An address with a wrong escape leads to no page. */
    return { name };
  }
  const complete = page?.parts?.every((part) => params[part]) ?? true;
  return { name: name || 'fleet', page: complete ? page : undefined, params };
}

let close = null;
let visit = 0;
let ready = null;

// show opens the page of the address. first is true for the first page, which does not get the
// focus, so that the Tab key begins at the start of the document.
async function show(first) {
  const here = ++visit;
  const { name, page, params } = route();
  try {
    close?.();
  } catch (error) {
    console.error(error);
  }
  close = null;
  document.querySelectorAll('dialog[open]').forEach((dialog) => dialog.close());
  frame(page?.below ?? name);
  const root = document.createElement('div');
  root.className = `page page-${name}`;
  main.replaceChildren(root);
  // A page that opens at once does not flicker, and is not delayed by the painting of this text. Some
  // pages draw themselves before they are open.
  const waiting = setTimeout(() => root.hasChildNodes() || render(loading(), root), 150);
  try {
    ready ??= api.get('/api/session');
    if (!page) {
      render(html`${heading('No such page')}
        <p>There is no page at <code>${location.hash}</code>. <a href="#/fleet">Go to the fleet</a>.</p>`, root);
      return;
    }
    const [module, session] = await Promise.all([import(page.file), ready]);
    if (here !== visit) return;
    app.session = session;
    document.title = `${page.title ?? page.parts.map((part) => params[part]).reverse().join(' · ')} · psrpc explorer`;
    frame(page.below ?? name);
    const closing = await module.default.open(root, params, app);
    if (here !== visit) return void closing?.();
    close = closing;
  } catch (error) {
    if (here !== visit) return;
    if (!(error instanceof api.ApiError)) console.error(error);
    ready = app.session ? ready : null;
    const again = () => error instanceof api.ApiError ? show() : location.reload();
    render(error.status === 401 ? login() : html`${heading(page.title ?? 'Explorer')}
      ${failure(error, again, 'This page cannot be shown')}`, root);
  } finally {
    clearTimeout(waiting);
    scrollTo(0, 0);
    if (!first && here === visit) main.focus({ preventScroll: true });
  }
}

const login = () => html`<h1 tabindex="-1">Not logged in</h1>
  <p>Open the link that the program has printed when it started. The link contains a token, which lets this browser in.</p>`;

// frame draws the navigation. current is the name of the page to mark.
function frame(current) {
  render(html`
    <a class="brand" href="#/fleet"><img src="assets/icon.svg" alt="" width="24" height="24"><span>psrpc <b>explorer</b></span></a>
    <nav aria-label="Pages"><ul>${Object.entries(pages).filter(([, { title }]) => title).map(([name, { title }]) => html`<li>
      <a href=${`#/${name}`} aria-current=${name === current ? 'page' : null}>${title}</a></li>`)}</ul></nav>
    <div id="status"></div>`, side);
  status();
}

// status shows whether the pages are up to date, and which bus they show.
function status() {
  const { live, error } = store.fleet;
  const bus = app.session?.bus;
  const [tone, text] = live ? ['good', 'Live'] : error ? ['bad', 'Not connected'] : ['', 'Connecting…'];
  if (live && bus?.problem) renewal ??= setTimeout(renew, 5000);
  const notes = [
    bus?.problem ? html`<span class="bad">The broker does not answer.</span>` : live && bus?.rtt ? `round trip ${duration(bus.rtt)}` : null,
    app.session?.readOnly ? 'read only' : null,
  ].filter(Boolean);
  render(html`<p class="live ${tone}" role="status"><span class="dot" aria-hidden="true"></span>${text}</p>
    ${bus ? html`<p class="bus"><b>${bus.kind}</b> ${bus.address ?? ''}</p>
      <p class="quiet">${notes.map((note, i) => html`${i ? ' · ' : ''}${note}`)}</p>` : null}`, document.getElementById('status'));
}

// renew loads the session again. It is scheduled when the broker has not answered.
let renewal = null;
async function renew() {
  try {
    app.session = await api.get('/api/session');
    ready = Promise.resolve(app.session);
  } catch { /* status starts the next attempt. */ }
  renewal = null;
  status();
}

// Keyboard shortcuts: "/" goes to the filter of the page, and "g" with a letter goes to a page.
let going = 0;
function shortcut(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest('input, textarea, select, [contenteditable], dialog') || !store.load('shortcuts', true)) return;
  const gone = event.timeStamp - going < 1500 && Object.entries(pages).find(([, { key }]) => key === event.key);
  going = event.key === 'g' ? event.timeStamp : 0;
  if (gone) {
    location.hash = `#/${gone[0]}`;
  } else if (event.key === '/') {
    const field = main.querySelector('input.filter, input[type=search]');
    if (!field) return;
    field.focus();
    field.select();
  } else {
    return;
  }
  event.preventDefault();
}

document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener('hashchange', () => show());
addEventListener('keydown', shortcut);
addEventListener('psrpc-login', () => {
  if (!app.session) return;
  app.session = null;
  ready = null;
  show();
});
// Load the state of the fleet while the first page is loaded.
store.fleet.watch(status);
show(true);
