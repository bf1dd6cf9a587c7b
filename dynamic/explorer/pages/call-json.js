// Views of JSON, indented and colored.

import { html } from './lib/html.js';
import { count } from './lib/format.js';

// Longer texts are cut, because the browser would take seconds to show them.
const most = 100_000;
const token = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*|\b(?:true|false|null)\b/g;

/** indented returns JSON with a line for each member. Numbers keep all their digits. */
export function indented(text) {
  let depth = 0;
  const line = () => `\n${'  '.repeat(depth)}`;
  return text.replaceAll(/"(?:[^"\\]|\\.)*"|[{[]\s*[}\]]|[{}[\],:]|\s+/g, (part) => {
    switch (part) {
      case '{': case '[': depth++; return part + line();
      case '}': case ']': depth--; return line() + part;
      case ',': return part + line();
      case ':': return ': ';
      default: return /^\s/.test(part) ? '' : /^[{[]/.test(part) ? part[0] + part.at(-1) : part;
    }
  });
}

/** oneLine returns JSON in one line for a row of a list. It is cut after most characters. */
export function oneLine(text, most = 400) {
  const cut = text.slice(0, most * 4);
  const line = cut.replaceAll(/("(?:[^"\\]|\\.)*")|\s+|[,:]/g, (part, string) => string ?? (part.trim() && `${part} `));
  return line.length > most || cut.length < text.length ? `${line.slice(0, most)}…` : line;
}

/** jsonView returns an element that shows JSON. label is its accessible name. */
export function jsonView(text, label) {
  const shown = indented(text.slice(0, most));
  const pre = document.createElement('pre');
  pre.className = 'json';
  pre.tabIndex = 0;
  pre.setAttribute('role', 'region');
  pre.setAttribute('aria-label', label);
  let at = 0;
  for (const match of shown.matchAll(token)) {
    const [all, string, colon] = match;
    pre.append(shown.slice(at, match.index));
    const span = document.createElement('span');
    span.className = string ? (colon === undefined ? 'json-string' : 'json-name') : /^[-\d]/.test(all) ? 'json-number' : 'json-word';
    span.textContent = string ?? all;
    pre.append(span, colon ?? '');
    at = match.index + all.length;
  }
  pre.append(shown.slice(at));
  if (text.length > most) pre.append(`\n… ${count(text.length - most)} more characters. Download it to see everything.`);
  return pre;
}

/** download offers a text as a file. */
export function download(name, text, type = 'application/json') {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** copyButton is a button that copies the result of text() and confirms that. */
export function copyButton(label, text, toast) {
  return html`<button type="button" @click=${async () => {
    try {
      await navigator.clipboard.writeText(text());
      toast('Copied.');
    } catch {
      toast('The browser does not permit copying.', 'bad');
    }
  }}>${label}</button>`;
}
