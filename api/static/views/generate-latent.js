/** The latent space of a VAE or GAN: samples, sliders, and the manifold of two dimensions to walk on. */
import { html, useEffect, useMemo, useRef, useState } from '../base/html.js';
import { submit } from '../base/api.js';
import { finished, useJob } from '../base/follow.js';
import { isImage, outputPath } from '../base/media.js';
import { useParams } from '../base/route.js';
import { Failure, JobState } from '../parts/job.js';
import { Media } from '../parts/media.js';
import { ModelSelect, newSeed } from '../parts/modeltools.js';
import { CopyRequest } from '../parts/request.js';

const SLIDERS = 16;
const EXTENT = 3;
const MANIFOLD = 11;

/** @param {{models: any[]}} props */
export function Latent({ models }) {
  const [params, change] = useParams();
  const model = models.find((each) => each.id === params.model) ?? models.find((each) => each.id === 'vae-smileys') ?? models[0];
  const dim = model.architecture.latent_dim ?? model.dim ?? 2;
  const z = useMemo(() => fitted(params.z ? params.z.split(',').map(Number) : [], dim), [params.z, dim]);
  const { path, error, busy } = useDecoded(model.id, z);
  const move = (/** @type {number[]} */ next) => change({ z: next.map((n) => n.toFixed(2)).join(',') });
  const random = () => move(z.map(() => gaussian()));
  return html`
    <p class="lead">Each image is a point of the model's latent space. Move the sliders, or walk over the manifold of a model with two dimensions.</p>
    <div class="split latent">
      <section class="panel seen" aria-label="Decoded image">
        ${error && html`<${Failure} error=${error} />`}
        <div class="decoded pixelated" aria-busy=${busy ? 'true' : 'false'}>${path && html`<${Media} path=${path} alt="Image of this latent code" />`}</div>
      </section>
      <section class="panel stack codes" aria-label="Latent code">
        <${ModelSelect} models=${models} value=${model.id} onChange=${(/** @type {string} */ id) => change({ model: id, z: '', job: '' })} />
        <div class="row"><button class="primary" onClick=${random}>Random image</button><button onClick=${() => move(z.map(() => 0))}>Mean</button></div>
        <fieldset class="sliders"><legend>Latent code, in standard deviations${dim > SLIDERS ? `: the first ${SLIDERS} of ${dim}` : ''}</legend>
          ${z.slice(0, SLIDERS).map((value, k) => html`<label key=${k}><span class="row spread"><span>z${k + 1}</span><output>${value.toFixed(1)}</output></span>
            <input type="range" min=${-EXTENT} max=${EXTENT} step="0.1" value=${value} onInput=${(/** @type {any} */ e) => move(z.map((old, i) => (i === k ? Number(e.target.value) : old)))} /></label>`)}
        </fieldset>
      </section>
      <section class="panel stack" aria-label=${dim === 2 ? 'Manifold' : 'Samples'}>
        ${dim === 2 ? html`<${Manifold} key=${model.id} model=${model} z=${z} move=${move} />` : html`<${Samples} key=${model.id} model=${model} params=${params} change=${change} />`}
        <${CopyRequest} path="/v1/generations" params=${decoding(model.id, z)} />
      </section>
    </div>
  `;
}

/** @param {number[]} z @param {number} dim */
const fitted = (z, dim) => Array.from({ length: dim }, (_, k) => z[k] || 0);
const gaussian = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
/** @param {string} model @param {number[]} z */
const decoding = (model, z) => ({ mode: 'arithmetic', model, terms: [{ sign: '+', z }], seed: 0 });

