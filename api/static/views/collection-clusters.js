/** Clusters: what each holds, a name of your own, new images of one, and an animation around it. */
import { html, useMemo, useState } from '../base/html.js';
import { submit } from '../base/api.js';
import { clusterName } from '../base/collection.js';
import { useJob } from '../base/follow.js';
import { download, isImage, outputPath } from '../base/media.js';
import { css, PALETTE } from '../base/points.js';
import { link, useParams } from '../base/route.js';
import { Icon } from '../parts/icons.js';
import { Failure, JobState } from '../parts/job.js';
import { Media } from '../parts/media.js';
import { tried } from '../parts/notes.js';
import { CopyRequest } from '../parts/request.js';

const SHOWN = 6;

/** Names that a person gave to clusters; the API has none to store them, so they stay in this browser. @param {string} key */
function useNames(key) {
  const [names, setNames] = useState(() => /** @type {Record<string, string>} */ (JSON.parse(localStorage.getItem(key) ?? '{}')));
  const rename = (/** @type {string} */ cluster, /** @type {string} */ name) => {
    const next = { ...names, [cluster]: name };
    if (!name) delete next[cluster];
    localStorage.setItem(key, JSON.stringify(next));
    setNames(next);
  };
  return { names, rename };
}

/** @param {any} props */
export function Clusters({ details, version, members, thumb }) {
  const [params, change] = useParams();
  const methods = Object.keys(version.figures.clusterings);
  const method = params.method ?? methods[0];
  const clustering = version.figures.clusterings[method];
  const { names, rename } = useNames(`atelier.clusters.${details.id}.${version.version}.${method}`);
  const [error, setError] = useState(/** @type {any} */ (null));
  const { job, error: lost } = useJob(params.job);
  const nearest = useMemo(() => (members && clustering ? sorted(members, method, clustering) : []), [members?.n, method]);
  if (!clustering) return html`<p class="hint">This collection has no clusters.</p>`;
  const start = (/** @type {string} */ path, /** @type {any} */ request) => (setError(null), submit(path, request).then((made) => change({ job: made.id }), setError));
  const sample = (/** @type {number} */ cluster) => start('/v1/cluster-samplings', { collection: details.id, clustering: method, cluster, n: 8, ...(details.space === 'style' && { size: 256 }) });
  const animate = (/** @type {number} */ cluster) => start('/v1/pc-animations', { collection: details.id, path: { cluster, clustering: method, n: 5 }, n_frames: 24, ...(details.space === 'style' && { size: 192 }) });
  return html`
    <div class="row spread">
      <label class="inline">Clustering <select value=${method} onChange=${(/** @type {any} */ e) => change({ method: e.target.value })}>${methods.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>
      <p class="hint">${clustering.n_clusters} clusters${clustering.silhouette == null ? '' : ` · silhouette ${clustering.silhouette.toFixed(2)}`}${clustering.noise_share ? ` · ${(100 * clustering.noise_share).toFixed(0)} % noise` : ''}</p>
    </div>
    ${error && html`<${Failure} error=${error} />`}
    ${(job || lost) && html`<section class="panel stack made" aria-label="Made of a cluster"><${JobState} job=${job} error=${lost} onRetry=${(/** @type {any} */ next) => change({ job: next.id })}><${Made} job=${job} /><//></section>`}
    <div class="cards">${clustering.clusters.map((/** @type {any} */ each) => html`<article class="panel card" key=${each.cluster}>
      <h2><i class="dot" ref=${(/** @type {HTMLElement | null} */ dot) => dot?.style.setProperty('background', css(PALETTE[each.cluster % PALETTE.length]))}></i> ${names[each.cluster] ?? clusterName(each)}</h2>
      <p class="hint">${clustering.sizes[each.cluster]} images${each.traits?.length ? ` · ${each.traits.slice(0, 3).map((/** @type {any} */ t) => `${t.trait.replaceAll('_', ' ')} ${(100 * t.inside).toFixed(0)} %`).join(', ')}` : ''}</p>
      <div class="gallery six">${(nearest[each.cluster] ?? []).slice(0, SHOWN).map((/** @type {number} */ i) => html`<a class="tile" key=${i} href=${link(`collections/${details.id}`, { member: i })} title=${members.names[i]}>${thumb(i) && html`<${Media} lazy path=${thumb(i)} alt=${`Member ${i}`} />`}</a>`)}</div>
      <label>Your name for it <input maxlength="60" placeholder=${clusterName(each)} value=${names[each.cluster] ?? ''} onInput=${(/** @type {any} */ e) => rename(String(each.cluster), e.target.value)} /></label>
      <div class="row"><button onClick=${() => sample(each.cluster)}><${Icon} name="spark" /> New images</button><button onClick=${() => animate(each.cluster)}><${Icon} name="play" /> Animate</button></div>
    </article>`)}</div>
    <p class="hint">Names that you give are kept in this browser.</p>
  `;
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
