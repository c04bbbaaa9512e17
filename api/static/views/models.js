/** Models: what each is for, its license, how good it was measured to be, and where it is installed. */
import { html, useState } from '../base/html.js';
import { remove } from '../base/api.js';
import { go, link, useParams } from '../base/route.js';
import { Figures } from '../parts/figures.js';
import { Icon } from '../parts/icons.js';
import { Failure } from '../parts/job.js';
import { useModels } from '../parts/modeltools.js';
import { tried } from '../parts/notes.js';

/** @type {Record<string, string>} */
const TASKS = { generation: 'Generation', 'text-to-image': 'Text to image', 'style-transfer': 'Style transfer', translation: 'Translation', upscaling: 'Upscaling', 'embedding-to-image': 'Spaces', classification: 'Classifiers', lora: 'LoRAs' };

export default function Models() {
  const [params, change] = useParams();
  const { all, error, reload, loading } = useModels();
  const shown = all.filter((/** @type {any} */ each) => (!params.task || each.task === params.task) && (params.here !== 'yes' || each.ready)
    && (!params.q || `${each.id} ${each.title} ${each.description}`.toLowerCase().includes(params.q.toLowerCase())));
  shown.sort((/** @type {any} */ a, /** @type {any} */ b) => Number(!!use(b)) - Number(!!use(a)) || Number(b.ready) - Number(a.ready));
  const tasks = [...new Set(all.map((/** @type {any} */ each) => each.task))];
  return html`
    <h1>Models</h1>
    <p class="lead">Shipped, trained and added models, with their licenses. Figures of quality were measured on images that the model was not trained on; the best Frechet distance is 0.</p>
    <div class="row filters">
      <label class="inline">Search <input type="search" value=${params.q ?? ''} onInput=${(/** @type {any} */ e) => change({ q: e.target.value })} /></label>
      <label class="inline">Task <select value=${params.task ?? ''} onChange=${(/** @type {any} */ e) => change({ task: e.target.value })}><option value="">all</option>
        ${tasks.map((each) => html`<option key=${each} value=${each}>${TASKS[each] ?? each}</option>`)}</select></label>
      <label class="check"><input type="checkbox" checked=${params.here === 'yes'} onChange=${(/** @type {any} */ e) => change({ here: e.target.checked ? 'yes' : '' })} /> Installed ones only</label>
    </div>
    ${error && html`<${Failure} error=${error} />`}
    ${!loading && !error && !shown.length && html`<div class="empty"><h2>No model matches</h2><p>Change the filters, or <a href="#/train">train one</a>.</p></div>`}
    <div class="cards">${shown.map((/** @type {any} */ each) => html`<${Card} key=${each.id} model=${each} reload=${reload} />`)}</div>
  `;
}

/** Where a model is used in the Studio. @param {any} model */
function use(model) {
  const name = model.architecture.name;
  if (model.task === 'text-to-image') return link('generate/words', { model: model.id });
  if (name === 'cyclegan') return link('generate/glasses', { model: model.id });
  if (name === 'ddpm') return link('generate/denoise', { model: model.id });
  if (name === 'style-net') return link('style', { style: model.id });
  return /vae|gan/.test(name ?? '') ? link('generate/latent', { model: model.id }) : null;
}

/** @param {{model: any, reload: () => void}} props */
function Card({ model, reload }) {
  const [sure, setSure] = useState(false);
  const images = model.quality?.images;
  const isOwn = model.trained_by || model.added_by;
  const to = model.ready && use(model);
  return html`
    <article class="panel card">
      <div class="row spread"><h2>${model.title}</h2><span class=${`state ${model.ready ? 'succeeded' : ''}`}>${model.ready ? 'installed' : 'not installed'}</span></div>
      <p class="hint"><code>${model.id}</code> · ${TASKS[model.task] ?? model.task}</p>
      <p>${model.description}</p>
      <dl class="facts"><dt>License</dt><dd>${model.license}</dd>
        ${model.source.repository && html`<dt>Source</dt><dd>${model.source.repository}</dd>`}
        ${model.training?.images && html`<dt>Trained on</dt><dd>${model.training.images.toLocaleString()} images of ${String(model.training.data).slice(0, 24)}</dd>`}
        <${Figures} model=${model} />
        ${images && html`<dt>Measured on</dt><dd>${images.toLocaleString()} other images</dd>`}
      </dl>
      ${model.fetch_command && !model.ready && html`<p class="hint">To install it, run on a worker: <code>${model.fetch_command}</code></p>`}
      <div class="row">
        ${to && html`<a class="button" href=${to}><${Icon} name="spark" /> Use</a>`}
        ${model.trained_by && html`<button class="small plain" onClick=${() => go(`jobs/${model.trained_by}`)}>Its training</button>`}
        ${isOwn && html`<button class="small" onClick=${() => (sure ? tried(async () => (await remove(`/v1/models/${model.id}`), reload())) : setSure(true))}><${Icon} name="trash" /> ${sure ? 'Delete for good' : 'Delete'}</button>`}
      </div>
    </article>
  `;
}
