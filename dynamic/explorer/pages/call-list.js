// A list of messages that is updated as they arrive. Only the visible rows are in the document.

import { html, render } from './lib/html.js';

// The maximum numbers of messages and of their characters. The oldest messages are dropped first.
const most = 5000;
const mostCharacters = 64 << 20;
// The number of rows above and below the visible ones that are in the document.
const margin = 8;
const rowRem = 1.75;

/** Kept holds the newest messages. The field text of a message contains its JSON. */
export class Kept {
  items = [];
  #characters = 0;

  add(items) {
    for (const item of items) this.#characters += item.text.length;
    this.items.push(...items);
    let dropped = 0;
    while (this.items.length - dropped > most || this.#characters > mostCharacters && this.items.length - dropped > 1) {
      this.#characters -= this.items[dropped++].text.length;
    }
    this.items.splice(0, dropped);
  }

  /** take removes and returns all messages. */
  take() {
    this.#characters = 0;
    return this.items.splice(0);
  }
}

/**
 * MessageList shows messages, the newest at the end. label is the accessible name of the list. row
 * returns a template for the row of a message. chosen is called with the message that the user
 * selects. While the list is scrolled to its end, it follows the newest message.
 */
export class MessageList {
  current = null;
  #kept = new Kept();
  #label;
  #row;
  #chosen;
  #queued = false;
  #following = true;
  #id = `list-${Math.random().toString(36).slice(2)}`;

  constructor(label, row, chosen) {
    this.#label = label;
    this.#row = row;
    this.#chosen = chosen;
    this.element = document.createElement('div');
    this.element.className = 'm-list';
    this.element.setAttribute('role', 'listbox');
    this.element.setAttribute('aria-label', label);
    this.element.tabIndex = 0;
    this.element.addEventListener('scroll', () => {
      this.#following = this.#atEnd;
      this.#later();
    });
    // The size is known only when the list is in the page.
    new ResizeObserver(() => this.#later()).observe(this.element);
    this.element.addEventListener('keydown', (event) => this.#key(event));
    this.element.addEventListener('click', (event) => {
      const row = event.target.closest('[data-index]');
      if (row) this.choose(this.items[Number(row.dataset.index)]);
    });
  }

  get items() { return this.#kept.items; }

  get #rowHeight() { return rowRem * parseFloat(getComputedStyle(document.documentElement).fontSize); }

  get #atEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.element;
    return scrollTop + clientHeight >= scrollHeight - this.#rowHeight;
  }

  add(...items) {
    this.#kept.add(items);
    this.#later();
  }

  clear() {
    this.#kept.take();
    this.current = null;
    this.#following = true;
    this.#later();
  }

  choose(item) {
    this.current = item;
    this.#later();
    this.#chosen(item);
  }

  // later draws the list once in the next animation frame, however many messages arrive before.
  #later() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      this.#draw();
    });
  }

  #draw() {
    const height = this.#rowHeight;
    const { element, items } = this;
    const top = this.#following ? Math.max(0, items.length * height - element.clientHeight) : element.scrollTop;
    const from = Math.max(0, Math.floor(top / height) - margin);
    const to = Math.min(items.length, Math.ceil((top + element.clientHeight) / height) + margin);
    render(html`<div class="m-list-rows" role="presentation" style=${{ height: `${items.length * height}px` }}>${
      items.slice(from, to).map((item, i) => html`<div role="option" id=${`${this.#id}-${from + i}`} class="m-list-row"
        data-index=${from + i} aria-selected=${item === this.current ? 'true' : 'false'} aria-posinset=${from + i + 1}
        aria-setsize=${items.length} style=${{ top: `${(from + i) * height}px`, height: `${height}px` }}>${this.#row(item)}</div>`)}</div>`, element);
    if (this.#following) element.scrollTop = element.scrollHeight;
    const index = this.current ? items.indexOf(this.current) : -1;
    if (index >= from && index < to) element.setAttribute('aria-activedescendant', `${this.#id}-${index}`);
    else element.removeAttribute('aria-activedescendant');
  }

  #key(event) {
    if (!this.items.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.#rowHeight) - 1);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (!step) return;
    event.preventDefault();
    const last = this.items.length - 1;
    const now = this.current ? this.items.indexOf(this.current) : (step > 0 ? -1 : last + 1);
    const index = Math.max(0, Math.min(last, now + step));
    this.#scrollTo(index);
    this.choose(this.items[index]);
  }

  #scrollTo(index) {
    const { element } = this;
    const height = this.#rowHeight;
    if (index * height < element.scrollTop) element.scrollTop = index * height;
    else if ((index + 1) * height > element.scrollTop + element.clientHeight) element.scrollTop = (index + 1) * height - element.clientHeight;
    this.#following = index === this.items.length - 1;
  }
}
