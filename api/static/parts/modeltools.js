/** What views need to know of models: which are here, and what each can do. */
import { html, useLoad } from '../base/html.js';
import { get } from '../base/api.js';

/** The modes of generations by the name of an architecture. @type {Record<string, string[]>} */
const MODES = {
  'mlp-vae': ['sample', 'latent', 'reconstruct'],
  'conv-vae': ['sample', 'latent', 'reconstruct'],
  'mlp-gan': ['sample', 'latent'],
  dcgan: ['sample', 'latent', 'reconstruct'],
  cyclegan: ['translate'],
  ddpm: ['sample', 'denoise-steps'],
  'srvgg-net-compact': ['upscale'],
  'rrdb-net': ['upscale'],
  'stable-diffusion': ['text-to-image'],
  diffusers: ['text-to-image'],
};

/** Every model; those that a running worker has are `ready`. */
export function useModels() {
  const { value, error, reload, loading } = useLoad((signal) => get('/v1/models', {}, signal), []);
  const all = (value?.models ?? []).map((/** @type {any} */ each) => ({ ...each, ready: each.installed_on.length > 0 }));
  const able = (/** @type {string} */ mode) => all.filter((/** @type {any} */ each) => each.ready && (MODES[each.architecture.name] ?? []).includes(mode));
  return { all, able, error, reload, loading };
}

/** @param {{models: any[], value: string, onChange: (id: string) => void, label?: string}} props */
export function ModelSelect({ models, value, onChange, label = 'Model' }) {
  return html`<label>${label} <select value=${value} onChange=${(/** @type {any} */ e) => onChange(e.target.value)}>
    ${models.map((each) => html`<option key=${each.id} value=${each.id}>${each.title} (${each.id})</option>`)}</select></label>`;
}

/** A seed that was not used before. */
export const newSeed = () => Math.floor(Math.random() * 1_000_000);
