/** One collection: its map, and tabs for its clusters, components, search and oddities. */
import { html, useState } from '../base/html.js';
import { remove } from '../base/api.js';
import { clusterName, colorings, methodTitle, thumbnailPath, useColors, useCollection, useMask } from '../base/collection.js';
import { useJob } from '../base/follow.js';
import { go, link, useParams } from '../base/route.js';
import { Icon } from '../parts/icons.js';
import { Failure, JobState } from '../parts/job.js';
import { Legend } from '../parts/legend.js';
import { Media } from '../parts/media.js';
import { MemberGallery } from '../parts/members.js';
import { tried } from '../parts/notes.js';
import { Scatter } from '../parts/scatter.js';
import { Tabs } from '../parts/tabs.js';
import { Clusters } from './collection-clusters.js';
import { Components, Plots } from './collection-figures.js';
import { Oddities, Search } from './collection-search.js';

const TABS = { map: 'Map', clusters: 'Clusters', components: 'Components', search: 'Search', odd: 'Outliers and duplicates', plots: 'Plots' };

/** @param {{id: string, tab: string}} props */
export function Collection({ id, tab }) {
  const { details, version, members, error, update } = useCollection(id);
  const { job } = useJob(version ? null : details?.building);
  const [sure, setSure] = useState(false);
  if (error) return html`<h1>Collection</h1><${Failure} error=${error} /><p><a href="#/collections">All collections</a></p>`;
  if (!details) return html`<h1>Collection</h1><p class="hint" role="status">Loading…</p>`;
  const erase = () => (sure ? tried(async () => (await remove(`/v1/collections/${id}`), go('collections'))) : setSure(true));
  const thumb = (/** @type {number} */ i) => (members?.thumbnails[i] ? thumbnailPath(details, version, i) : null);
  const props = { details, version, members, thumb, update };
  return html`
    <p><a href="#/collections">← All collections</a></p>
    <div class="row spread"><div><h1>${details.name}</h1>
      <p class="hint">space ${details.space}${version ? ` · ${version.n_images} images · ${version.figures.n_components} components` : ''}${details.building && version ? ' · a new version is being built' : ''}</p></div>
      <div class="row">${details.space === 'style' && version && html`<a class="button" href=${link(`map/${id}`)}><${Icon} name="map" /> Paint with it</a>`}
        <button onClick=${erase}><${Icon} name="trash" /> ${sure ? 'Delete for good' : 'Delete'}</button></div></div>
    ${!version ? html`<section class="panel"><${JobState} job=${job} /></section>` : html`
      <${Tabs} label="Parts of the collection" current=${tab} tabs=${TABS} to=${(/** @type {string} */ each) => link(`collections/${id}/${each}`)} />
      ${tab === 'map' && html`<${MapTab} ...${props} />`}
      ${tab === 'clusters' && html`<${Clusters} ...${props} />`}
      ${tab === 'components' && html`<${Components} ...${props} />`}
      ${tab === 'search' && html`<${Search} ...${props} />`}
      ${tab === 'odd' && html`<${Oddities} ...${props} />`}
      ${tab === 'plots' && html`<${Plots} ...${props} />`}`}
  `;
}

/** @param {any} props */
function MapTab({ details, version, members, thumb }) {
  const [params, change] = useParams();
  const by = params.by ?? `cluster:${Object.keys(version.figures.clusterings)[0] ?? ''}`;
  const { colors, legend } = useColors(members, version, by);
  const [lit, setLit] = useState(/** @type {number[] | null} */ (null));
  const mask = useMask(lit, members);
  if (!members) return html`<p class="hint" role="status">Loading the members…</p>`;
  const chosen = params.member === undefined ? null : Number(params.member);
  const ids = lit ?? Array.from({ length: Math.min(24, members.n) }, (_, k) => Math.floor((k * members.n) / Math.min(24, members.n)));
  return html`
    <div class="split map-split">
      <section class="panel stack" aria-label="Map">
        <div class="row spread"><label class="inline">Color by <select value=${by} onChange=${(/** @type {any} */ e) => change({ by: e.target.value })}>${colorings(version.figures, members).map((each) => html`<option key=${each.id} value=${each.id}>${each.title}</option>`)}</select></label>
          <span class="hint" role="status">${members.n.toLocaleString()} ${members.hasImages ? 'images' : 'members'}</span></div>
        <${Scatter} points=${members} colors=${colors} label=${`Map of ${details.name}`} thumb=${members.hasImages ? thumb : null} lit=${mask} mark=${chosen === null || chosen >= members.n ? null : [members.x[chosen], members.y[chosen]]}
          onPick=${(/** @type {number[]} */ _, /** @type {any[]} */ near) => near[0] && change({ member: near[0].i })} onLasso=${(/** @type {number[]} */ found) => setLit(found.length ? found : null)} />
        <${Legend} items=${legend} />
      </section>
      <section class="panel stage stack" aria-label="Images">
        ${chosen !== null && chosen < members.n && html`<${MemberCard} details=${details} version=${version} members=${members} i=${chosen} />`}
        <div class="row spread"><h2>${lit ? `${lit.length} in the lasso` : 'Some of them'}</h2>${lit && html`<button class="small" onClick=${() => setLit(null)}>Clear the lasso</button>`}</div>
        <${MemberGallery} ids=${ids.slice(0, 60)} members=${members} thumb=${thumb} pick=${(/** @type {number} */ i) => change({ member: i })} />
      </section>
    </div>
  `;
}

/** @param {{details: any, version: any, members: any, i: number}} props */
function MemberCard({ details, version, members, i }) {
  const cluster = (/** @type {string} */ method) => {
    const number = members.clusters[method][i];
    return number < 0 ? 'noise' : clusterName(version.figures.clusterings[method].clusters[number] ?? { cluster: number }, version, method);
  };
  return html`<div class="member">${members.thumbnails[i] > 0 && html`<${Media} path=${`/v1/collections/${details.id}/members/${i}/image`} alt=${`Member ${i}`} />`}
    <dl class="facts"><dt>Member</dt><dd>${i}, ${members.name(i)}</dd><dt>Labels</dt><dd>${members.labels(i) || '–'}</dd>
      ${Object.keys(members.clusters).map((method) => html`<dt key=${method}>${methodTitle(method)}</dt><dd>${cluster(method)}</dd>`)}
      <dt>Isolated</dt><dd>${members.outliers[i].toFixed(2)}</dd></dl>
    <div class="row"><a class="button" href=${link(`collections/${details.id}/search`, { like: i })}><${Icon} name="search" /> More like it</a></div></div>`;
}
