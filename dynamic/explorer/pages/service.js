// The page of a service: its methods, servers and versions.

import { html, render } from './lib/html.js';
import { count, duration, nameParts, percent, plural, rate, whole, words } from './lib/format.js';
import {
  badge, facts, failure, heading, hint, link, loading, qualified, routes, serverLinks, since, tile,
} from './lib/view.js';
import { errorCell, serverColumns, serverHref } from './fleet.js';
import './lib/table.js';

// The interval of requests for the service, in seconds.
const interval = 5;

// Explanations of the kinds of methods.
const kinds = {
  single: 'One server answers.',
  multi: 'Every server answers.',
  stream: 'Both sides send messages.',
  subscription: 'Servers publish, and subscribers receive.',
};

const methodColumns = (service) => [
  {
    title: 'Method', value: ({ name }) => name,
    find: ({ name, comment, request, response }) => [name, comment, request, response].join(' '),
    cell: ({ name, comment, request, response }) => html`${link(routes.method(service, name), html`<b>${name}</b>`)}
      ${request ? html`<span class="small quiet">${nameParts(request)[1]} → ${nameParts(response)[1]}</span>` : null}
      ${comment ? html`<div class="quiet small clamp">${comment.trim()}</div>` : null}`,
  },
  { title: 'Kind', value: ({ kind }) => kind, cell: kindCell, width: '8rem' },
  { title: 'Routing', value: routingOf, width: '6rem', wide: true },
  { title: 'Calls', value: (row) => row.rate, cell: (row) => rate(row.rate), end: true, width: '5.5rem', down: true },
  { title: 'Errors', value: ({ errorRate }) => errorRate, cell: errorCell, end: true, width: '5.25rem', down: true },
  { title: 'p99', value: ({ p99 }) => p99, cell: ({ p99 }) => duration(p99), end: true, width: '5.75rem', down: true },
  {
    title: 'Properties', value: (method) => properties(method).map(([text]) => text).join(' '), width: '11rem', wide: true,
    cell: (method) => html`<span class="badges">${properties(method).map((property) => badge(...property))}</span>`,
  },
];

function kindCell({ kind }) {
  return kind ? badge(kind, kind === 'single' ? '' : 'info', kinds[kind]) : '–';
}

function routingOf({ kind, routing }) {
  return kind === 'single' && routing ? words(routing) : '–';
}

function properties({ topics, topicParams = [], deprecated, idempotent, requireClaim, kind }) {
  return [
    topics && [topicParams.length ? `topic ${topicParams.join(', ')}` : 'topic', '', 'Calls go to the servers of a topic'],
    idempotent && ['no side effects', 'good', 'The .proto file declares that it has no side effects'],
    kind === 'single' && !requireClaim && ['no claim', '', 'Servers handle requests without claiming them first'],
    deprecated && ['deprecated', 'warn', 'The .proto file marks it as deprecated'],
  ].filter(Boolean);
}

