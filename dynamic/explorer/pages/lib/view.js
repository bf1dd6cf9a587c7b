// Small components that several pages use.

import { html, render } from './html.js';
import { age, full, nameParts } from './format.js';

/** loading shows that something is being loaded. It becomes visible only after a moment. */
export const loading = (text = 'Loading…') => html`<p class="loading" role="status">${text}</p>`;

/** failure shows an error, with a button if retry is set. */
export const failure = (error, retry, title = 'This did not work') => html`<div class="failure" role="alert">
  <strong>${title}</strong>
  <p>${error.message}${error.code ? html` <code>${error.code}</code>` : null}</p>
  ${retry ? html`<button type="button" @click=${retry}>Try again</button>` : null}</div>`;

/** badge shows a short text with a tone: "", "good", "warn", "bad", "info" or "muted". */
export const badge = (text, tone = '', title = null) => html`<span class="badge ${tone}" title=${title}>${text}</span>`;

/** link is a link in a row of a table. The Tab key skips it, because Enter opens the row. */
export const link = (href, text, title = null) => html`<a href=${href} title=${title} tabindex="-1">${text}</a>`;

/** routes contains functions that return the addresses of pages. They escape the names. */
export const routes = {
  service: (name) => `#/service/${encodeURIComponent(name)}`,
  method: (service, method) => `#/method/${encodeURIComponent(service)}/${encodeURIComponent(method)}`,
  server: (id) => `#/server/${encodeURIComponent(id)}`,
};

/** qualified shows a full name, with the package in a weaker color. */
export function qualified(name) {
  const [before, last] = nameParts(name);
  return html`<span class="qualified"><span class="quiet">${before}</span>${last}</span>`;
}

/** since shows the age of a moment. Its tooltip shows the moment itself. */
export const since = (text) => html`<time datetime=${text ?? null} title=${full(text)}>${age(text)}</time>`;

/** hint is a note with a title. If its tone is "bad", screen readers announce it at once. */
export const hint = (tone, title, text) => html`<div class="hint ${tone}" role=${tone === 'bad' ? 'alert' : null}>
  <strong>${title}</strong> ${text}</div>`;

/** tile shows a number with a title and a note. Tiles belong in <dl class="tiles">. */
export const tile = (title, value, note, tone = '') => html`<div class="tile"><dt>${title}</dt>
  <dd class=${tone}>${value}${note == null ? null : html`<small>${note}</small>`}</dd></div>`;

/** serverLinks is a list of links to servers, at most as many as most. */
export const serverLinks = (ids, most = 12) => html`${ids.slice(0, most).map((id, i) => html`${i ? ', ' : ''}<a class="mono"
  href=${routes.server(id)}>${id}</a>`)}${ids.length > most ? ` and ${ids.length - most} more` : ''}`;

/** facts is a list of names and values. It leaves out values that are null or "". */
export const facts = (items) => html`<dl class="facts">${items.filter(([, value]) => value != null && value !== '')
  .map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** heading is the head of a page, with buttons at its end. */
export const heading = (title, { above, note, actions } = {}) => html`<div class="heading"><div>
  ${above ? html`<p class="above">${above}</p>` : null}
  <h1 tabindex="-1">${title}</h1>${note ? html`<div class="note">${note}</div>` : null}</div>
  ${actions ? html`<div class="actions">${actions}</div>` : null}</div>`;

/** confirm asks the user for confirmation. It resolves to true if the user agrees. */
export function confirm(title, text, action, tone = 'bad') {
  return new Promise((resolve) => {
    const dialog = document.createElement('dialog');
    dialog.setAttribute('aria-labelledby', 'confirm-title');
    render(html`<form method="dialog"><h2 id="confirm-title">${title}</h2><p>${text}</p>
      <div class="actions"><button value="">Cancel</button><button class="primary ${tone}" value="yes">${action}</button></div>
      </form>`, dialog);
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** tones contains the tones of the states of servers. */
export const tones = {
  serving: 'good', starting: 'info', draining: 'warn', not_serving: 'bad', refused: 'bad', silent: 'bad', gone: 'muted', psrpc: 'muted', unknown: 'muted',
};
