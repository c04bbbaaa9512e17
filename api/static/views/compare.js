/** Compare: one photo or prompt through several techniques, side by side, with times and figures. */
import { html, useEffect, useState, useStore } from '../base/html.js';
import { submit } from '../base/api.js';
import { ended, remember, useJob } from '../base/follow.js';
import { imagePath, outputPath } from '../base/media.js';
import { link, route, useParams } from '../base/route.js';
import { Figures } from '../parts/figures.js';
import { Icon } from '../parts/icons.js';
import { JobState, duration } from '../parts/job.js';
import { Media, PhotoInput } from '../parts/media.js';
import { useModels } from '../parts/modeltools.js';
import { note } from '../parts/notes.js';
import { Tabs } from '../parts/tabs.js';

/** @typedef {{id: string, title: string, path?: string, request: Record<string, any>, model?: any, isTiny?: boolean}} Technique */

const WAYS = { photo: 'A photo in a style', upscale: 'A photo enlarged', words: 'A prompt', sets: 'Samples of one set' };

export default function Compare() {
  const { rest } = useStore(route);
  const [params, change] = useParams();
  const way = rest[0] && rest[0] in WAYS ? rest[0] : 'photo';
  const { able, all, loading } = useModels();
  const techniques = techniquesOf(way, params, able, all);
  const off = new Set((params.off ?? '').split(',').filter(Boolean));
  const chosen = techniques.filter((each) => !off.has(each.id));
  const needsPhoto = way === 'photo' || way === 'upscale';
  const isReady = chosen.length > 0 && (!needsPhoto || params.photo) && (way !== 'photo' || params.style);
  const toggle = (/** @type {string} */ id) => (off.has(id) ? off.delete(id) : off.add(id), change({ off: [...off].join(',') }));
  const run = async () => {
    const jobs = [];
    for (const each of chosen) {
      try {
        const job = await submit(each.path ?? '/v1/generations', each.request);
        remember(job);
        jobs.push(`${each.id}:${job.id}`);
      } catch (error) {
        note(`${each.title}: ${/** @type {Error} */ (error).message}`, { bad: true });
      }
    }
    change({ jobs: jobs.join(',') });
  };
  return html`
    <h1>Compare techniques</h1>
    <${Tabs} label="What to compare" current=${way} tabs=${WAYS} to=${(/** @type {string} */ id) => link(`compare/${id}`, { photo: params.photo })} />
    <section class="panel stack" aria-label="What goes in">
      <div class="inputs">
        ${needsPhoto && html`<div><h2>Photo</h2><${PhotoInput} value=${params.photo} onChange=${(/** @type {string} */ photo) => change({ photo })} /></div>`}
        ${way === 'photo' && html`<div><h2>Style image</h2><${PhotoInput} label="Style image" samples="styles" value=${params.style} onChange=${(/** @type {string} */ style) => change({ style })} /></div>`}
        ${way === 'words' && html`<label>Prompt <textarea value=${params.prompt ?? 'a smiling woman with a red hat'} onInput=${(/** @type {any} */ e) => change({ prompt: e.target.value })}></textarea></label>`}
        ${way === 'sets' && html`<label>Set <select value=${params.set ?? 'digits'} onChange=${(/** @type {any} */ e) => change({ set: e.target.value, off: '' })}>${setsOf(able).map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>`}
        <fieldset><legend>Techniques</legend>${techniques.map((each) => html`<label class="check" key=${each.id}><input type="checkbox" checked=${!off.has(each.id)} onChange=${() => toggle(each.id)} /> ${each.title}</label>`)}
          ${!loading && !techniques.length && html`<p class="hint">No model for this is installed.</p>`}</fieldset>
      </div>
      <button class="primary" disabled=${!isReady} onClick=${run}><${Icon} name="compare" /> Run ${chosen.length} side by side</button>
    </section>
    ${params.jobs && html`<${Results} jobs=${params.jobs} techniques=${techniques} before=${needsPhoto ? params.photo : undefined} />`}
  `;
}

/** The sets that several models were trained on. @param {(mode: string) => any[]} able */
function setsOf(able) {
  const data = able('sample').map((each) => each.training?.data).filter(Boolean);
  return [...new Set(data)].filter((each) => data.filter((other) => other === each).length > 1);
}

/** @param {string} way @param {Record<string, string>} p @param {(mode: string) => any[]} able @param {any[]} all @returns {Technique[]} */
function techniquesOf(way, p, able, all) {
  if (way === 'upscale') return able('upscale').map((each) => ({ id: each.id, title: each.title, request: { mode: 'upscale', model: each.id, images: [p.photo], scale: 2 }, model: each }));
  if (way === 'words') return able('text-to-image').flatMap((each) => [20, 50].map((steps) => ({ id: `${each.id}-${steps}`, title: `${each.title}, ${steps} steps`, request: { mode: 'text-to-image', model: each.id, prompt: p.prompt ?? 'a smiling woman with a red hat', num_inference_steps: steps, seed: 1 }, model: each })));
  if (way === 'sets') return able('sample').filter((each) => each.training?.data === (p.set ?? 'digits')).map((each) => ({ id: each.id, title: `${each.title} (${each.id})`, request: { model: each.id, n: 9, seed: 1 }, model: each, isTiny: true }));
  const common = { content: p.photo, style: p.style, size: 256 };
  const path = '/v1/style-transfers';
  const slow = all.some((each) => each.ready && each.id.startsWith('vgg'));
  return [
    { id: 'fast', title: 'Fast, one pass', path, request: { ...common, method: 'fast' } },
    { id: 'fast-luminance', title: 'Fast, colors of the photo', path, request: { ...common, method: 'fast', preserve_color: 'luminance' } },
    ...(slow ? [
      { id: 'gatys', title: 'Optimized, Gram matrices', path, request: { ...common, method: 'gatys', num_steps: 60 } },
      { id: 'gatys-swd', title: 'Optimized, sliced Wasserstein', path, request: { ...common, method: 'gatys', num_steps: 60, style_losses: { 'sliced-wasserstein': 1 } } },
    ] : []),
  ];
}

/** @param {{jobs: string, techniques: Technique[], before?: string}} props */
function Results({ jobs, techniques, before }) {
  const [times, setTimes] = useState(/** @type {Record<string, number>} */ ({}));
  const runs = jobs.split(',').map((each) => each.split(':'));
  const fastest = Math.min(...Object.values(times));
  return html`<section class="side-by-side" aria-label="Side by side">
    ${before && html`<figure class="panel"><figcaption><h2>Before</h2></figcaption><${Media} path=${imagePath(before)} alt="The photo before" /></figure>`}
    ${runs.map(([id, job]) => html`<${Run} key=${job} id=${job} technique=${techniques.find((each) => each.id === id)} fallback=${id} fastest=${fastest} onTime=${(/** @type {number} */ ms) => setTimes((old) => ({ ...old, [job]: ms }))} />`)}
  </section>`;
}

/** @param {{id: string, technique?: Technique, fallback: string, fastest: number, onTime: (ms: number) => void}} props */
function Run({ id, technique, fallback, fastest, onTime }) {
  const { job, error } = useJob(id);
  const ms = job && ended(job) ? job.metrics.run_ms : undefined;
  useEffect(() => {
    if (ms) onTime(ms);
  }, [ms]);
  const output = job?.outputs.find((/** @type {any} */ each) => each.role === 'grid') ?? job?.outputs[0];
  const losses = job?.metrics.losses ?? job?.metrics.final_losses;
  return html`<figure class="panel">
    <figcaption><h2>${technique?.title ?? fallback}</h2></figcaption>
    <${JobState} job=${job} error=${error}>
      ${output && html`<div class=${technique?.isTiny ? 'pixelated' : ''}><${Media} path=${outputPath(job, output)} alt=${`Result of ${technique?.title ?? fallback}`} /></div>`}
      <dl class="facts">
        ${ms !== undefined && html`<dt>Time</dt><dd>${duration(ms / 1000)}${ms > fastest * 1.5 ? `, ${(ms / fastest).toFixed(1)} × the fastest` : ''}</dd>`}
        ${output && html`<dt>Size</dt><dd>${output.width} × ${output.height}</dd>`}
        ${losses && html`<dt>Losses</dt><dd>${Object.entries(losses).map(([name, value]) => `${name.replaceAll('_', ' ')} ${Number(value).toPrecision(3)}`).join(', ')}</dd>`}
        ${technique?.model && html`<${Figures} model=${technique.model} />`}
      </dl>
      <a href=${link(`jobs/${id}`)}>The job</a>
    <//>
  </figure>`;
}
