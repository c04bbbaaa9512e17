/** Lines of losses as they come. */
import { html } from '../base/html.js';

const COLORS = ['--line-1', '--line-2', '--line-3', '--line-4'];
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [440, 210, 46, 24];

/** The losses in the message of a training's progress: "generator loss 0.66, cycle loss 0.12". @param {string} message @returns {Record<string, number>} */
export function lossesOf(message) {
  const found = [...(message ?? '').matchAll(/([a-z][a-z ]*?) (-?\d[\d.e+-]*)(?:,|$)/gi)];
  return Object.fromEntries(found.map(([, name, value]) => [name.trim(), Number(value)]));
}

/** @param {{points: {step: number, losses: Record<string, number>}[]}} props */
export function Chart({ points }) {
  const names = [...new Set(points.flatMap((each) => Object.keys(each.losses)))].slice(0, 4);
  const values = points.flatMap((each) => names.map((name) => each.losses[name])).filter((each) => Number.isFinite(each));
  if (points.length < 2 || !values.length) return html`<p class="hint">The curve begins with the second report of the losses.</p>`;
  const [low, high] = [Math.min(...values, 0), Math.max(...values)];
  const last = points[points.length - 1].step || 1;
  const x = (/** @type {number} */ step) => LEFT + (step / last) * (WIDTH - LEFT - 8);
  const y = (/** @type {number} */ value) => 8 + (1 - (value - low) / (high - low || 1)) * (HEIGHT - BOTTOM - 8);
  const line = (/** @type {string} */ name) => points.filter((each) => Number.isFinite(each.losses[name])).map((each) => `${x(each.step).toFixed(1)},${y(each.losses[name]).toFixed(1)}`).join(' ');
  const newest = points[points.length - 1].losses;
  const words = names.map((name) => `${name} ${newest[name] ?? '–'}`).join(', ');
  return html`
    <figure class="chart">
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`Losses up to step ${last}: ${words}`}>
        ${[0, 0.5, 1].map((t) => html`<g key=${t}><line x1=${LEFT} x2=${WIDTH - 8} y1=${y(low + t * (high - low))} y2=${y(low + t * (high - low))} class="grid" />
          <text x=${LEFT - 6} y=${y(low + t * (high - low)) + 4} text-anchor="end">${Number((low + t * (high - low)).toPrecision(3))}</text></g>`)}
        <text x=${LEFT} y=${HEIGHT - 6}>0</text><text x=${WIDTH - 8} y=${HEIGHT - 6} text-anchor="end">step ${last}</text>
        ${names.map((name, i) => html`<polyline key=${name} points=${line(name)} class=${COLORS[i].slice(2)} />`)}
      </svg>
      <figcaption class="legend">${names.map((name, i) => html`<span key=${name}><i class=${COLORS[i].slice(2)}></i> ${name}: ${newest[name] ?? '–'}</span>`)}</figcaption>
    </figure>
  `;
}
