/** Style: a photo, a style from thumbnails, and the painted photo beside it. */
import { classes, html, useEffect, useLoad, useRef, useState } from '../base/html.js';
import { clean, get, remove, submit } from '../base/api.js';
import { ended, remember, useJob } from '../base/follow.js';
import { download, imagePath, outputPath, reuse, upload } from '../base/media.js';
import { useParams } from '../base/route.js';
import { Icon } from '../parts/icons.js';
import { Failure, JobState, Progress, duration, seconds } from '../parts/job.js';
import { BeforeAfter, Media, PhotoInput, own, sample } from '../parts/media.js';
import { note, tried } from '../parts/notes.js';
import { CopyRequest } from '../parts/request.js';

const OWN = 'atelier.styles'; // ids of style images that were uploaded in this browser
const SIZES = [256, 512, 768, 1024, 2048];

/** The request that the parameters of the address describe. @param {Record<string, string>} p */
function requestOf(p) {
  const isFast = p.method !== 'gatys';
  return clean({
    method: isFast ? 'fast' : 'gatys',
    content: p.photo ?? 'img_…',
    style: p.style ?? 'builtin:19',
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
          <${Gallery} chosen=${params.style} isFast=${isFast} choose=${(/** @type {string} */ style) => choose({ style })} />
        </section>
        <section class="panel stack" aria-label="Options"><${Options} params=${params} choose=${choose} /></section>
      </div>
      <section class="panel stage stack" aria-label="Result" ref=${stage}>
        ${!isFast && html`<button class="primary" disabled=${busy || !params.style} onClick=${() => paint({})}>Paint</button>`}
        ${error ? html`<${Failure} error=${error} />` : ''}
        <${Result} job=${job} error=${lost} busy=${busy} change=${change} />
        <${CopyRequest} path="/v1/style-transfers" params=${requestOf(params)} />
      </section>
    </div>
  `;
}

/** @param {{job: any, error: any, busy: boolean, change: (c: any) => void}} props */
function Result({ job, error, busy, change }) {
  const [done, setDone] = useState(/** @type {any} */ (null)); // stays until the next has ended
  useEffect(() => {
    if (job?.status === 'succeeded') setDone(job);
  }, [job]);
  const shown = job?.status === 'succeeded' ? job : done;
  if (!job && !error && !busy && !shown) {
    return html`<div class="empty"><h2>Your painted photo appears here</h2><p>Choose a style on the left: it paints at once, on the sample cat until you drop a photo.</p></div>`;
  }
  if (shown && (job?.status === 'succeeded' || (!error && !(job && ended(job)) && isQuick(job)))) {
    return html`${busy || !ended(job ?? shown) ? html`<${Progress} job=${{ status: 'running' }} />` : ''}<${Painted} job=${shown} change=${change} />`;
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

/** @returns {string[]} */
const ownStyles = () => JSON.parse(localStorage.getItem(OWN) ?? '[]');

/** @param {{chosen?: string, isFast: boolean, choose: (style: string) => void}} props */
function Gallery({ chosen, isFast, choose }) {
  const [tab, setTab] = useState(chosen?.startsWith('sty_') ? 'invented' : chosen && !chosen.startsWith('builtin') ? 'own' : 'built-in');
  const { value: styles, error, reload } = useLoad((signal) => get('/v1/styles', { limit: 200 }, signal), []);
  const { value: models } = useLoad(async (signal) => (tab === 'own' ? get('/v1/models', {}, signal) : null), [tab]);
  const [mine, setMine] = useState(ownStyles);
  const keep = (/** @type {string[]} */ ids) => (localStorage.setItem(OWN, JSON.stringify(ids)), setMine(ids));
  const trained = (models?.models ?? []).filter((/** @type {any} */ each) => each.architecture.name === 'style-net');
  const tabs = { 'built-in': 'Built-in', own: 'Your own', invented: 'Invented' };
  const tile = (/** @type {string} */ id, /** @type {string} */ name, /** @type {any} */ image) => html`
    <button type="button" class="tile" key=${id} aria-pressed=${id === chosen ? 'true' : 'false'} title=${name} onClick=${() => choose(id)}>${image}<span class="name">${name}</span></button>`;
  return html`
    <div class="row spread"><h2>Style</h2>
      <div class="tabs" role="group" aria-label="Kind of style">${Object.entries(tabs).map(
        ([id, title]) => html`<button type="button" key=${id} aria-pressed=${id === tab ? 'true' : 'false'} onClick=${() => setTab(id)}>${title}</button>`,
      )}</div></div>
    ${error && html`<${Failure} error=${error} />`}
    <div class=${classes('styles', 'gallery')} role="group" aria-label=${`Styles: ${tabs[/** @type {'own'} */ (tab)]}`}>
      ${tab === 'built-in' && isFast && (styles?.styles ?? []).map((/** @type {any} */ each) => tile(each.id, each.name.replaceAll('-', ' '), html`<img src=${own(`styles/${each.number}.webp`)} alt="" width="144" height="144" loading="lazy" />`))}
      ${tab === 'own' && mine.map((id, i) => tile(id, `Image ${i + 1}`, html`<${Media} path=${imagePath(id)} alt="" />`))}
      ${tab === 'own' && isFast && trained.map((/** @type {any} */ each) => tile(each.id, each.title, html`<span class="wordy">trained network</span>`))}
      ${tab === 'invented' && (styles?.kept ?? []).map((/** @type {any} */ each) => tile(each.id, each.name, each.thumbnail_url ? html`<${Media} path=${`/v1/styles/${each.id}/thumbnail`} alt="" />` : html`<span class="wordy">kept by its numbers</span>`))}
    </div>
    ${tab === 'built-in' && !isFast && html`<p class="hint">Optimized painting takes an image as its style: choose one of your own, or an invented style.</p>`}
    ${tab === 'own' && html`<p class="hint">Drop a painting or a texture here. It stays in this list in this browser.</p>
      <${PhotoInput} label="Style image" samples="styles" onChange=${(/** @type {string} */ id) => (keep([id, ...mine.filter((each) => each !== id)].slice(0, 24)), choose(id))} />`}
    ${tab === 'invented' && !styles?.kept?.length && html`<p class="hint">None yet. Find a style on the <a href="#/map">style map</a> and keep it.</p>`}
    ${tab === 'invented' && chosen?.startsWith('sty_') && html`<button class="small" onClick=${() => tried(async () => (await remove(`/v1/styles/${chosen}`), reload()))}><${Icon} name="trash" /> Delete the chosen style</button>`}
  `;
}
