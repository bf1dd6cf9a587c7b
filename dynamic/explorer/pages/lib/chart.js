// Charts as SVG. Each chart has a text for screen readers, and the page also contains its numbers.

import { html, svg } from './html.js';
import { duration, whole } from './format.js';

/** sparkline draws a line through the values. null is a gap. label is the accessible name. */
export function sparkline(values, label, width = 120, height = 28) {
  const known = values.filter((value) => value != null);
  const top = Math.max(...known, 0) || 1;
  const step = width / Math.max(values.length - 1, 1);
  let path = '', pen = 'M';
  values.forEach((value, i) => {
    if (value == null) return void (pen = 'M');
    path += `${pen}${(i * step).toFixed(1)} ${(height - 2 - value / top * (height - 4)).toFixed(1)}`;
    pen = 'L';
  });
  return html`<svg class="chart spark" role="img" aria-label="${label}" viewBox="0 0 ${width} ${height}"
    preserveAspectRatio="none"><path d="${path}"></path></svg>`;
}

/**
 * bars draws a horizontal bar for each item: {label, value, text, tone}. If value is null, there is
 * no bar. label may be a template, and tone is "", "good", "warn", "bad" or "muted". top is the
 * value of a full bar, by default the largest value.
 */
export function bars(items, top = Math.max(...items.map(({ value }) => value ?? 0))) {
  return html`<ul class="bars">${items.map(({ label, value, text, tone }) => html`<li>
    <span class="bar-label">${label}</span>
    <svg class="chart bar ${tone ?? ''}" aria-hidden="true" viewBox="0 0 100 1" preserveAspectRatio="none">
      <rect class="track" width="100" height="1"></rect>
      <rect width="${top > 0 ? (Math.max(0, value ?? 0) / top * 100).toFixed(2) : 0}" height="1"></rect></svg>
    <span class="bar-text">${text ?? value}</span></li>`)}</ul>`;
}

/**
 * phases draws one bar that is divided into parts, such as the phases of a call: {label, value},
 * with values in seconds. Parts without a value are left out.
 */
export function phases(items) {
  const shown = items.filter(({ value }) => value > 0);
  const total = shown.reduce((sum, { value }) => sum + value, 0) || 1;
  let at = 0;
  return html`<figure class="phases"><svg class="chart phase" aria-hidden="true" viewBox="0 0 100 1"
      preserveAspectRatio="none">${shown.map(({ value }, i) => {
    const part = svg`<rect class="${`phase-${i % 5}`}" x="${at}" width="${value / total * 100}" height="1"></rect>`;
    at += value / total * 100;
    return part;
  })}</svg><figcaption>${shown.map(({ label, value }, i) =>
    html`<span class="key ${`phase-${i % 5}`}">${label} <b>${duration(value)}</b></span>`)}</figcaption></figure>`;
}

// The upper bound of a bucket divided by its lower bound.
const growth = 2 ** (1 / 8);

/**
 * merged adds up histograms. A histogram is a list of [upper bound in seconds, count], sorted by
 * the bound.
 */
export function merged(histograms) {
  const counts = new Map();
  for (const [bound, n] of histograms.flat()) counts.set(bound, (counts.get(bound) ?? 0) + n);
  return [...counts].sort(([a], [b]) => a - b);
}

const total = (buckets) => buckets.reduce((sum, [, n]) => sum + n, 0);

/** quantile returns the q-quantile of the durations in seconds, or null if there are no calls. */
export function quantile(buckets, q) {
  let rest = q * total(buckets);
  const found = buckets.find(([, n]) => (rest -= n) <= 0);
  // The geometric mean of the bounds represents all calls in the bucket.
  return found ? found[0] / Math.sqrt(growth) : null;
}

/** histogram draws the distribution of durations on a logarithmic axis. */
export function histogram(buckets, label, width = 480, height = 96) {
  if (!total(buckets)) return html`<p class="quiet">No calls yet.</p>`;
  const from = Math.floor(Math.log2(buckets[0][0] / growth) + 1e-3);
  const to = Math.max(Math.ceil(Math.log2(buckets.at(-1)[0]) - 1e-3), from + 2);
  const x = (seconds) => (Math.log2(seconds) - from) / (to - from) * width;
  const top = Math.max(...buckets.map(([, n]) => n));
  const marks = [['p50', 0.5], ['p99', 0.99]].map(([name, q]) => [name, quantile(buckets, q)]);
  // Ticks at 1, 2 and 5 times the powers of ten, or only at the powers if there is no room.
  const marked = (factors) => Array.from({ length: 20 }, (_, i) => factors.map((factor) => factor * 10 ** (i - 10))).flat()
    .filter((seconds) => x(seconds) >= 0 && x(seconds) <= width);
  const ticks = [[1, 2, 5], [1]].map(marked).find((found) => found.length <= 7) ?? [];
  const text = `${label}: ${whole(total(buckets))} calls, ${marks.map(([name, value]) => `${name} ${duration(value)}`).join(', ')}`;
  return html`<figure class="histogram">
    <svg class="chart" role="img" viewBox="0 0 ${width} ${height + 18}" aria-label=${text}>
      ${buckets.map(([bound, n]) => {
    const size = Math.max(1, n / top * (height - 4));
    const left = x(bound / growth);
    return svg`<rect x=${left + 0.5} width=${Math.max(1, x(bound) - left - 1)} y=${height - size} height=${size}></rect>`;
  })}
      <path class="axis" d="${`M0 ${height}H${width}`}"></path>
      ${ticks.map((seconds) => svg`<text x=${x(seconds)} y=${height + 14}
        text-anchor=${x(seconds) < 20 ? 'start' : x(seconds) > width - 20 ? 'end' : 'middle'}>${duration(seconds)}</text>`)}
      ${marks.map(([, value]) => svg`<path class="mark" d="${`M${x(value)} 0V${height}`}"></path>`)}
    </svg>
    <figcaption>${marks.map(([name, value]) => html`<span>${name} <b>${duration(value)}</b></span>`)}
      <span>${whole(total(buckets))} calls</span></figcaption></figure>`;
}