/** The image of a latent code; the newest one wins. @param {string} model @param {number[]} z */
function useDecoded(model, z) {
  const [state, setState] = useState({ path: '', error: /** @type {any} */ (null), busy: false });
  const wanted = useRef(/** @type {any} */ (null));
  const running = useRef(false);
  useEffect(() => {
    wanted.current = decoding(model, z);
    if (running.current) return;
    running.current = true;
    (async () => {
      while (wanted.current) {
        const request = wanted.current;
        wanted.current = null;
        setState((old) => ({ ...old, busy: true }));
        try {
          const job = await finished('/v1/generations', request);
          setState({ path: outputPath(job, job.outputs[0]), error: null, busy: false });
        } catch (error) {
          setState((old) => ({ ...old, error, busy: false }));
        }
      }
      running.current = false;
    })();
  }, [model, z.join()]);
  return state;
}

/** @param {{model: any, z: number[], move: (z: number[]) => void}} props */
function Manifold({ model, z, move }) {
  const [id, setId] = useState('');
  const [error, setError] = useState(/** @type {any} */ (null));
  const { job } = useJob(id);
  useEffect(() => {
    submit('/v1/generations', { mode: 'traverse', model: model.id, steps: MANIFOLD, extent: EXTENT, seed: 0 }, { wait: 20 }).then((made) => setId(made.id), setError);
  }, [model.id]);
  const images = (job?.outputs ?? []).filter(isImage);
  const at = (/** @type {number} */ k) => quantile(0.5 + (0.5 - tail(EXTENT)) * ((2 * k) / (MANIFOLD - 1) - 1));
  const near = (/** @type {number} */ value) => Array.from({ length: MANIFOLD }, (_, k) => k).reduce((best, k) => (Math.abs(at(k) - value) < Math.abs(at(best) - value) ? k : best), 0);
  const [column, row] = [near(z[0]), MANIFOLD - 1 - near(z[1])]; // the second coordinate increases upwards
  const inside = (/** @type {number} */ k) => Math.min(MANIFOLD - 1, Math.max(0, k));
  const go = (/** @type {number} */ c, /** @type {number} */ r) => move([at(inside(c)), at(MANIFOLD - 1 - inside(r))]);
  const keys = (/** @type {KeyboardEvent} */ event) => {
    const step = /** @type {Record<string, number[]>} */ ({ ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] })[event.key];
    if (step) (event.preventDefault(), go(column + step[0], row + step[1]));
  };
  return html`<h2>Manifold</h2>${error && html`<${Failure} error=${error} />`}
    <${JobState} job=${job}><div class="manifold pixelated" role="application" tabindex="0" aria-label="Manifold: arrow keys walk over it" onKeyDown=${keys}>
      ${images.map((/** @type {any} */ each, /** @type {number} */ k) => html`<span key=${each.index} class=${k === row * MANIFOLD + column ? 'here' : ''} onClick=${() => go(k % MANIFOLD, Math.floor(k / MANIFOLD))}><${Media} path=${outputPath(job, each)} alt="" /></span>`)}
    </div><//>`;
}

/** The share of a normal distribution beyond `x`. @param {number} x */
function tail(x) {
  const t = 1 / (1 + 0.2316419 * x);
  return (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
}

/** The value below which a share of a normal distribution lies, by bisection. @param {number} share */
function quantile(share) {
  let [low, high] = [-6, 6];
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    const below = middle < 0 ? tail(-middle) : 1 - tail(middle);
    if (below < share) low = middle;
    else high = middle;
  }
  return low;
}

/** @param {{model: any, params: Record<string, string>, change: (c: any) => void}} props */
function Samples({ model, params, change }) {
  const { job, error } = useJob(params.job);
  const [problem, setProblem] = useState(/** @type {any} */ (null));
  const make = () => submit('/v1/generations', { model: model.id, n: 16, seed: newSeed() }).then((made) => change({ job: made.id }), setProblem);
  return html`<div class="row spread"><h2>Samples</h2><button class="small" onClick=${make}>16 samples</button></div>
    ${problem && html`<${Failure} error=${problem} />`}
    <${JobState} job=${job} error=${error}><div class="gallery pixelated">${(job?.outputs ?? []).filter(isImage).map((/** @type {any} */ each) => html`<span class="tile" key=${each.index}><${Media} path=${outputPath(job, each)} alt=${`Sample of seed ${each.seed}`} /></span>`)}</div><//>`;
}
