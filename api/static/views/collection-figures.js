/** Components with what they mean and images along them; and the plots that the fit has drawn. */
import { classes, html, useLoad, useState } from '../base/html.js';
import { get, submit } from '../base/api.js';
import { componentTitle } from '../base/collection.js';
import { useJob } from '../base/follow.js';
import { download, outputPath } from '../base/media.js';
import { link, useParams } from '../base/route.js';
import { Icon } from '../parts/icons.js';
import { Failure, JobState } from '../parts/job.js';
import { Media } from '../parts/media.js';
import { tried } from '../parts/notes.js';

const SHOWN = 16;
/** @type {Record<string, string>} */
const TITLES = { 't-sne': 't-SNE', umap: 'UMAP', pca: 'Principal components' };

/** @param {string} name */
const titleOf = (name) => TITLES[name] ?? name[0].toUpperCase() + name.slice(1).replaceAll('-', ' ');

/** @param {any} props */
export function Components({ details, version }) {
  const [params, change] = useParams();
  const { job, error: lost } = useJob(params.job);
  const [error, setError] = useState(/** @type {any} */ (null));
  const { explained_variance_ratio: shares, components } = version.figures;
  const decodes = details.space !== 'photo';
  const steer = (/** @type {number} */ component) => (setError(null), submit('/v1/pc-steerings', { collection: details.id, components: [{ component }], ...(details.space === 'style' && { size: 192, start: 'photo' }) }).then((made) => change({ job: made.id }), setError));
  const grid = job?.outputs.find((/** @type {any} */ each) => each.role === 'grid');
  return html`
    ${error && html`<${Failure} error=${error} />`}
    ${(job || lost) && html`<section class="panel stack made" aria-label="Images along the component"><${JobState} job=${job} error=${lost}>${grid && html`<${Media} path=${outputPath(job, grid)} alt="Images along the component" />`}<//></section>`}
    <section class="panel"><table class="figures"><caption class="hidden">Principal components</caption>
      <thead><tr><th scope="col">Component</th><th scope="col">Explains</th><th scope="col">Goes along with</th><th scope="col"><span class="hidden">Actions</span></th></tr></thead>
      <tbody>${shares.slice(0, SHOWN).map((/** @type {number} */ share, /** @type {number} */ k) => html`<tr key=${k}>
        <th scope="row">${k + 1}</th>
        <td><meter min="0" max=${shares[0]} value=${share} aria-label=${`Share of component ${k + 1}`}></meter> ${(100 * share).toFixed(1)} %</td>
        <td>${components[k]?.name?.replaceAll('_', ' ') || html`<span class="hint">nothing known</span>`}</td>
        <td><div class="row">${decodes && html`<button class="small" onClick=${() => steer(k)}>Look along it</button>`} <a href=${link(`collections/${details.id}`, { by: `component:${k}` })} aria-label=${`Map colored by ${componentTitle({ component: k })}`}>on the map</a></div></td></tr>`)}</tbody></table></section>
  `;
}

/** @param {any} props */
export function Plots({ details, version }) {
  const [large, setLarge] = useState('');
  const { value, error } = useLoad((signal) => get(`/v1/collections/${details.id}/plots`, { version: version.version }, signal), [details.id, version.version]);
  if (error) return html`<${Failure} error=${error} />`;
  return html`<div class="cards">${(value?.plots ?? []).map((/** @type {any} */ each) => {
    const path = `/v1/collections/${details.id}/plots/${each.name}?version=${version.version}`;
    return html`<figure class=${classes('panel card', each.name === large && 'whole')} key=${each.name}><figcaption class="row spread"><h2>${titleOf(each.name)}</h2>
      <button class="small plain" aria-label=${`Download ${each.name}`} onClick=${() => tried(() => download(path, each.name))}><${Icon} name="save" /></button></figcaption>
      <button class="look" aria-label=${`${each.name === large ? 'Shrink' : 'Enlarge'} the plot ${titleOf(each.name)}`} onClick=${() => setLarge(each.name === large ? '' : each.name)}><${Media} lazy path=${path} alt=${`Plot: ${titleOf(each.name)}`} /></button></figure>`;
  })}</div>`;
}
