// The page Settings: the appearance, the connection, and the keyboard shortcuts.

import { html, render } from './lib/html.js';
import { bytes, count, duration, words } from './lib/format.js';
import { confirm, facts, heading } from './lib/view.js';

const themes = { system: 'System', light: 'Light', dark: 'Dark' };
const limits = [
  ['frameSize', 'Maximum frame size', bytes],
  ['outputBufferHard', 'Output buffer, hard limit', bytes], ['outputBufferSoft', 'Output buffer, soft limit', bytes],
  ['maxMemory', 'Maximum memory', bytes], ['usedMemory', 'Memory used', bytes], ['connections', 'Connections', count],
];
const keys = [
  [['/'], 'go to the filter of the page'],
  [['g', 'f'], 'Fleet'], [['g', 't'], 'Topology'], [['g', 'l'], 'Live'],
  [['g', 'd'], 'Doctor'], [['g', 'h'], 'History'], [['g', 's'], 'Settings'],
  [['↑', '↓'], 'move through a table; Page Up, Page Down, Home and End work, too'],
  [['Enter'], 'open the row of a table'],
  [['Ctrl', 'Enter'], 'call the method, or send the message'], [['Esc'], 'stop the call'],
];

export default {
  open(root, params, app) {
    const { store } = app;
    let { session } = app;

    function choose(theme) {
      if (theme === 'system') {
        store.remove('theme');
        delete document.documentElement.dataset.theme;
      } else {
        store.save('theme', theme);
        document.documentElement.dataset.theme = theme;
      }
      draw();
    }

    async function forget() {
      const text = 'The history of calls, the examples and the settings of this browser are deleted. The fleet is not affected.';
      if (!await confirm('Delete all data?', text, 'Delete')) return;
      store.clear();
      choose('system');
      app.toast('All data in this browser has been deleted.', 'good');
    }

    function draw() {
      const theme = store.load('theme', 'system');
      render(html`
        ${heading('Settings')}
        <div class="columns">
          <section class="panel" aria-labelledby="look"><h2 id="look">Appearance</h2>
            <fieldset class="bare"><legend>Colors</legend><div class="choice">${Object.entries(themes).map(([name, title]) => html`<label>
              <input type="radio" name="theme" value=${name} .checked=${name === theme} @change=${() => choose(name)}>${title}</label>`)}</div>
            </fieldset></section>
          <section class="panel" aria-labelledby="context"><h2 id="context">Connection</h2>${connection(session)}</section>
          <section class="panel" aria-labelledby="keyboard"><h2 id="keyboard">Keyboard</h2>
            <label class="check"><input type="checkbox" .checked=${store.load('shortcuts', true)}
              @change=${(event) => store.save('shortcuts', event.target.checked)}> Use single letters as shortcuts</label>
            <dl class="keys">${keys.map(([combination, text]) => html`<div>
              <dt>${combination.map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${text}</dd></div>`)}</dl></section>
          <section class="panel" aria-labelledby="data"><h2 id="data">Data in this browser</h2>
            <p class="quiet">The history of calls and saved examples stay in this browser. Fields that are marked as secret in the
              .proto file are not stored.</p>
            <p class="spaced"><button type="button" @click=${forget}>Delete all data…</button></p></section>
        </div>`, root);
    }

    draw();
    // The numbers of the broker may have changed since the session was loaded.
    app.api.get('/api/session').then((answer) => {
      session = answer;
      draw();
    }, () => {}); // the last known numbers remain
    return () => {};
  },
};

function connection({ bus, version, prefix, readOnly, refresh }) {
  return facts([
    ['Bus', [bus.kind, ...(bus.modes ?? []).map(words)].join(', ')], ['Address', bus.address && html`<code>${bus.address}</code>`],
    ['Broker', [bus.broker, bus.version].filter(Boolean).join(' ')], ['Nodes', bus.nodes?.join(', ')],
    ['Round trip', bus.rtt ? duration(bus.rtt) : null], ['Prefix', prefix && html`<code>${prefix}</code>`],
    ...limits.map(([name, title, format]) => [title, bus.limits?.[name] ? format(bus.limits[name]) : null]),
    ['Explorer', version], ['Access', readOnly ? 'read only' : 'may call methods and change servers'],
    ['Refreshed', `every ${duration(refresh)}`],
  ]);
}
