/** How a diffusion model denoises one image: a film strip of noise and of what it predicts. */
import { html, useState } from '../base/html.js';
import { clean, submit } from '../base/api.js';
import { useJob } from '../base/follow.js';
import { isImage, outputPath } from '../base/media.js';
import { useParams } from '../base/route.js';
import { Icon } from '../parts/icons.js';
import { Failure, JobState } from '../parts/job.js';
import { Media } from '../parts/media.js';
import { ModelSelect, newSeed } from '../parts/modeltools.js';
import { CopyRequest } from '../parts/request.js';

/** @param {{models: any[]}} props */
export function Denoise({ models }) {
  const [params, change] = useParams();
  const model = models.find((each) => each.id === params.model) ?? models.find((each) => each.id === 'ddpm-avatars') ?? models[0];
  const [error, setError] = useState(/** @type {any} */ (null));
  const { job, error: lost } = useJob(params.job);
  const request = clean({ mode: 'denoise-steps', model: model.id, num_inference_steps: Number(params.steps ?? 20), shown: Number(params.shown ?? 8), seed: Number(params.seed ?? 2) });
  const run = (/** @type {number} */ seed) => (setError(null), submit('/v1/generations', { ...request, seed }).then((made) => change({ job: made.id, seed }), setError));
  const set = (/** @type {string} */ name) => (/** @type {any} */ e) => change({ [name]: e.target.value });
  return html`
    <p class="lead">A diffusion model begins with noise and removes a part of it in each step. The strip shows what it predicts the image to be.</p>
    <div class="split">
      <section class="panel stack" aria-label="Denoising">
        <${ModelSelect} models=${models} value=${model.id} onChange=${(/** @type {string} */ id) => change({ model: id, job: '' })} />
        <div class="fields">
          <label>Steps <input type="number" min="2" max="200" value=${request.num_inference_steps} onInput=${set('steps')} /></label>
          <label>Shown <input type="number" min="2" max="16" value=${request.shown} onInput=${set('shown')} /></label>
          <label>Seed <input type="number" min="0" value=${request.seed} onInput=${set('seed')} /></label>
        </div>
        <div class="row"><button class="primary" onClick=${() => run(request.seed)}><${Icon} name="play" /> Denoise</button><button onClick=${() => run(newSeed())}>Another seed</button></div>
        <${CopyRequest} path="/v1/generations" params=${request} />
      </section>
      <section class="panel stage stack" aria-label="Film strip">
        ${error && html`<${Failure} error=${error} />`}
        ${!job && !lost && html`<div class="empty"><h2>The film strip appears here</h2><p>Press Denoise: it takes a few seconds on a CPU.</p></div>`}
        <${JobState} job=${job} error=${lost} onRetry=${(/** @type {any} */ next) => change({ job: next.id })}><${Strip} job=${job} /><//>
      </section>
    </div>
  `;
}

/** @param {{job: any}} props */
function Strip({ job }) {
  const frames = (job?.outputs ?? []).filter(isImage);
  const grid = (job?.outputs ?? []).find((/** @type {any} */ each) => each.role === 'grid');
  const [at, setAt] = useState(frames.length - 1);
  const shown = frames[Math.min(at, frames.length - 1)];
  return html`
    ${shown && html`<div class="decoded pixelated"><${Media} path=${outputPath(job, shown)} alt=${`What is predicted at step ${at + 1} of ${frames.length}`} /></div>`}
    <label>Step ${at + 1} of ${frames.length}<input type="range" min="0" max=${frames.length - 1} value=${at} onInput=${(/** @type {any} */ e) => setAt(Number(e.target.value))} /></label>
    <div class="strip pixelated" role="group" aria-label="Film strip" tabindex="0">${frames.map((/** @type {any} */ each, /** @type {number} */ k) => html`<button type="button" class="tile" key=${each.index} aria-pressed=${k === at ? 'true' : 'false'} aria-label=${`Step ${k + 1}`} onClick=${() => setAt(k)}><${Media} path=${outputPath(job, each)} alt="" /></button>`)}</div>
    ${grid && html`<details><summary>Noise and predictions, with their steps</summary><${Media} lazy path=${outputPath(job, grid)} alt="Inputs of each shown step above the images that are predicted" /></details>`}
  `;
}
