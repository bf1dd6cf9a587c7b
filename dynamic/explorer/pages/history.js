// The page History: the calls that were made in this browser, and the saved examples.

import './lib/table.js';
import { html, render } from './lib/html.js';
import { confirm, heading, qualified, since } from './lib/view.js';
import { duration, plural } from './lib/format.js';
import { statusView } from './call-view.js';
import { styled } from './call-style.js';
import { calls, examples, linkTo, removeCall, removeExample } from './call-history.js';
import { oneLine } from './call-json.js';

const methodColumn = {
  title: 'Method', value: ({ method }) => method,
  cell: ({ method, input }) => html`<a href=${linkTo(method, input)} tabindex="-1">${qualified(method.split('/')[0])}/<wbr>${method.split('/')[1]}</a>`,
};
const requestColumn = {
  title: 'Request', wide: true, value: ({ input }) => input.text ?? '',
  cell: ({ input }) => input.text === undefined ? html`<span class="quiet">too long to store</span>` : html`<span class="mono">${oneLine(input.text, 120)}</span>`,
};

class HistoryPage {
  #root;
  #app;

  constructor(root, app) {
    this.#root = root;
    this.#app = app;
    this.calls = this.#table('Calls', 'Filter calls', { column: 0, down: true }, [
      { title: 'When', width: '6rem', down: true, value: ({ at }) => at, cell: ({ at }) => since(at) },
      methodColumn,
      requestColumn,
      { title: 'Outcome', width: '9rem', value: ({ code }) => code, cell: ({ code, error }) => html`<span title=${error ?? null}>${statusView(code)}</span>` },
      { title: 'Duration', width: '5.75rem', end: true, value: ({ took }) => took, cell: ({ took }) => duration(took) },
      { title: 'Server', width: '7rem', wide: true, value: ({ server, messages, kind }) => server || (kind === 'single' ? '' : plural(messages ?? 0, 'message')) },
      this.#removeColumn(({ id }) => removeCall(app.store, id)),
    ]);
    this.calls.empty = html`<p>No calls yet.</p><p>Calls that you make on the page of a method appear here. Open one from a <a href="#/fleet">service</a>.</p>`;
    this.examples = this.#table('Examples', 'Filter examples', { column: 0, down: false }, [
      { title: 'Name', width: '14rem', value: ({ name }) => name, cell: ({ name, method, input }) => html`<a href=${linkTo(method, input)} tabindex="-1">${name}</a>` },
      methodColumn,
      requestColumn,
      this.#removeColumn(({ id }) => removeExample(app.store, id)),
    ]);
    this.examples.empty = html`<p>No examples yet.</p><p>“Save as example” on the page of a method saves a request here.</p>`;
    this.draw();
  }

  #table(label, filterLabel, sort, columns) {
    const table = document.createElement('x-table');
    return Object.assign(table, { label, filterLabel, sort, columns, href: ({ method, input }) => linkTo(method, input) });
  }

  #removeColumn(remove) {
    return {
      title: 'Remove', width: '5.5rem', end: true, value: () => '',
      cell: (entry) => html`<button type="button" class="form-icon" aria-label="Remove ${entry.name ?? entry.method}" title="Remove" @click=${() => {
        remove(entry);
        this.draw();
      }}>×</button>`,
    };
  }

  async #clear(what, remove) {
    if (!await confirm(`Remove all ${what}?`, 'They are stored only in this browser and cannot be restored.', 'Remove')) return;
    remove(this.#app.store);
    this.draw();
  }

  draw() {
    const kept = calls(this.#app.store);
    const saved = examples(this.#app.store);
    this.calls.rows = kept;
    this.examples.rows = saved;
    const section = (id, title, table, rows, remove) => html`<section class="section" aria-labelledby=${id}>
      <div class="section-head"><h2 id=${id}>${title}</h2>${rows.length
        ? html`<button type="button" @click=${() => this.#clear(title.toLowerCase(), remove)}>Remove all</button>` : null}</div>${table}</section>`;
    const note = 'The last 200 calls from this browser. They are stored only here, without the values of secret fields and of metadata such as tokens.';
    render(html`${heading('History', { note })}
      ${section('examples-title', 'Examples', this.examples, saved, removeExample)}
      ${section('calls-title', 'Calls', this.calls, kept, removeCall)}`, this.#root);
  }
}

export default {
  async open(root, params, app) {
    await styled;
    new HistoryPage(root, app);
    return () => {};
  },
};
