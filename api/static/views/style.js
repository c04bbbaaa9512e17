/** Style: a photo, a style from thumbnails, and the painted photo beside it. */
import { html, useEffect, useRef, useState } from '../base/html.js';
import { clean, submit } from '../base/api.js';
import { ended, remember, useJob } from '../base/follow.js';
import { download, imagePath, outputPath, reuse, upload } from '../base/media.js';
import { useParams } from '../base/route.js';
import { Icon } from '../parts/icons.js';
import { Failure, JobState, Progress, duration, seconds } from '../parts/job.js';
import { BeforeAfter, PhotoInput, sample } from '../parts/media.js';
import { note, tried } from '../parts/notes.js';
import { CopyRequest } from '../parts/request.js';
import { Gallery } from './style-gallery.js';

const SIZES = [256, 512, 768, 1024, 2048];

/** The request that the parameters of the address describe. @param {Record<string, string>} p */
function requestOf(p) {
  const isFast = p.method !== 'gatys';
  const style = p.style ?? 'builtin:19';
  const share = Number(p.mix ?? 0.5);
  const both = [{ image: style, weight: 1 - share }, { image: p.second, weight: share }].map((each) => ({ ...each, weight: Number(each.weight.toFixed(2)) }));
  return clean({
    method: isFast ? 'fast' : 'gatys',
    content: p.photo ?? 'img_…',
    style: p.second ? both : style,
    size: Number(p.size ?? 512),
    strength: isFast && p.strength ? Number(p.strength) : null,
    num_steps: isFast ? null : Number(p.steps ?? 100),
    preserve_color: p.color,
  });
}

export default function Style() {
  const [params, change] = useParams();
  const [error, setError] = useState(/** @type {any} */ (null));
  const [busy, setBusy] = useState(false);
  const { job, error: lost } = useJob(params.job);
  const latest = useRef(0);
  const stage = useRef(/** @type {HTMLElement | null} */ (null));
  const isFast = params.method !== 'gatys';

  const paint = async (/** @type {Record<string, any>} */ changed) => {
    const turn = ++latest.current;
    let next = { ...params, ...changed };
    change(changed);
    setError(null);
    if (!next.style) return;
    if (matchMedia('(max-width: 980px)').matches) stage.current?.scrollIntoView(); // it is below the styles there
    setBusy(true);
    try {
      if (!next.photo) {
        next = { ...next, photo: await upload(await sample('chelsea')) };
        note('Painted on a sample photo: drop your own to use it instead.');
      }
      const made = await submit('/v1/style-transfers', requestOf(next), { wait: isFast ? 8 : undefined });
      remember(made);
      if (turn === latest.current) change({ photo: next.photo, job: made.id });
    } catch (problem) {
      if (turn === latest.current) setError(problem);
    }
    if (turn === latest.current) setBusy(false);
  };
  const canPaint = params.style && ![params.style, params.second].some((each) => each?.startsWith('builtin')); // slowly: with images
  const choose = (/** @type {Record<string, any>} */ changed) => {
    const gatys = 'method' in changed ? changed.method === 'gatys' : !isFast;
    return gatys ? change(changed) : paint(changed);
  };

  return html`
    <h1>Style</h1>
    <p class="lead">Paint a photo in a built-in style, one of your own images, or a style invented on the map.</p>
    <div class="split">
      <div>
        <section class="panel" aria-label="Photo">
          <${PhotoInput} value=${params.photo} onChange=${(/** @type {string} */ photo) => choose({ photo })} />
        </section>
        <section class="panel" aria-label="Style">
          <${Gallery} params=${params} isFast=${isFast} choose=${choose} />
        </section>
        <section class="panel stack" aria-label="Options"><${Options} params=${params} choose=${choose} /></section>
      </div>
      <section class="panel stage stack" aria-label="Result" ref=${stage}>
        ${!isFast && html`<button class="primary" disabled=${busy || !canPaint} onClick=${() => paint({})}>Paint</button>`}
        ${error ? html`<${Failure} error=${error} />` : ''}
        <${Result} job=${job} error=${lost} busy=${busy} photo=${params.photo} change=${change} />
        <${CopyRequest} path="/v1/style-transfers" params=${requestOf(params)} />
      </section>
    </div>
  `;
}