export default {
  open(root, { service }, app) {
    const { fleet } = app.store;
    const path = `/api/services/${encodeURIComponent(service)}`;
    let data = null, columns = null, problem = null;

    function take(answer) {
      data = answer;
      columns ??= methodColumns(data.name);
      problem = null;
      draw();
    }

    function fail(error) {
      problem = error;
      draw();
    }

    const row = () => fleet.now?.services.find(({ name, wireName }) => name === service || wireName === service);

    function draw() {
      const above = html`<a href="#/fleet">Fleet</a> / Service`;
      if (!data) {
        render(html`${heading(qualified(service), { above })}
          ${problem ? failure(problem, () => stop.now(), 'The service cannot be shown') : loading()}`, root);
        return;
      }
      const { name, wireName, comment, methods, versions } = data;
      const servers = fleet.now?.servers.filter((server) => server.services.includes(name)) ?? [];
      const note = html`${comment ? html`<p>${comment.trim()}</p>` : null}
        ${wireName !== name ? html`<p>On the bus: <code>${wireName}</code></p>` : null}`;
      render(html`
        ${heading(qualified(name), { above, note, actions: data.problem ? null : downloads(name) })}
        ${problem ? hint('bad', 'This may be out of date.', problem.message) : null}
        ${data.problem ? hint('warn', 'The schema is not known.', data.problem.message) : null}
        <dl class="tiles">${tiles(data, row() ?? {}, () => root.querySelector('#versions')?.scrollIntoView())}</dl>
        <section class="section" aria-labelledby="methods">
          <h2 id="methods">Methods</h2>
          <x-table .label=${'Methods'} .columns=${columns} .key=${(method) => method.name}
            .href=${(method) => routes.method(name, method.name)} .filterLabel=${methods.length > 8 ? 'Filter methods' : ''}
            .empty=${'The service has no methods.'} .rows=${methods}></x-table>
        </section>
        <section class="section" aria-labelledby="servers">
          <h2 id="servers">Servers</h2>
          <x-table .label=${'Servers'} .columns=${serverColumns} .href=${serverHref}
            .filterLabel=${servers.length > 8 ? 'Filter servers' : ''}
            .empty=${'No server of this service has answered.'} .rows=${servers}></x-table>
        </section>
        ${versions.length ? html`<section class="section" aria-labelledby="versions">
          <h2 id="versions">${versions.length > 1 ? 'Versions in use' : 'Version'}</h2>
          <div class="columns">${versions.map((version, i) => versionPanel(version, i, versions.length))}</div>
        </section>` : null}
        ${topicsPart(methods)}`, root);
    }

    const downloads = (name) => html`
      <a class="button" href=${app.api.url(`${path}/proto`)} download=${`${name}.proto`}>Download .proto</a>
      <a class="button" href=${app.api.url(`${path}/descriptors.binpb`)} download=${`${name}.binpb`}>Descriptors</a>`;

    const stop = app.api.poll(path, interval, take, fail);
    const unwatch = fleet.watch(draw);
    draw();
    return () => {
      stop();
      unwatch();
    };
  },
};

// tiles shows the numbers of the service. live is its row in the fleet, or an empty object until
// that is known.
function tiles({ versions, peers }, live, compare) {
  const others = [
    peers.psrpc > 0 && `+ ${peers.psrpc} psrpc`, peers.silent > 0 && `+ ${peers.silent} silent`,
    peers.clients.length > 0 && `${plural(peers.clients.length, 'client')} seen`,
  ].filter(Boolean).join(' · ');
  return [
    tile('Servers', whole(live.servers), others),
    tile('Calls', rate(live.rate), live.active > 0 ? `${count(live.active)} active` : 'none active'),
    tile('Errors', percent(live.errorRate), 'of all calls', live.errorRate > 0 ? 'bad' : ''),
    tile('p99', duration(live.p99), ''),
    versions.length > 1
      ? tile('Versions', versions.length, html`<button type="button" class="link" @click=${compare}>Compare</button>`, 'warn')
      : tile('Versions', versions.length, ''),
  ];
}

// versionPanel shows a version of the service. The version with index 0 is the oldest.
function versionPanel({ digest, name, servers, started, differences, breaking, problem }, i, all) {
  const mark = breaking ? badge('breaking', 'bad', 'Peers with the two versions misunderstand each other') : null;
  return html`<div class="panel">${facts([
    ['Digest', html`<code>${digest}</code>`], ['Name', all > 1 ? name : null],
    ['First started', started ? html`${since(started)} ago` : null], ['Servers', serverLinks(servers)],
  ])}
  ${problem ? html`<p class="spaced bad">${problem.message}</p>` : null}
  ${differences.length ? html`<h3 class="spaced">Compared with the oldest version ${mark}</h3>
      <ul class="list small">${differences.map((difference) => html`<li>${difference}</li>`)}</ul>`
    : i && !problem ? html`<p class="quiet spaced">Its methods and messages are the same as in the oldest version.</p>` : null}</div>`;
}

function topicsPart(methods) {
  const used = methods.filter(({ topicNames }) => topicNames.length);
  if (!used.length) return null;
  return html`<section class="section" aria-labelledby="topics"><h2 id="topics">Topics</h2>
    <div class="columns">${used.map(({ name, topicNames, topicCount }) => html`<div class="panel"><h3>${name}</h3>
      <p class="badges spaced">${topicNames.map((topic) => badge(topic))}${
        topicCount > topicNames.length ? html`<span class="quiet">and ${whole(topicCount - topicNames.length)} more</span>` : null}</p>
    </div>`)}</div></section>`;
}
