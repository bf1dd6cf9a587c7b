// The page Topology: a graph of clients, services, methods and servers, from left to right.

import { html, render, svg } from './lib/html.js';
import { percent, rate, whole, words } from './lib/format.js';
import { badge, failure, heading, hint, loading, routes, tones } from './lib/view.js';
import './lib/table.js';

const types = { client: 'Clients', service: 'Services', method: 'Methods', topic: 'Topics', server: 'Servers' };
// The size of a node, the gap between nodes, and the maximum number of nodes of a column.
const size = { width: 148, height: 26, gap: 8, head: 28 };
const between = (columns) => columns > 4 ? 36 : 84;
const most = 28;

// layout selects the nodes to draw and gives each a place. If a column has too many nodes, those
// with little traffic are drawn as one node, whose ID is "more:" and the type.
function layout({ nodes, edges }) {
  const traffic = new Map();
  for (const { from, to, rate: calls } of edges) {
    for (const id of [from, to]) traffic.set(id, (traffic.get(id) ?? 0) + (calls ?? 0));
  }
  const drawn = new Map();
  const standsFor = new Map();
  const columns = [];
  for (const type of Object.keys(types)) {
    const all = nodes.filter((node) => node.type === type);
    if (!all.length) continue;
    const ranked = [...all].sort((a, b) => (traffic.get(b.id) ?? 0) - (traffic.get(a.id) ?? 0) || urgency(b) - urgency(a));
    const shown = ranked.slice(0, all.length > most ? most - 1 : most);
    const rest = ranked.slice(shown.length);
    const column = all.filter((node) => shown.includes(node)).map((node) => ({ ...node }));
    if (rest.length) {
      const name = `${whole(rest.length)} more`;
      column.push({ id: `more:${type}`, type, name, short: name, more: true });
    }
    rest.forEach(({ id }) => standsFor.set(id, `more:${type}`));
    column.forEach((node) => drawn.set(node.id, node));
    columns.push({ type, nodes: column });
  }
  const lines = new Map();
  for (const { from, to, rate: calls, errors } of edges) {
    const a = drawn.get(standsFor.get(from) ?? from), b = drawn.get(standsFor.get(to) ?? to);
    if (!a || !b) continue;
    const key = `${a.id}\n${b.id}`;
    const line = lines.get(key) ?? { key, from: a, to: b, rate: null, errors: 0 };
    if (calls != null) line.rate = (line.rate ?? 0) + calls;
    line.errors += errors ?? 0;
    lines.set(key, line);
  }
  place(columns, [...lines.values()]);
  return { columns, lines: [...lines.values()] };
}

// urgency ranks nodes with problems before others.
const urgency = ({ state }) => ({ bad: 2, warn: 1 })[tones[state]] ?? 0;

// place sets the coordinates of the nodes. It orders each column by the places of the neighbors to
// the left, so that fewer lines cross.
function place(columns, lines) {
  const height = Math.max(...columns.map(({ nodes }) => nodes.length), 1) * (size.height + size.gap);
  columns.forEach(({ nodes }, i) => {
    for (const node of nodes) {
      const before = lines.filter(({ to, from }) => to === node && from.y !== undefined).map(({ from }) => from.y);
      node.rank = before.length && !node.more ? before.reduce((sum, y) => sum + y, 0) / before.length : Infinity;
    }
    // Nodes without a rank come last, and the node for the rest comes after them.
    nodes.sort((a, b) => order(a) - order(b) || a.rank - b.rank || a.name.localeCompare(b.name, 'en', { numeric: true }));
    // Center each column at the height of its neighbors, as far as the drawing permits.
    const own = nodes.length * (size.height + size.gap);
    const known = nodes.filter(({ rank }) => Number.isFinite(rank));
    const middle = known.length ? known.reduce((sum, { rank }) => sum + rank, 0) / known.length - size.head : height / 2;
    const top = size.head + Math.max(0, Math.min(middle - own / 2, height - own));
    nodes.forEach((node, n) => {
      node.x = i * (size.width + between(columns.length)) + 2;
      node.y = top + n * (size.height + size.gap);
    });
  });
}

const order = ({ more, rank }) => more ? 2 : Number.isFinite(rank) ? 0 : 1;

// around returns the part of a topology that leads to a node or can be reached from it.
function around({ nodes, edges }, id) {
  const found = new Set([id]);
  for (const [here, there] of [['from', 'to'], ['to', 'from']]) {
    const todo = [id];
    while (todo.length) {
      const at = todo.pop();
      for (const edge of edges) {
        if (edge[here] !== at || found.has(edge[there])) continue;
        found.add(edge[there]);
        todo.push(edge[there]);
      }
    }
  }
  return { nodes: nodes.filter((node) => found.has(node.id)), edges: edges.filter(({ from, to }) => found.has(from) && found.has(to)) };
}

