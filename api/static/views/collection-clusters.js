/** Clusters: what each holds, a name for it, new images of one, and an animation around it. */
import { html, useEffect, useMemo, useState } from '../base/html.js';
import { patch, submit } from '../base/api.js';
import { clusterName, foundName, methodTitle } from '../base/collection.js';
import { useJob } from '../base/follow.js';
import { download, isImage, outputPath } from '../base/media.js';
import { css, PALETTE } from '../base/points.js';
import { link, useParams } from '../base/route.js';
import { Icon } from '../parts/icons.js';
import { Failure, JobState } from '../parts/job.js';
import { Media } from '../parts/media.js';
import { note, tried } from '../parts/notes.js';
import { CopyRequest } from '../parts/request.js';

const SHOWN = 6;

/** @param {any} props */
export function Clusters({ details, version, members, thumb, update }) {
  const [params, change] = useParams();
  const methods = Object.keys(version.figures.clusterings);
  const method = params.method ?? methods[0];
  const clustering = version.figures.clusterings[method];
  const [error, setError] = useState(/** @type {any} */ (null));
  const { job, error: lost } = useJob(params.job);
  const nearest = useMemo(() => (members && clustering ? sorted(members, method, clustering) : []), [members?.n, method]);
  if (!clustering) return html`<p class="hint">This collection has no clusters.</p>`;
  const start = (/** @type {string} */ path, /** @type {any} */ request) => (setError(null), submit(path, request).then((made) => change({ job: made.id }), setError));
  const sample = (/** @type {number} */ cluster) => start('/v1/cluster-samplings', { collection: details.id, clustering: method, cluster, n: 8, ...(details.space === 'style' && { size: 256 }) });
  const rename = (/** @type {any} */ each, /** @type {string} */ name) => tried(async () => {
    const named = { clustering: method, cluster: each.cluster, name: name.trim() };
    update(await patch(`/v1/collections/${details.id}`, { version: version.version, cluster_names: [named] }));
    note(named.name ? `The cluster is called “${named.name}” now, for everyone who sees the collection.` : 'The cluster has its own name again.');
  });
  const animate = (/** @type {number} */ cluster) => start('/v1/pc-animations', { collection: details.id, path: { cluster, clustering: method, n: 5 }, n_frames: 24, ...(details.space === 'style' && { size: 192 }) });
  return html`
    <div class="row spread above">
      <label class="inline">Clustering <select value=${method} onChange=${(/** @type {any} */ e) => change({ method: e.target.value })}>${methods.map((each) => html`<option key=${each} value=${each}>${methodTitle(each)}</option>`)}</select></label>
      <p class="hint">${clustering.n_clusters} clusters${clustering.silhouette == null ? '' : ` · silhouette ${clustering.silhouette.toFixed(2)}`}${clustering.noise_share ? ` · ${(100 * clustering.noise_share).toFixed(0)} % noise` : ''}</p>
    </div>
    ${error && html`<${Failure} error=${error} />`}
    ${(job || lost) && html`<section class="panel stack made" aria-label="Made of a cluster"><${JobState} job=${job} error=${lost} onRetry=${(/** @type {any} */ next) => change({ job: next.id })}><${Made} job=${job} /><//></section>`}
    <div class="cards">${clustering.clusters.map((/** @type {any} */ each) => html`<article class="panel card" key=${each.cluster}>
      <h2><i class="dot" ref=${(/** @type {HTMLElement | null} */ dot) => dot?.style.setProperty('background', css(PALETTE[each.cluster % PALETTE.length]))}></i> ${clusterName(each, version, method)}</h2>
      <p class="hint">${clustering.sizes[each.cluster].toLocaleString()} ${members?.hasImages === false ? 'members' : 'images'}${each.traits?.length ? ` · ${each.traits.slice(0, 3).map((/** @type {any} */ t) => `${t.trait.replaceAll('_', ' ')} ${(100 * t.inside).toFixed(0)} %`).join(', ')}` : ''}</p>
      <div class="gallery six">${(nearest[each.cluster] ?? []).slice(0, SHOWN).map((/** @type {number} */ i) => html`<a class="tile" key=${i} href=${link(`collections/${details.id}`, { member: i })} title=${members.name(i)}>${thumb(i) ? html`<${Media} lazy path=${thumb(i)} alt=${`Member ${i}`} />` : html`<span class="wordy">${members.name(i)}</span>`}</a>`)}</div>
      <${Name} key=${method} given=${version.cluster_names[method]?.[each.cluster] ?? ''} found=${foundName(each)} save=${(/** @type {string} */ name) => rename(each, name)} />
      <div class="row"><button onClick=${() => sample(each.cluster)}><${Icon} name="spark" /> New images</button><button onClick=${() => animate(each.cluster)}><${Icon} name="play" /> Animate</button></div>
    </article>`)}</div>
  `;
}

/** The name of a cluster; what is typed stays while other things load. @param {{given: string, found: string, save: (name: string) => void}} props */
function Name({ given, found, save }) {
  const [text, setText] = useState(given);
  useEffect(() => setText(given), [given]);
  return html`<label>Name <input maxlength="100" placeholder=${found} value=${text} onInput=${(/** @type {any} */ e) => setText(e.target.value)} onChange=${() => text.trim() !== given && save(text)} /></label>`;
}

/** The members of each cluster, its medoid first. @param {any} members @param {string} method @param {any} clustering */
function sorted(members, method, clustering) {
  const groups = /** @type {number[][]} */ (Array.from({ length: clustering.n_clusters }, () => []));
  for (let i = 0; i < members.n; i++) groups[members.clusters[method][i]]?.push(i);
  return groups.map((ids, cluster) => {
    const medoid = clustering.medoids[cluster];
    return medoid === undefined || medoid < 0 ? ids : [medoid, ...ids.filter((i) => i !== medoid)];
  });
}

/** What was made: an animation, or samples. @param {{job: any}} props */
function Made({ job }) {
  const animation = job?.outputs.find((/** @type {any} */ each) => each.role === 'animation');
  const images = (job?.outputs ?? []).filter(isImage);
  const grid = (job?.outputs ?? []).find((/** @type {any} */ each) => each.role === 'grid');
  const main = animation ?? grid;
  return html`
    ${animation && html`<div class="decoded"><${Media} path=${outputPath(job, animation)} alt="Animation around the cluster" /></div>`}
    ${!animation && images.length > 0 && html`<div class="results">${images.map((/** @type {any} */ each) => html`<div class="result" key=${each.index}><${Media} path=${outputPath(job, each)} alt=${`New image ${each.index + 1}`} /></div>`)}</div>`}
    ${!animation && !images.length && grid && html`<${Media} path=${outputPath(job, grid)} alt="Members near the samples" />`}
    <div class="row">${main && html`<button onClick=${() => tried(() => download(outputPath(job, main), `atelier-${job.id.slice(4, 12)}`))}><${Icon} name="save" /> Download</button>`}</div>
    ${job && html`<${CopyRequest} path=${job.kind === 'pc-animation' ? '/v1/pc-animations' : '/v1/cluster-samplings'} params=${job.params} />`}
  `;
}
