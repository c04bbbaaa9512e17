/** Train: data and a recipe, losses and samples as they come, and the model at once. */
import { html, useEffect, useState } from '../base/html.js';
import { clean, get, submit } from '../base/api.js';
import { ended, useJob } from '../base/follow.js';
import { outputPath } from '../base/media.js';
import { link, useParams } from '../base/route.js';
import { Chart, lossesOf } from '../parts/chart.js';
import { DataInput } from '../parts/data.js';
import { Icon } from '../parts/icons.js';
import { Actions, Failure, JobState, Progress } from '../parts/job.js';
import { Media, PhotoInput } from '../parts/media.js';
import { CopyRequest } from '../parts/request.js';

const SETS = { digits: 'Handwritten digits, 16 px', smileys: 'Smileys, 64 px', avatars: 'Drawn faces, 64 px', flowers: 'Flowers, 128 px', 'fashion-mnist': 'Fashion-MNIST, 28 px' };

/** @typedef {{title: string, hint: string, sets: string[], steps: number, use: string}} Recipe */
/** @type {Record<string, Recipe>} */
const RECIPES = {
  vae: { title: 'VAE', hint: 'A latent space to walk in; trains in a minute on digits.', sets: ['digits', 'smileys', 'avatars', 'flowers', 'fashion-mnist'], steps: 2000, use: 'generate/latent' },
  gan: { title: 'GAN', hint: 'Sharper gray images, less stable.', sets: ['digits', 'fashion-mnist'], steps: 4000, use: 'generate/latent' },
  dcgan: { title: 'DCGAN', hint: 'Color images of 64 px, with an encoder.', sets: ['avatars', 'smileys'], steps: 3000, use: 'generate/latent' },
  ddpm: { title: 'Diffusion model', hint: 'Denoises noise step by step.', sets: ['digits', 'avatars', 'smileys', 'flowers', 'fashion-mnist'], steps: 4000, use: 'generate/denoise' },
  cyclegan: { title: 'CycleGAN', hint: 'Learns to put something on and take it off.', sets: ['avatars'], steps: 2000, use: 'generate/glasses' },
  style: { title: 'Network of one style', hint: 'Paints any photo in one pass, from one painting.', sets: [], steps: 800, use: 'style' },
};

export default function Train() {
  const [params, change] = useParams();
  const recipe = params.recipe && RECIPES[params.recipe] ? params.recipe : 'vae';
  const facts = RECIPES[recipe];
  const [error, setError] = useState(/** @type {any} */ (null));
  const sets = Object.fromEntries(Object.entries(SETS).filter(([id]) => facts.sets.includes(id)));
  const data = params.data?.startsWith('zip_') || (params.data && params.data in sets) ? params.data : facts.sets[0];
  const request = clean({
    recipe,
    data: recipe === 'style' ? null : data,
    style: recipe === 'style' ? (params.painting ?? 'img_…') : null,
    attribute: recipe === 'cyclegan' && data === 'avatars' ? (params.attribute ?? 'glasses') : null,
    num_steps: Number(params.steps ?? facts.steps),
    sample_every: Math.max(1, Math.round(Number(params.steps ?? facts.steps) / 20)),
    learning_rate: params.rate ? Number(params.rate) : null,
    title: params.title,
    seed: params.seed ? Number(params.seed) : null,
  });
  const start = (/** @type {Event} */ event) => (event.preventDefault(), setError(null), submit('/v1/trainings', request).then((made) => change({ job: made.id }), setError));
  const set = (/** @type {string} */ name) => (/** @type {any} */ e) => change({ [name]: e.target.value });
  return html`
    <h1>Train</h1>
    <p class="lead">Train a model of your own, watch it learn, and use it the moment it is good enough.</p>
    <div class="split">
      <section class="panel" aria-label="Training"><form class="stack" onSubmit=${start}>
        <fieldset><legend>Recipe</legend><div class="recipes">${Object.entries(RECIPES).map(([id, each]) => html`<label class="check card-check" key=${id}>
          <input type="radio" name="recipe" value=${id} checked=${id === recipe} onChange=${set('recipe')} /><span><b>${each.title}</b><br /><span class="hint">${each.hint}</span></span></label>`)}</div></fieldset>
        ${recipe === 'style' ? html`<${PhotoInput} label="Painting" samples="styles" value=${params.painting} onChange=${(/** @type {string} */ painting) => change({ painting })} />` : html`<${DataInput} sets=${sets} value=${data} onChange=${(/** @type {string} */ id) => change({ data: id })} />`}
        <div class="fields">
          <label>Steps <input type="number" min="1" max="1000000" value=${params.steps ?? facts.steps} onInput=${set('steps')} /></label>
          ${recipe === 'cyclegan' && html`<label>Attribute <input value=${params.attribute ?? 'glasses'} onInput=${set('attribute')} /></label>`}
          <label>Learning rate <input inputmode="decimal" placeholder="of the recipe" value=${params.rate ?? ''} onInput=${set('rate')} /></label>
          <label>Title <input maxlength="100" placeholder="of the recipe" value=${params.title ?? ''} onInput=${set('title')} /></label>
        </div>
        <button class="primary" disabled=${recipe === 'style' && !params.painting}><${Icon} name="play" /> Train</button>
        <${CopyRequest} path="/v1/trainings" params=${request} />
      </form></section>
      <section class="panel stage stack" aria-label="Training now">
        ${error && html`<${Failure} error=${error} />`}
        ${params.job ? html`<${Watch} key=${params.job} id=${params.job} change=${change} />` : html`<div class="empty"><h2>The curve and samples appear here</h2><p>A VAE of digits is a good first one: it has learned after some hundred steps.</p></div>`}
      </section>
    </div>
  `;
}

