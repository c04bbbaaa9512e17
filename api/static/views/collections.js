/** Collections: the list, and a new one of a folder or a named set. */
import { html, useEffect, useLoad, useState, useStore } from '../base/html.js';
import { clean, get, submit } from '../base/api.js';
import { useJob } from '../base/follow.js';
import { go, link, route, useParams } from '../base/route.js';
import { DataInput } from '../parts/data.js';
import { Icon } from '../parts/icons.js';
import { Failure, JobState, ago } from '../parts/job.js';
import { useModels } from '../parts/modeltools.js';
import { CopyRequest } from '../parts/request.js';
import { Collection } from './collection.js';

const SETS = { styles: 'Procedural paintings (styles)', smileys: 'Smileys', avatars: 'Drawn faces', flowers: 'Flowers', photos: 'Photographs', digits: 'Handwritten digits', 'fashion-mnist': 'Fashion-MNIST' };
const FITTING = '';
/** @type {Record<string, string>} */
const SPACES = { [FITTING]: 'the one that suits the data', pixels: 'Pixels, without a model', style: 'Style: to paint photos with', photo: 'Photo: by what photographs show' };
/** @type {Record<string, any[]>} */
const METHODS = {
  kmeans: [{ method: 'kmeans' }],
  both: [{ method: 'kmeans' }, { method: 'mixture', max_components: 12 }],
  hdbscan: [{ method: 'kmeans' }, { method: 'hdbscan' }],
};

export default function Collections() {
  const { rest } = useStore(route);
  return rest[0] ? html`<${Collection} key=${rest[0]} id=${rest[0]} tab=${rest[1] ?? 'map'} />` : html`<${List} />`;
}

function List() {
  const { value, error, reload } = useLoad((signal) => get('/v1/collections', {}, signal), []);
  const collections = value?.collections ?? [];
  return html`
    <h1>Collections</h1>
    <p class="lead">Images encoded in a latent space: their map, components and clusters to look at, to search, and to make new images from.</p>
    <div class="split">
      <section class="panel" aria-label="New collection"><${Make} onMade=${reload} /></section>
      <section aria-label="Collections" class="stack">
        ${error && html`<${Failure} error=${error} />`}
        ${value && !collections.length && html`<div class="empty"><h2>No collections yet</h2><p>Drop a folder of images into the form, or take a set that comes with the service.</p></div>`}
        <div class="cards">${collections.map((/** @type {any} */ each) => html`<article class="panel card" key=${each.id}>
          <h2><a href=${link(`collections/${each.id}`)}>${each.name}</a></h2>
          <p class="hint">space ${each.space} · ${ago(each.created_at)}${each.version > 1 ? ` · version ${each.version}` : ''}</p>
          <span class=${`state ${each.status === 'ready' ? 'succeeded' : 'running'}`}>${each.status}</span></article>`)}</div>
      </section>
    </div>
  `;
}

/** @param {{onMade: () => void}} props */
function Make({ onMade }) {
  const [params, change] = useParams();
  const [error, setError] = useState(/** @type {any} */ (null));
  const { job } = useJob(params.job);
  const { all } = useModels();
  const data = params.data ?? 'styles';
  const spaces = { ...SPACES, ...Object.fromEntries(all.filter((/** @type {any} */ each) => each.ready && each.dim).map((/** @type {any} */ each) => [each.id, each.title])) };
  useEffect(() => {
    if (job?.status === 'succeeded') go(`collections/${job.metrics.collection}`);
    else if (job) onMade();
  }, [job?.status]);
  const request = clean({
    name: params.name || (SETS[/** @type {'styles'} */ (data)] ?? 'My images'),
    data,
    space: params.space ?? (data === 'styles' ? 'style' : null),
    limit: params.limit ? Number(params.limit) : data.startsWith('zip_') ? null : 200,
    clusterings: METHODS[params.clusters ?? 'kmeans'],
  });
  const set = (/** @type {string} */ name) => (/** @type {any} */ e) => change({ [name]: e.target.value });
  const start = (/** @type {Event} */ event) => (event.preventDefault(), setError(null), submit('/v1/collections', request).then((made) => change({ job: made.id }), setError));
  return html`<form class="stack" onSubmit=${start}>
    <h2>New collection</h2>
    <${DataInput} sets=${SETS} value=${data} onChange=${(/** @type {string} */ id) => change({ data: id })} />
    <div class="fields">
      <label class="wide">Name <input maxlength="100" placeholder=${request.name} value=${params.name ?? ''} onInput=${set('name')} /></label>
      <label class="wide">Space <select value=${params.space ?? FITTING} onChange=${set('space')}>${Object.entries(spaces).map(([id, title]) => html`<option key=${id} value=${id}>${title}</option>`)}</select></label>
      <label>Clusters <select value=${params.clusters ?? 'kmeans'} onChange=${set('clusters')}><option value="kmeans">k-means</option><option value="both">k-means and a mixture</option><option value="hdbscan">k-means and HDBSCAN</option></select></label>
      <label>Images at most <input type="number" min="3" placeholder=${request.limit ?? 'all'} value=${params.limit ?? ''} onInput=${set('limit')} /></label>
    </div>
    <button class="primary"><${Icon} name="grid" /> Collect</button>
    ${error && html`<${Failure} error=${error} />`}
    <${JobState} job=${job} onRetry=${(/** @type {any} */ next) => change({ job: next.id })} />
    <${CopyRequest} path="/v1/collections" params=${request} />
  </form>`;
}
