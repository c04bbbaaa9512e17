/** Jobs: the queue and the history, and one job in detail. */
import { classes, html, useEffect, useRef, useState, useStore } from '../base/html.js';
import { get, remove } from '../base/api.js';
import { ended, remember, useJob } from '../base/follow.js';
import { download, isImage, outputPath } from '../base/media.js';
import { go, link, route, useParams } from '../base/route.js';
import { Icon } from '../parts/icons.js';
import { Actions, Failure, JobState, KINDS, ago, duration, seconds, stateOf } from '../parts/job.js';
import { Media } from '../parts/media.js';
import { tried } from '../parts/notes.js';
import { CopyRequest } from '../parts/request.js';

const STATUSES = ['queued', 'running', 'succeeded', 'failed', 'canceled', 'expired'];
const PAGE = 50;
const REFRESH_MS = 2500;

export default function Jobs() {
  const { rest } = useStore(route);
  return rest[0] ? html`<${Detail} id=${rest[0]} />` : html`<${List} />`;
}

/** The pages that were loaded; the first is loaded again while one of its jobs has not ended. @param {Record<string, string>} filter */
function usePages(filter) {
  const [state, setState] = useState({ jobs: /** @type {any[]} */ ([]), next: /** @type {string | null} */ (null), error: /** @type {any} */ (null), loading: true });
  const shown = useRef(0);
  const load = async (/** @type {string | null} */ cursor, /** @type {AbortSignal} */ signal) => {
    try {
      const page = await get('/v1/jobs', { ...filter, limit: PAGE, cursor }, signal);
      setState((old) => {
        const fresh = new Set(page.jobs.map((/** @type {any} */ each) => each.id));
        const others = old.jobs.filter((each) => !fresh.has(each.id));
        const isLater = cursor || shown.current > PAGE;
        const jobs = cursor ? [...others, ...page.jobs] : shown.current > PAGE ? [...page.jobs, ...others] : page.jobs;
        shown.current = jobs.length;
        return { jobs, next: cursor || !isLater ? page.next_cursor : old.next, error: null, loading: false };
      });
    } catch (error) {
      if (!signal.aborted) setState((old) => ({ ...old, error, loading: false }));
    }
  };
  const control = useRef(new AbortController());
  useEffect(() => {
    shown.current = 0;
    control.current = new AbortController();
    const { signal } = control.current;
    setState({ jobs: [], next: null, error: null, loading: true });
    load(null, signal);
    const timer = setInterval(() => document.visibilityState === 'visible' && load(null, signal), REFRESH_MS);
    return () => (clearInterval(timer), control.current.abort());
  }, [filter.kind, filter.status]);
  return { ...state, more: () => load(state.next, control.current.signal), again: () => load(null, control.current.signal) };
}

function List() {
  const [params, change] = useParams();
  const { jobs, next, error, loading, more, again } = usePages({ kind: params.kind, status: params.status });
  const [busy, setBusy] = useState(false);
  return html`
    <h1>Jobs</h1>
    <p class="lead">What waits, runs and has ended. A job keeps its request, so it can be run again with the same result.</p>
    <div class="row filters">
      <label class="row">Kind <select value=${params.kind ?? ''} onChange=${(/** @type {any} */ e) => change({ kind: e.target.value })}>
        <option value="">all</option>${Object.entries(KINDS).map(([id, title]) => html`<option key=${id} value=${id}>${title}</option>`)}</select></label>
      <div class="chips" role="group" aria-label="State">
        <button aria-pressed=${params.status ? 'false' : 'true'} onClick=${() => change({ status: '' })}>all</button>
        ${STATUSES.map((each) => html`<button key=${each} aria-pressed=${params.status === each ? 'true' : 'false'} onClick=${() => change({ status: each })}>${each}</button>`)}
      </div>
    </div>
    ${error && html`<${Failure} error=${error} />`}
    ${!loading && !error && !jobs.length && html`<div class="empty"><h2>No jobs here</h2><p><a href="#/style">Paint a photo</a> to make the first.</p></div>`}
    ${jobs.length > 0 && html`
      <table class="jobs"><caption class="hidden">Jobs, newest first</caption>
        <thead><tr><th scope="col"><span class="hidden">Result</span></th><th scope="col">Job</th><th scope="col">State</th><th scope="col">Made</th><th scope="col"><span class="hidden">Actions</span></th></tr></thead>
        <tbody>${jobs.map((job) => html`<${Row} key=${job.id} job=${job} again=${again} />`)}</tbody>
      </table>
      <div class="row spread"><p class="hint">${jobs.length} shown</p>
        ${next && html`<button disabled=${busy} onClick=${() => (setBusy(true), more().finally(() => setBusy(false)))}>${busy ? 'Loading…' : 'Show more'}</button>`}</div>`}
  `;
}

/** A style in a few words: an id of an image says nothing. @param {any} style */
const styleOf = (style) => (typeof style !== 'string' ? '' : style.startsWith('img_') ? 'own image' : style.slice(0, 24));