/** @typedef {{step: number, losses: Record<string, number>}} Point */

/** The losses from the first step on: those that the service has stored, and those that have come since. @param {any} job @returns {Point[]} */
function useLosses(job) {
  const [points, setPoints] = useState(/** @type {Point[]} */ ([]));
  const { step, message } = job?.progress ?? {};
  useEffect(() => {
    if (!job?.id) return;
    const control = new AbortController();
    const stored = (/** @type {{points: Point[]}} */ { points: known }) => setPoints((old) => [...known.map(spaced), ...old.filter((each) => each.step > (known.at(-1)?.step ?? 0))]);
    get(`/v1/jobs/${job.id}/losses`, {}, control.signal).then(stored, () => undefined); // an earlier release has none
    return () => control.abort();
  }, [job?.id, ended(job)]);
  useEffect(() => {
    const losses = lossesOf(message);
    if (Object.keys(losses).length) setPoints((old) => thinned([...old.filter((each) => each.step < step), { step, losses }]));
  }, [step, message]);
  return points;
}

/** @param {{id: string, change: (c: any) => void}} props */
function Watch({ id, change }) {
  const { job, error } = useJob(id);
  const points = useLosses(job);
  const step = job?.progress?.step;
  const done = job?.status === 'succeeded';
  const curve = points.length > 1 && html`<div><h2>Losses</h2><${Chart} points=${points} /></div>`;
  if (!job || error || (ended(job) && !done)) return html`<${JobState} job=${job} error=${error} onRetry=${(/** @type {any} */ next) => change({ job: next.id })} />${curve}`;
  const grid = job.outputs.find((/** @type {any} */ each) => each.role === 'grid') ?? job.outputs[0];
  const plot = job.outputs.find((/** @type {any} */ each) => each.role === 'plot');
  const use = RECIPES[job.params.recipe]?.use;
  return html`
    ${!done && html`<${Progress} job=${job} /><${Actions} job=${job} />`}
    ${done && html`<div class="row spread"><p role="status"><b>The model is ready.</b> ${job.metrics.steps} steps · <code>${job.metrics.model}</code></p>
      ${use && html`<a class="button" href=${link(use, use === 'style' ? { style: job.metrics.model } : { model: job.metrics.model })}><${Icon} name="spark" /> Use this model</a>`}</div>`}
    <div class="watch">${points.length > 0 && html`<div><h2>Losses</h2><${Chart} points=${points} /></div>`}
    ${done && !points.length && plot && html`<div><h2>Losses</h2><${Media} path=${outputPath(job, plot)} alt="Losses by step" /></div>`}
    ${(done ? grid : job.progress?.preview_url) && html`<div><h2>Samples</h2><div class="pixelated samples-now"><${Media} path=${done ? outputPath(job, grid) : `${job.progress.preview_url}?${job.previews ?? 0}`} alt=${done ? 'Samples of the model' : `Samples at step ${step}`} /></div></div>`}</div>
  `;
}

/** A point whose losses have names in words, as those of the messages. @param {Point} point @returns {Point} */
const spaced = ({ step, losses }) => ({ step, losses: Object.fromEntries(Object.entries(losses).map(([name, value]) => [name.replaceAll('_', ' '), value])) });

/** At most 400 points: every other one of too many. @template T @param {T[]} points */
const thinned = (points) => (points.length > 400 ? points.filter((_, i) => i % 2 === 0 || i === points.length - 1) : points);
