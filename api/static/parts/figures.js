/** The measured quality of a model, in words. */
import { html } from '../base/html.js';

/** @type {Record<string, string>} */
const LABELS = {
  accuracy: 'Accuracy',
  worst: 'Least accurate',
  real: 'Real images, to compare',
  sample: 'Samples',
  frechet: 'Frechet distance',
  images_per_second: 'images a second',
  reconstruction_mse: 'Reconstruction error (MSE)',
  elbo: 'Likelihood bound (ELBO)',
  kl_divergence: 'KL divergence',
  attributes_kept: 'Attributes kept in reconstructions',
  worst_kept: 'Least kept',
  attributes_shown: 'Attributes shown that were asked for',
  worst_shown: 'Least shown',
  texts_shown_whole: 'Prompts shown in full',
  retrieval: 'Search among other images',
  image_to_text_1: 'text found by image',
  text_to_image_1: 'image found by text',
  samples_in_their_cluster: 'Samples in their cluster',
  steering: 'Steering along components',
  right_direction: 'right direction',
  mixture: 'Samples of a mixture',
  arithmetic: 'Attribute arithmetic',
  absolute_error: 'Mean absolute error, of 255',
  absolute_error_at_edges: 'The same at edges',
  translated: 'translated',
  held: 'other attributes kept',
  worst_held: 'least:',
};
const SHARES = /accuracy|worst|kept|shown|whole|_to_|coverage|cluster$|direction|reached|certain|translated|held|glasses/;
const DETAILS = new Set(['images', 'texts', 'draws', 'averaged', 'members', 'clusters', 'image_to_text_5', 'text_to_image_5', 'others']); // sizes and lesser figures
const REAL = '_real'; // ends the name of a figure of real images

/** @typedef {{label: string, value: string, isLong: boolean}} Figure */

/** The figures of a model, those of real images last. @param {any} model @returns {Figure[]} */
function figuresOf(model) {
  const names = Object.entries(model.quality ?? {});
  const own = names.filter(([name]) => !name.endsWith(REAL) && !DETAILS.has(name));
  const real = names.filter(([name]) => name.endsWith(REAL)).map(([name, value]) => [name.slice(0, -REAL.length), value]);
  const groups = real.length ? [...own, ['real', Object.fromEntries(real)]] : own;
  return groups.map(([name, value]) => ({ label: labelOf(name, model), value: worded(name, value, SHARES.test(name)), isLong: typeof value === 'object' }));
}

/** Terms and values of a list of facts; several values take a line of their own. @param {{model: any}} props */
export const Figures = ({ model }) => figuresOf(model).map(({ label, value, isLong }) => html`<dt key=${label} class=${isLong ? 'whole' : ''}>${label}</dt><dd class=${isLong ? 'whole' : ''}>${value}</dd>`);

/** @param {string} name @param {any} model @returns {string} */
function labelOf(name, model) {
  const [without, having] = model.architecture.kinds ?? [];
  if (name === 'a-to-b') return `${without} → ${having}`;
  if (name === 'b-to-a') return `${having} → ${without}`;
  const [, sampler, steps] = /^(dd[ip]m|dpm-solver\+\+)-(\d+)$/.exec(name) ?? [];
  if (sampler) return `${{ ddim: 'DDIM', ddpm: 'DDPM', 'dpm-solver++': 'DPM-Solver++' }[/** @type {'ddim'} */ (sampler)]}, ${steps} steps`;
  const words = LABELS[name] ?? name.replaceAll('_', ' ');
  return words[0].toUpperCase() + words.slice(1);
}

/** A figure, or several with their names. @param {string} name @param {any} value @param {boolean} isShare @returns {string} */
function worded(name, value, isShare) {
  if (typeof value === 'number') return isShare && value <= 1 ? `${Number((100 * value).toFixed(1))} %` : value.toLocaleString('en', { maximumSignificantDigits: 4 });
  if (!value || typeof value !== 'object') return String(value);
  const shown = Object.entries(value).filter(([each]) => !DETAILS.has(each));
  return shown.map(([each, of]) => `${(LABELS[each] ?? each).replaceAll('_', ' ')} ${worded(each, of, isShare || SHARES.test(each))}`).join(', ');
}
