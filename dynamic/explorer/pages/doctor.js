// The page Doctor: the results of checks of the broker and the fleet, with advice.

import { html, render } from './lib/html.js';
import { duration, plural, time, whole } from './lib/format.js';
import { badge, failure, heading, hint, loading, serverLinks } from './lib/view.js';

const severities = [
  { name: 'error', title: 'Problems', tone: 'bad', word: 'problem' },
  { name: 'warn', title: 'Warnings', tone: 'warn', word: 'warning' },
  { name: 'ok', title: 'OK', tone: 'good', word: 'ok' },
];

export default {
  open(root, params, app) {
    const control = new AbortController();
    let report = null, problem = null, running = false, took = 0, at = null;

    async function examine() {
      if (running) return;
      running = true;
      draw();
      const began = performance.now();
      try {
        report = await app.api.get('/api/doctor', control.signal);
        problem = null;
        at = new Date().toISOString();
        took = (performance.now() - began) / 1000;
      } catch (error) {
        if (control.signal.aborted) return;
        problem = error;
      }
      running = false;
      draw();
    }

    function draw() {
      const note = at ? `Checked at ${time(at).slice(0, 8)}, in ${duration(took)}` : 'Checks the broker and the servers, and gives advice.';
      const button = html`<button type="button" class="primary" ?disabled=${running} @click=${examine}>${
        running ? 'Checking…' : 'Check again'}</button>`;
      render(html`
        ${heading('Doctor', { note, actions: button })}
        ${problem ? failure(problem, problem.code === 'unimplemented' ? null : examine, 'The fleet could not be checked') : null}
        ${report ? result(report) : running ? loading('Asking the broker and all servers…') : null}`, root);
    }

    examine();
    return () => control.abort();
  },
};

function result({ findings, passed, skipped, unreachable }) {
  findings ??= [];
  return html`
    ${summary(findings, passed ?? [], skipped ?? [], unreachable)}
    ${severities.map((severity) => part(severity, findings.filter((finding) => finding.severity === severity.name)))}
    <div class="columns">
      ${passed?.length ? html`<section class="panel" aria-labelledby="passed"><h2 id="passed">Passed checks</h2>
        <p class="badges">${passed.map((check) => badge(check, 'good'))}</p></section>` : null}
      ${skipped?.length ? html`<section class="panel" aria-labelledby="skipped"><h2 id="skipped">Skipped checks</h2>
        <ul class="list">${skipped.map(({ check, reason }) => html`<li>${badge(check, 'muted')} ${reason}</li>`)}</ul></section>` : null}
    </div>`;
}

function summary(findings, passed, skipped, unreachable) {
  const number = (severity) => findings.filter((finding) => finding.severity === severity).length;
  const errors = number('error'), warnings = number('warn');
  const rest = `${plural(passed.length, 'check')} passed${skipped.length ? `, ${whole(skipped.length)} skipped` : ''}.`;
  if (unreachable) return hint('bad', 'The broker does not answer.', rest);
  if (errors) return hint('bad', `${plural(errors, 'problem')}.`, `${warnings ? `${plural(warnings, 'warning')}. ` : ''}${rest}`);
  if (warnings) return hint('warn', `No problems, ${plural(warnings, 'warning')}.`, rest);
  return hint('good', 'No problems.', rest);
}

// part shows the findings of one severity.
function part({ name, title, tone, word }, findings) {
  if (!findings.length) return null;
  return html`<section class="section" aria-labelledby=${`findings-${name}`}>
    <h2 id=${`findings-${name}`}>${title}</h2>
    <ul class="findings">${findings.map((finding) => html`<li class="panel ${tone}-edge">
      <div class="section-head"><p>${finding.seen}</p>
        <span class="badges">${badge(word, tone)}${badge(finding.check, 'muted')}</span></div>
      ${finding.do ? html`<p class="advice"><b>Do:</b> ${finding.do}</p>` : null}
      ${finding.differences?.length ? html`<ul class="list">${finding.differences.map(({ where, what, breaking }) =>
        html`<li><code>${where}</code> ${what} ${breaking ? badge('breaking', 'bad') : null}</li>`)}</ul>` : null}
      ${finding.servers?.length ? html`<p class="small quiet">Servers: ${serverLinks(finding.servers, 20)}</p>` : null}</li>`)}</ul>
  </section>`;
}
