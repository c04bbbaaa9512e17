/** Glasses on and off: an image of one domain translated into the other, by a CycleGAN. */
import { html, useState } from '../base/html.js';
import { submit } from '../base/api.js';
import { finished, useJob } from '../base/follow.js';
import { imagePath, isImage, outputPath, reuse } from '../base/media.js';
import { useParams } from '../base/route.js';
import { Icon } from '../parts/icons.js';
import { Failure, JobState } from '../parts/job.js';
import { BeforeAfter, PhotoInput } from '../parts/media.js';
import { ModelSelect, newSeed } from '../parts/modeltools.js';
import { tried } from '../parts/notes.js';
import { CopyRequest } from '../parts/request.js';

const PROMPTS = ['a smiling woman with long brown hair', 'a man with short black hair', 'a surprised woman with red hair', 'a smiling man'];

/** @param {{models: any[]}} props */
export function Glasses({ models }) {
  const [params, change] = useParams();
  const model = models.find((each) => each.id === params.model) ?? models[0];
  const [without, having] = model.architecture.kinds ?? ['a', 'b'];
  const [error, setError] = useState(/** @type {any} */ (null));
  const { job, error: lost } = useJob(params.job);
  const [busy, setBusy] = useState(false);
  const run = async (/** @type {string} */ direction, image = params.face) => {
    setError(null);
    try {
      change({ job: (await submit('/v1/generations', { mode: 'translate', model: model.id, images: [image], direction })).id });
    } catch (problem) {
      setError(problem);
    }
  };
  const face = () => tried(async () => {
    setBusy(true);
    const seed = newSeed();
    const drawn = { mode: 'text-to-image', model: 'stable-diffusion-avatars', prompt: PROMPTS[seed % PROMPTS.length], upscale: 1 };
    const made = await finished('/v1/generations', { ...drawn, seed });
    change({ face: await reuse(outputPath(made, made.outputs[0])), job: '' });
  }).finally(() => setBusy(false));
  const output = job?.outputs.find(isImage);
  return html`
    <p class="lead">A CycleGAN translates images of one set into images of the other: “${without}” into “${having}”, or back.</p>
    <div class="split">
      <section class="panel stack" aria-label="Face">
        <${ModelSelect} models=${models} value=${model.id} onChange=${(/** @type {string} */ id) => change({ model: id, job: '' })} />
        <${PhotoInput} label="Face" samples="none" value=${params.face} onChange=${(/** @type {string} */ id) => change({ face: id, job: '' })} />
        <button disabled=${busy} onClick=${face}>${busy ? 'Drawing…' : 'A drawn face'}</button>
        <div class="row">
          <button class="primary" disabled=${!params.face} onClick=${() => run('a-to-b')}><${Icon} name="check" /> ${having}</button>
          <button class="primary" disabled=${!params.face} onClick=${() => run('b-to-a')}><${Icon} name="stop" /> ${without}</button>
        </div>
        <p class="hint">The model knows the drawn faces of the set “${model.training.data ?? 'avatars'}”; other photos come out as it sees them.</p>
        <${CopyRequest} path="/v1/generations" params=${{ mode: 'translate', model: model.id, images: [params.face ?? 'img_…'], direction: 'a-to-b' }} />
      </section>
      <section class="panel stage stack" aria-label="Result">
        ${error && html`<${Failure} error=${error} />`}
        ${!job && !lost && html`<div class="empty"><h2>Before and after appear here</h2><p>Drop a face, or draw one.</p></div>`}
        <${JobState} job=${job} error=${lost} onRetry=${(/** @type {any} */ next) => change({ job: next.id })}>
          ${output && html`<${BeforeAfter} before=${imagePath(job.params.images[0])} after=${outputPath(job, output)} label="Face" width=${output.width} height=${output.height} />
            <button onClick=${() => tried(async () => change({ face: await reuse(outputPath(job, output)), job: '' }))}>Continue from this face</button>`}
        <//>
      </section>
    </div>
  `;
}