const cut = (text, length = 19) => text.length > length ? `${text.slice(0, length - 1)}…` : text;

// prepare adds readable names and addresses to the nodes. The ID of a node is its type, a colon and
// names on the bus.
function prepare({ nodes, edges, truncated }) {
  const services = new Map(nodes.filter(({ type }) => type === 'service').map(({ id, name }) => [id.slice('service:'.length), name]));
  return {
    truncated, edges,
    nodes: nodes.map((node) => {
      const { id, type, name, state } = node;
      const [wireName] = id.slice(type.length + 1).split('/');
      const service = services.get(wireName) ?? wireName;
      switch (type) {
        case 'service': return { ...node, short: name.split('.').pop(), href: routes.service(name) };
        case 'method': return { ...node, short: name, name: `${service}/${name}`, href: routes.method(service, name) };
        case 'server':
          if (state === 'psrpc') return { ...node, short: 'psrpc servers', name: `psrpc servers of ${name.split(':').pop()}` };
          if (state === 'silent') return { ...node, short: 'silent servers', name: `silent servers of ${name.split(':').pop()}` };
          return { ...node, short: name, href: routes.server(name) };
        default: return { ...node, short: name };
      }
    }),
  };
}

export default {
  open(root, params, app) {
    let data = null, problem = null, paused = false, near = null, asTable = app.store.load('topology.table', false);
    let service = params.query.get('service') ?? '';
    let stop = null;

    function follow() {
      stop = app.api.eventsWhileVisible('/api/topology/events', {
        topology: (topology) => {
          data = prepare(topology);
          problem = null;
          draw();
        },
        problem: (error) => {
          problem = error;
          draw();
        },
        lost: async () => {
          try {
            await app.api.get('/api/session');
          } catch (error) {
            problem = error;
            draw();
          }
        },
      });
    }

    function pause() {
      paused = !paused;
      if (paused) stop();
      else follow();
      draw();
    }

    function choose(event) {
      service = event.target.value;
      draw();
    }

    function setTable(event) {
      asTable = event.target.checked;
      app.store.save('topology.table', asTable);
      draw();
    }

    function draw() {
      const services = (data?.nodes ?? []).filter(({ type }) => type === 'service').sort((a, b) => a.name.localeCompare(b.name));
      const chosen = services.find(({ name }) => name === service);
      const shown = data && (chosen ? around(data, chosen.id) : data);
      render(html`
        ${heading('Topology', {
          note: 'From the clients to the servers. The wider a line, the more calls.',
          actions: data ? controls(services) : null,
        })}
        ${problem && data ? hint('bad', 'This may be out of date.', problem.message) : null}
        ${shown ? content(shown) : problem ? failure(problem, null, 'The topology cannot be shown') : loading('Asking the servers…')}
        ${data?.truncated ? html`<p class="quiet">The topology is too large to show. This is a part of it.</p>` : null}`, root);
    }

    const controls = (services) => html`
      <label class="check">Service <select @change=${choose}><option value="">all</option>${services.map(({ name }) =>
        html`<option value=${name} .selected=${name === service}>${name}</option>`)}</select></label>
      <label class="check"><input type="checkbox" .checked=${asTable} @change=${setTable}> As a table</label>
      <button type="button" aria-pressed=${String(paused)} @click=${pause}>${paused ? 'Resume' : 'Pause'}</button>`;

    function content(shown) {
      if (!shown.nodes.length) return nobody;
      return asTable ? table(shown) : picture(layout(shown));
    }

    function picture({ columns, lines }) {
      const width = columns.length * size.width + (columns.length - 1) * between(columns.length) + 4;
      const height = size.head + Math.max(...columns.map(({ nodes }) => nodes.length)) * (size.height + size.gap);
      const top = Math.max(...lines.map((line) => line.rate ?? 0), 0);
      // If there are many lines, they are thinner, so that they do not cover each other.
      const widest = Math.min(7, 300 / lines.length);
      const widthOf = (calls) => 1.25 + widest * Math.sqrt(calls / top);
      // Everything that is not connected with the node under the pointer or with the focused node
      // is faded.
      const touches = ({ from, to }) => from.id === near || to.id === near;
      const touched = new Set(lines.filter(touches).flatMap(({ from, to }) => [from.id, to.id]).concat(near));
      return html`<div class="panel topology" tabindex="0" role="region" aria-label="Drawing">
        <svg width=${width} height=${height} viewBox="0 0 ${width} ${height}" role="group" aria-label="Topology">
          ${columns.map(({ type, nodes }) => svg`<text class="column-head" x=${nodes[0].x} y="14">${types[type]}</text>`)}
          ${lines.map((line) => edge(line, widthOf, near && !touches(line)))}
          ${columns.map(({ nodes }) => nodes.map((node) => nodePart(node, near && !touched.has(node.id), lines)))}
        </svg></div>
        <ul class="legend small">${legend.map(([tone, text]) =>
          html`<li><span class="dot ${tone}" aria-hidden="true"></span>${text}</li>`)}</ul>`;
    }

    function edge({ from, to, rate: calls, errors }, widthOf, faded) {
      const x1 = from.x + size.width, y1 = from.y + size.height / 2, x2 = to.x, y2 = to.y + size.height / 2;
      const bend = (x2 - x1) / 2;
      const kind = errors > 0 ? ' bad' : calls > 0 ? '' : ' idle';
      return svg`<path class="${`edge${kind}${faded ? ' faded' : ''}`}" stroke-width="${calls > 0 ? widthOf(calls).toFixed(1) : 1}"
        d="${`M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`}"
        ><title>${from.name} → ${to.name}: ${rate(calls)}</title></path>`;
    }

    function nodePart(node, faded, lines) {
      const { type, name, state, href, x, y } = node;
      const tone = tones[state] ?? '';
      const calls = lines.filter(({ from, to }) => (type === 'client' ? from : to) === node)
        .reduce((sum, line) => sum + (line.rate ?? 0), 0);
      const text = `${name}${state ? `, ${words(state)}` : ''}${calls ? `, ${rate(calls)}` : ''}`;
      const inside = svg`<title>${text}</title><rect x=${x} y=${y} width=${size.width} height=${size.height} rx="5"></rect>
        ${type === 'server' && !node.more ? svg`<circle class="mark" cx=${x + 12} cy=${y + size.height / 2} r="4"></circle>` : null}
        <text x=${x + (type === 'server' && !node.more ? 22 : 10)} y=${y + size.height / 2 + 4}>${cut(node.short)}</text>`;
      const group = `node ${node.more ? 'muted' : tone}${faded ? ' faded' : ''}`;
      const over = () => look(node.id), out = () => look(null);
      return href
        ? svg`<a class=${group} href=${href} aria-label=${text} @focus=${over} @blur=${out}
            @mouseenter=${over} @mouseleave=${out}>${inside}</a>`
        : svg`<g class=${group} @mouseenter=${over} @mouseleave=${out}>${inside}</g>`;
    }

    function look(id) {
      near = id;
      draw();
    }

    function table({ nodes, edges }) {
      const byId = new Map(nodes.map((node) => [node.id, node]));
      const rows = edges.map((edge) => ({ ...edge, from: byId.get(edge.from), to: byId.get(edge.to) }))
        .filter(({ from, to }) => from && to);
      return html`<x-table .label=${'Connections'} .columns=${columns} .key=${({ from, to }) => `${from.id}\n${to.id}`}
        .filterLabel=${'Filter connections'} .empty=${'There are no connections.'} .rows=${rows}></x-table>`;
    }

    follow();
    draw();
    return () => stop();
  },
};

