// <x-table> shows rows that can be sorted and filtered. Many rows scroll inside the table, and only
// those in sight are in the document.
//
//   const table = document.createElement('x-table');
//   table.label = 'Servers';                 // what the table lists
//   table.columns = [{
//     title: 'Calls',                        // the head of the column
//     value: (row) => row.rate,              // a number or text to sort and filter by
//     cell: (row) => rate(row.rate),         // what is shown, by default the value; see html.js
//     end: true,                             // aligns with the end of the cell, for numbers
//     width: '6rem',                         // in rem; columns without a width share the rest
//     wide: true,                            // is left out if there is no room, the last one first
//     down: true,                            // the first click sorts downwards
//   }];
//   table.key = (row) => row.id;             // identifies a row
//   table.href = (row) => `#/server/${row.id}`;  // optional: where Enter and a click lead, or null
//   table.sort = { column: 0, down: false };
//   table.filterLabel = 'Filter servers';    // optional: shows a field for words to find
//   table.group = (row) => row.app;          // optional: rows with the same text get a common head
//   table.memory = 'fleet.servers';          // optional: filter, sort and place survive under this name
//   table.empty = 'No servers.';             // text or template
//   table.rows = [...];                      // set it again whenever something has changed
//
// The filter finds rows that contain all its words; -word finds rows that do not contain it.
// Up, Down, Page Up, Page Down, Home and End move through the rows, and Enter opens one.

import { html, render } from './html.js';
import { whole } from './format.js';

// Tables with more rows than this have their own scrollbar.
const most = 60;
// The number of rows above and below the visible ones that are in the document, so that scrolling
// shows no gaps.
const margin = 12;
// The height of a row in pixels that is assumed until a row has been measured.
const likelyHeight = 36;

// The last state of each table that has a name in memory.
const memories = new Map();
const collator = new Intl.Collator('en', { numeric: true });

// compare orders numbers and texts. Unknown values come last in both directions.
function compare(a, b, down) {
  const unknownA = a == null || a === '', unknownB = b == null || b === '';
  if (unknownA || unknownB) return unknownA - unknownB;
  const order = typeof a === 'number' && typeof b === 'number' ? a - b : collator.compare(a, b);
  return down ? -order : order;
}

// Head is the head of a group of rows.
class Head {
  constructor(text, members) { Object.assign(this, { text, members }); }
}

// roomOf returns the minimum width of a table with these columns, in rem. It reserves some room for
// columns without a width.
const roomOf = (columns) => columns.reduce((sum, { width }) => sum + (width ? parseFloat(width) : 10.5), 0);

class Table extends HTMLElement {
  label = '';
  columns = [];
  key = (row) => row.id;
  href = null;
  sort = { column: 0, down: false };
  filterLabel = '';
  memory = null;
  empty = 'Nothing here.';
  #rows = null;
  #group = null;
  #filter = '';
  // The rows and group heads to show.
  #shown = [];
  #current = null;
  #rowHeight = 0;
  // The scroll position.
  #top = 0;
  // The width of the table, in rem.
  #space = 0;
  #queued = false;