/** What a job makes, in a few words. @param {any} job */
function summary(job) {
  const p = job.params;
  return p.prompt ?? p.name ?? [p.mode !== 'transfer' && p.mode, p.model ?? p.recipe ?? p.method, styleOf(p.style)].filter(Boolean).join(' · ');
}

/** @param {{job: any, again: () => void}} props */
function Row({ job, again }) {
  const output = job.outputs.find((/** @type {any} */ each) => each.content_type.startsWith('image/'));
  return html`
    <tr>
      <td>${output ? html`<${Media} lazy class="thumb" path=${outputPath(job, output)} alt="" />` : html`<span class="media waiting thumb still"></span>`}</td>
      <td class="what"><a href=${link(`jobs/${job.id}`)}>${KINDS[job.kind] ?? job.kind}</a><br /><span class="hint">${summary(job)}</span></td>
      <td class="state-cell"><span class=${classes('state', job.status)}>${stateOf(job)}</span>
        ${job.status === 'running' && html`<progress value=${job.progress?.fraction ?? null} max="1" aria-label=${`Progress of ${job.id}`}></progress>`}
        ${job.error && html`<div class="why" title=${job.error.message}>${job.error.message}</div>`}</td>
      <td class="when hint"><time datetime=${job.created_at} title=${new Date(job.created_at).toLocaleString()}>${ago(job.created_at)}</time></td>
      <td class="act">${ended(job) && job.status === 'succeeded' ? '' : html`<${Actions} job=${job} onRetry=${again} />`}</td>
    </tr>
  `;
}

/** @type {Record<string, string>} */
const PATHS = { 'style-transfer': '/v1/style-transfers', generation: '/v1/generations', training: '/v1/trainings', collection: '/v1/collections', 'pc-steering': '/v1/pc-steerings', 'cluster-sampling': '/v1/cluster-samplings', 'pc-animation': '/v1/pc-animations' };

/** @param {{id: string}} props */
function Detail({ id }) {
  const { job, error } = useJob(id);
  const retried = (/** @type {any} */ next) => (remember(next), go(`jobs/${next.id}`));
  return html`
    <p><a href="#/jobs">← All jobs</a></p>
    <h1>${job ? (KINDS[job.kind] ?? job.kind) : 'Job'}</h1>
    <p class="hint"><code>${id}</code></p>
    <div class="split turned">
      <section class="panel stack" aria-label="Results">
        ${error && html`<${Failure} error=${error} />`}
        <${JobState} job=${job} onRetry=${retried}><${Outputs} job=${job} /><//>
      </section>
      ${job && html`<section class="panel stack" aria-label="Facts">
        <dl class="facts">
          <dt>State</dt><dd><span class=${classes('state', job.status)}>${stateOf(job)}</span></dd>
          <dt>Made</dt><dd>${new Date(job.created_at).toLocaleString()}</dd>
          ${job.started_at && html`<dt>Ran for</dt><dd>${duration(seconds(job))}, ${job.attempt === 1 ? 'in one attempt' : `in ${job.attempt} attempts`}</dd>`}
          ${job.metrics.device && html`<dt>Device</dt><dd>${job.metrics.device}</dd>`}
          ${job.retry_of && html`<dt>Repeats</dt><dd><a href=${link(`jobs/${job.retry_of}`)}>${job.retry_of}</a></dd>`}
        </dl>
        ${ended(job) && html`<div class="row">
          ${job.status === 'succeeded' && html`<${Actions} job=${job} onRetry=${retried} />`}
          <button onClick=${() => tried(async () => (await remove(`/v1/jobs/${id}`), go('jobs')))}><${Icon} name="trash" /> Delete</button></div>`}
        ${PATHS[job.kind] && html`<${CopyRequest} path=${PATHS[job.kind]} params=${job.params} />`}
        <details><summary>Figures</summary><pre tabindex="0" aria-label="Figures">${JSON.stringify(job.metrics, null, 2)}</pre></details>
      </section>`}
    </div>
  `;
}

/** @param {{job: any}} props */
function Outputs({ job }) {
  const outputs = job.outputs.slice(0, 60);
  return html`
    ${!outputs.length && html`<p class="hint">This job makes no images.</p>`}
    <div class="results">${outputs.map(
      (/** @type {any} */ each) => html`<figure class=${classes('result', !isImage(each) && 'whole')} key=${each.index}>
        ${each.content_type === 'video/mp4' ? html`<p class="hint">A film of ${each.width} × ${each.height}</p>` : html`<${Media} lazy path=${outputPath(job, each)} alt=${each.name ?? `Output ${each.index}, ${each.width} × ${each.height}`} />`}
        <figcaption class="row spread"><span class="hint">${each.name ?? (isImage(each) ? each.index + 1 : each.role)}</span>
          <button class="small plain" aria-label=${`Download output ${each.index}`} onClick=${() => tried(() => download(outputPath(job, each), `atelier-${job.id.slice(4, 12)}-${each.index}`))}><${Icon} name="save" /></button></figcaption>
      </figure>`,
    )}</div>
    ${job.outputs.length > 60 && html`<p class="hint">${job.outputs.length - 60} more are in the zip file of the API: <code>GET /v1/jobs/${job.id}/outputs</code></p>`}
  `;
}