/** @param {{job: any, error: any, busy: boolean, photo?: string, change: (c: any) => void}} props */
function Result({ job, error, busy, photo, change }) {
  const [done, setDone] = useState(/** @type {any} */ (null)); // stays until the next has ended
  useEffect(() => {
    if (job?.status === 'succeeded') setDone(job);
  }, [job]);
  const shown = job?.status === 'succeeded' ? job : done;
  if (!job && !error && !busy && !shown) {
    return html`<div class="empty"><h2>Your painted photo appears here</h2><p>Choose a style: it paints at once${photo ? '' : ', on the sample cat until you drop a photo'}.</p></div>`;
  }
  if (shown && (job?.status === 'succeeded' || (!error && !(job && ended(job)) && isQuick(job)))) {
    return html`${busy || !ended(job ?? shown) ? html`<progress class="over" max="1" aria-label="Progress"></progress>` : ''}<${Painted} job=${shown} change=${change} />`;
  }
  const waiting = busy && !job ? { status: 'running' } : job;
  if (waiting && !waiting.id) return html`<${Progress} job=${waiting} />`;
  return html`<${JobState} job=${job} error=${error} onRetry=${(/** @type {any} */ next) => change({ job: next.id })} />`;
}

/** Whether a job is so short that its progress would only flicker. @param {any} job */
const isQuick = (job) => !job || job.params?.method === 'fast';

/** @param {{job: any, change: (c: any) => void}} props */
function Painted({ job, change }) {
  const output = job.outputs[0];
  const path = outputPath(job, output);
  const name = `atelier-${job.id.slice(4, 12)}`;
  return html`
    <${JobState} job=${job}><span></span><//>
    <${BeforeAfter} before=${imagePath(job.params.content)} after=${path} label="Painted photo" width=${output.width} height=${output.height} />
    <div class="row spread">
      <p class="hint">${output.width} × ${output.height} · painted in ${duration(seconds(job))}</p>
      <div class="row">
        <button onClick=${() => tried(async () => change({ photo: await reuse(path), job: '' }))}><${Icon} name="brush" /> Paint over it</button>
        <button class="primary" onClick=${() => tried(() => download(path, name))}><${Icon} name="save" /> Download</button>
      </div>
    </div>
  `;
}

/** @param {{params: Record<string, string>, choose: (c: any) => void}} props */
function Options({ params, choose }) {
  const isFast = params.method !== 'gatys';
  const set = (/** @type {string} */ name) => (/** @type {any} */ e) => choose({ [name]: e.target.value });
  return html`
    <div class="fields">
      <label>Method
        <select value=${params.method ?? 'fast'} onChange=${set('method')}>
          <option value="fast">Fast: one pass</option><option value="gatys">Optimized: slower, truer</option></select></label>
      <label>Size
        <select value=${params.size ?? '512'} onChange=${set('size')}>${SIZES.map((n) => html`<option key=${n} value=${n}>${n} px</option>`)}</select></label>
      <label>Colors
        <select value=${params.color ?? ''} onChange=${set('color')}>
          <option value="">of the style</option><option value="luminance">of the photo</option><option value="histogram">matched to the photo</option></select></label>
      ${!isFast && html`<label>Steps<input type="number" min="10" max="2000" value=${params.steps ?? 100} onChange=${set('steps')} /></label>`}
    </div>
    ${isFast && html`<label>Strength: ${Math.round(100 * Number(params.strength ?? 1))} %
      <input type="range" min="0" max="1" step="0.05" value=${params.strength ?? 1} onChange=${set('strength')} /></label>`}
  `;
}