const legend = [
  ['good', 'serving'], ['warn', 'draining'], ['bad', 'silent, or not healthy'], ['muted', 'psrpc, no details'],
];
const nobody = html`<div class="empty"><p>There are no services on this bus.</p>
  <p>Start a server, or run <code>psrpc up</code> to try an example.</p></div>`;

const columns = [
  { title: 'From', value: ({ from }) => `${from.type} ${from.name}`, cell: ({ from }) => nodeCell(from) },
  { title: 'To', value: ({ to }) => `${to.type} ${to.name}`, cell: ({ to }) => nodeCell(to) },
  { title: 'Calls', value: (row) => row.rate, cell: (row) => rate(row.rate), end: true, width: '7rem', down: true },
  { title: 'Errors', value: errorsOf, cell: errorsCell, end: true, width: '7rem', down: true },
];

function nodeCell({ type, name, href, state }) {
  const tone = tones[state];
  return html`<span class="quiet">${type}</span> ${href ? html`<a href=${href}>${name}</a>` : name}
    ${tone && tone !== 'good' ? badge(words(state), tone) : null}`;
}

// errorsOf returns the fraction of failed calls, or null if there were no calls.
function errorsOf({ errors, rate: calls }) {
  return calls ? Math.min(1, errors / calls) : null;
}

function errorsCell(row) {
  const errors = errorsOf(row);
  return html`<span class=${errors > 0 ? 'bad' : ''}>${percent(errors)}</span>`;
}