  get rows() { return this.#rows ?? []; }
  set rows(rows) {
    this.#rows = rows;
    this.#arrange();
  }

  get group() { return this.#group; }
  set group(group) {
    this.#group = group;
    this.#arrange();
  }

  get filter() { return this.#filter; }
  set filter(text) {
    this.#filter = text;
    this.#top = 0;
    this.querySelector('.table-view')?.scrollTo(0, 0);
    this.#arrange();
  }

  connectedCallback() {
    const { filter = '', sort = this.sort, current = null, top = 0 } = memories.get(this.memory) ?? {};
    this.#filter = filter;
    this.sort = sort;
    this.#current = current;
    this.#arrange();
    if (top) this.querySelector('.table-view').scrollTop = top;
    // The size is known only when the table is in the document, and changes with the window.
    this.observer = new ResizeObserver(() => {
      this.#space = 0;
      this.#later();
    });
    this.observer.observe(this);
  }

  disconnectedCallback() {
    this.observer.disconnect();
    if (this.memory) memories.set(this.memory, { filter: this.#filter, sort: this.sort, current: this.#current, top: this.#top });
  }

  #later() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      if (this.isConnected) this.#draw();
    });
  }

  // arrange filters, sorts and groups the rows.
  #arrange() {
    if (!this.#rows || !this.isConnected) return;
    const words = this.#filter.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = words.filter((word) => !word.startsWith('-'));
    const unwanted = words.filter((word) => word.length > 1 && word.startsWith('-')).map((word) => word.slice(1));
    let rows = this.#rows;
    if (words.length) {
      rows = rows.filter((row) => {
        const text = this.columns.map(({ value, find }) => (find ?? value)(row) ?? '').join('\n').toLowerCase();
        return wanted.every((word) => text.includes(word)) && !unwanted.some((word) => text.includes(word));
      });
    }
    const { column, down } = this.sort;
    const { value } = this.columns[column];
    // Rows with equal values are sorted by key, so that they keep their places when the rows
    // change.
    rows = rows.map((row) => [value(row), this.key(row), row])
      .sort((a, b) => compare(a[0], b[0], down) || (a[1] < b[1] ? -1 : 1)).map(([, , row]) => row);
    this.#matches = rows.length;
    this.#shown = this.#group ? this.#grouped(rows) : rows;
    this.#draw();
  }
  #matches = 0;

  #grouped(rows) {
    const groups = Map.groupBy(rows, this.#group);
    return [...groups].sort((a, b) => compare(a[0], b[0], false))
      .flatMap(([text, members]) => [new Head(text || 'none', members.length), ...members]);
  }

  // draw renders the visible rows.
  #draw() {
    const total = this.#shown.length;
    const scrolls = total > most;
    let from = 0, to = total;
    const view = this.querySelector('.table-view');
    if (scrolls) {
      const height = this.#rowHeight || likelyHeight;
      const first = Math.min(Math.floor(this.#top / height), total - 1);
      from = Math.max(0, first - margin);
      // The first time, only the rows in sight are drawn. The observer of the size then draws the others.
      to = Math.min(total, first + Math.ceil((view?.clientHeight || innerHeight) / height) + (view ? margin : 0));
    }
    const filled = this.#rows.length > 0;
    const columns = this.#fitting();
    const seen = this.#shown.slice(from, to);
    // The Tab key reaches exactly one row: the current one, or else the first.
    const keys = seen.filter((row) => !(row instanceof Head)).map(this.key);
    const tab = keys.includes(this.#current) ? this.#current : keys[0];
    const focused = document.activeElement?.matches('tr[data-key]') && this.contains(document.activeElement)
      ? document.activeElement.dataset.key : null;
    render(html`
      ${this.filterLabel && filled ? html`<div class="table-tools">
        <input type="search" class="filter" .value=${this.#filter} aria-label=${this.filterLabel} placeholder=${this.filterLabel}
          spellcheck="false" autocomplete="off" @input=${(event) => { this.filter = event.target.value; }}>
        <span class="quiet" role="status">${this.#filter ? `${whole(this.#matches)} of ` : ''}${whole(this.#rows.length)}</span>
      </div>` : null}
      <div class="${`table-view${scrolls ? ' scrolls' : ''}`}" @scroll=${(event) => {
        this.#top = event.target.scrollTop;
        this.#later();
      }} ?hidden=${!filled}>
        <table role=${this.href ? 'grid' : null} aria-label=${this.label} aria-rowcount=${total + 1} @keydown=${(event) => this.#key(event)}
          @click=${(event) => this.#click(event)} style=${{ 'min-width': `${roomOf(columns)}rem` }}>
          <colgroup>${columns.map(({ width }) => html`<col style=${{ width: width ?? 'auto' }}>`)}</colgroup>
          <thead><tr aria-rowindex="1">${columns.map((column) => this.#head(column))}</tr></thead>
          <tbody>
            ${this.#gap(from, columns)}
            ${seen.map((row, i) => this.#row(row, from + i, tab, columns))}
            ${this.#gap(total - to, columns)}
          </tbody>
        </table>
      </div>
      ${!total ? html`<div class="empty">${filled
        ? html`Nothing matches “${this.#filter}”.
          <button type="button" class="link" @click=${() => { this.filter = ''; }}>Clear the filter</button>`
        : this.empty}</div>` : null}`, this);
    if (focused !== null && document.activeElement?.dataset.key !== focused) {
      // The row has moved, so the focus follows.
      this.#find((row) => row.dataset.key === focused)?.focus({ preventScroll: true });
    }
    if (scrolls && !this.#rowHeight) {
      this.#rowHeight = this.querySelector('tbody tr:not(.gap)')?.offsetHeight ?? 0;
      if (this.#rowHeight && this.#rowHeight !== likelyHeight) this.#later();
    }
  }

  // fitting returns the columns that fit. If even the necessary columns do not fit, the table
  // scrolls.
  #fitting() {
    this.#space ||= this.clientWidth / parseFloat(getComputedStyle(document.documentElement).fontSize);
    let { columns } = this;
    while (roomOf(columns) > this.#space) {
      const last = columns.findLastIndex(({ wide }) => wide);
      if (last < 0) break;
      columns = columns.toSpliced(last, 1);
    }
    return columns;
  }

  #find(wanted) { return [...this.querySelectorAll('tr[data-key]')].find(wanted); }

  #gap(rows, columns) {
    if (!rows) return null;
    const height = `${rows * (this.#rowHeight || likelyHeight)}px`;
    return html`<tr class="gap" aria-hidden="true"><td colspan=${columns.length} style=${{ height }}></td></tr>`;
  }

  #head(column) {
    const { title, end, down } = column;
    const i = this.columns.indexOf(column);
    const sorted = this.sort.column === i;
    return html`<th scope="col" class=${end ? 'end' : null} aria-sort=${sorted ? (this.sort.down ? 'descending' : 'ascending') : null}>
      <button type="button" @click=${() => {
        this.sort = { column: i, down: sorted ? !this.sort.down : Boolean(down) };
        this.#arrange();
      }}>${title}<span class="sort" aria-hidden="true">${sorted ? (this.sort.down ? '▾' : '▴') : ''}</span></button></th>`;
  }

  #row(row, index, tab, columns) {
    if (row instanceof Head) {
      return html`<tr class="group" aria-rowindex=${index + 2}><th colspan=${columns.length} scope="rowgroup">${row.text}
        <span class="quiet">${whole(row.members)}</span></th></tr>`;
    }
    const key = this.key(row);
    return html`<tr data-key=${key} data-index=${index} aria-rowindex=${index + 2} tabindex=${this.href ? (key === tab ? '0' : '-1') : null}
      class=${this.href?.(row) ? 'opens' : null}>${columns.map(({ value, cell, end }) =>
        html`<td class=${end ? 'end' : null}>${(cell ?? value)(row)}</td>`)}</tr>`;
  }

  #click(event) {
    const row = event.target.closest('tr[data-key]');
    if (!row || !this.href || event.target.closest('a, button, input, select, summary') || getSelection().toString()) return;
    this.#open(row);
  }

  #open(row) {
    const href = this.href(this.#shown[Number(row.dataset.index)]);
    if (href) location.hash = href;
  }

  #key(event) {
    const row = event.target.closest('tr[data-key]');
    if (!row || event.target !== row || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor((this.querySelector('.table-view').clientHeight || innerHeight) / (row.offsetHeight || likelyHeight)) - 2);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === 'Enter') {
      this.#open(row);
    } else if (step) {
      this.#move(Number(row.dataset.index) + step, step < 0 ? -1 : 1);
    } else {
      return;
    }
    event.preventDefault();
  }

  // move makes the row at an index current. If a group head is there, it takes the next row in the
  // direction.
  #move(index, direction) {
    index = Math.max(0, Math.min(index, this.#shown.length - 1));
    if (this.#shown[index] instanceof Head) index += index === 0 ? 1 : direction;
    this.#current = this.key(this.#shown[index]);
    const view = this.querySelector('.table-view');
    if (view.classList.contains('scrolls')) {
      const height = this.#rowHeight || likelyHeight, head = this.querySelector('thead').offsetHeight;
      const top = index * height;
      if (top < view.scrollTop) view.scrollTop = top;
      else if (top + height > view.scrollTop + view.clientHeight - head) view.scrollTop = top + height - view.clientHeight + head;
      this.#top = view.scrollTop;
    }
    this.#draw();
    this.#find((row) => Number(row.dataset.index) === index)?.focus({ preventScroll: view.classList.contains('scrolls') });
  }
}

customElements.define('x-table', Table);
