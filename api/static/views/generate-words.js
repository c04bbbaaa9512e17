/** Images of a prompt, a grid to pick from, and ways to continue from one: vary, inpaint, upscale, style. */
import { html, useEffect, useState } from '../base/html.js';
import { clean, submit } from '../base/api.js';
import { useJob } from '../base/follow.js';
import { download, isImage, outputPath, reuse, upload } from '../base/media.js';
import { go, useParams } from '../base/route.js';
import { Brush } from '../parts/brush.js';
import { Icon } from '../parts/icons.js';
import { Failure, JobState } from '../parts/job.js';
import { Media } from '../parts/media.js';
import { ModelSelect, newSeed } from '../parts/modeltools.js';
import { tried } from '../parts/notes.js';
import { CopyRequest } from '../parts/request.js';

const CHIPS = {
  who: ['a woman', 'a man'],
  face: ['smiling', 'frowning', 'surprised'],
  with: ['with glasses', 'with a red hat', 'with a blue hat', 'with a mustache', 'with long blond hair'],
};
const ANYTHING = ['a lighthouse at dusk', 'a bowl of oranges, oil painting', 'a fox in the snow', 'a street in the rain, watercolor'];
const SHARES = { 0.35: 'a little', 0.6: 'clearly', 0.85: 'a lot' };

/** @param {{models: any[]}} props */
export function Words({ models }) {
  const [params, change] = useParams();
  const model = models.find((each) => each.id === params.model) ?? models[0];
  const prompt = params.prompt ?? '';
  const [error, setError] = useState(/** @type {any} */ (null));
  const { job, error: lost } = useJob(params.job);
  const [picked, setPicked] = useState(-1);
  useEffect(() => setPicked(-1), [params.job]);
  const request = clean({ mode: 'text-to-image', model: model.id, prompt: prompt || 'a smiling woman with glasses', num_images_per_prompt: Number(params.n ?? 4), seed: params.seed ? Number(params.seed) : null });
  const run = async (/** @type {Record<string, any>} */ wanted) => {
    setError(null);
    try {
      change({ job: (await submit('/v1/generations', wanted)).id });
    } catch (problem) {
      setError(problem);
    }
  };
  const start = (/** @type {Event} */ event) => (event.preventDefault(), change({ prompt: request.prompt }), run(request));
  return html`
    <div class="split">
      <section class="panel" aria-label="Prompt"><form class="stack" onSubmit=${start}>
        <label>Prompt <textarea rows="3" placeholder=${request.prompt} value=${prompt} onInput=${(/** @type {any} */ e) => change({ prompt: e.target.value })}></textarea></label>
        <${Chips} model=${model} prompt=${prompt} onChange=${(/** @type {string} */ text) => change({ prompt: text })} />
        <${ModelSelect} models=${models} value=${model.id} onChange=${(/** @type {string} */ id) => change({ model: id })} />
        <div class="fields">
          <label>Images <select value=${params.n ?? '4'} onChange=${(/** @type {any} */ e) => change({ n: e.target.value })}>${[1, 2, 4, 8, 16].map((n) => html`<option key=${n} value=${n}>${n}</option>`)}</select></label>
          <label>Seed <input type="number" min="0" placeholder="random" value=${params.seed ?? ''} onInput=${(/** @type {any} */ e) => change({ seed: e.target.value })} /></label>
        </div>
        <div class="row"><button class="primary"><${Icon} name="spark" /> Generate</button>
          <button type="button" onClick=${() => (change({ seed: newSeed() }))}>New seed</button></div>
        <${CopyRequest} path="/v1/generations" params=${request} />
      </form></section>
      <section class="panel stage stack" aria-label="Images">
        ${error && html`<${Failure} error=${error} />`}
        ${!job && !error && !lost && html`<div class="empty"><h2>Your images appear here</h2><p>Choose some words, then press Generate. Pick one to continue from.</p></div>`}
        <${JobState} job=${job} error=${lost} onRetry=${(/** @type {any} */ next) => change({ job: next.id })}>
          <${Grid} job=${job} picked=${picked} pick=${setPicked} />
          ${picked >= 0 && job?.outputs[picked] && isImage(job.outputs[picked]) && html`<${Continue} key=${`${job.id}-${picked}`} job=${job} output=${job.outputs[picked]} prompt=${prompt || request.prompt} model=${model} run=${run} />`}
        <//>
      </section>
    </div>
  `;
}

/** Whether a prompt has these words, without their article: "a smiling man" has "a man", "a woman" has not. @param {string} prompt @param {string} words */
const says = (prompt, words) => new RegExp(`\\b${words.replace(/^(a|with) (a )?/, '')}\\b`).test(prompt);

/** Words to click together; a model of anything gets whole prompts. @param {{model: any, prompt: string, onChange: (text: string) => void}} props */
function Chips({ model, prompt, onChange }) {
  const knowsFaces = model.id.includes('avatars') || model.training?.data === 'avatars';
  if (!knowsFaces) return html`<div class="chips" role="group" aria-label="Example prompts">${ANYTHING.map((text) => html`<button type="button" key=${text} aria-pressed=${prompt === text ? 'true' : 'false'} onClick=${() => onChange(text)}>${text}</button>`)}</div>`;
  const toggle = (/** @type {string} */ group, /** @type {string} */ word) => {
    const groups = /** @type {Record<string, string[]>} */ (CHIPS);
    const has = (/** @type {string} */ g) => groups[g].filter((each) => says(prompt, each));
    const chosen = Object.fromEntries(Object.keys(groups).map((g) => [g, has(g)]));
    if (group === 'with') chosen.with = chosen.with.includes(word) ? chosen.with.filter((each) => each !== word) : [...chosen.with, word];
    else chosen[group] = chosen[group][0] === word ? [] : [word];
    const who = chosen.who[0] ?? 'a woman';
    const face = chosen.face[0] ? who.replace('a ', `a ${chosen.face[0]} `) : who;
    onChange([face, chosen.with.join(' and ').replaceAll(' and with', ' and')].filter(Boolean).join(' '));
  };
  return html`<div class="chips" role="group" aria-label="Words">${Object.entries(CHIPS).flatMap(([group, words]) =>
    words.map((word) => html`<button type="button" key=${word} aria-pressed=${says(prompt, word) ? 'true' : 'false'} onClick=${() => toggle(group, word)}>${word}</button>`))}</div>`;
}

/** @param {{job: any, picked: number, pick: (index: number) => void}} props */
export function Grid({ job, picked, pick }) {
  const images = (job?.outputs ?? []).filter(isImage);
  return html`<div class="results pick" role="group" aria-label="Images to pick from">${images.map(
    (/** @type {any} */ each) => html`<button type="button" class="tile" key=${each.index} aria-pressed=${each.index === picked ? 'true' : 'false'} onClick=${() => pick(each.index === picked ? -1 : each.index)}>
      <${Media} path=${outputPath(job, each)} alt=${`Image ${each.index + 1}`} /><span class="name">seed ${each.seed}</span></button>`,
  )}</div>`;
}

/** What can be made of the image that was picked. @param {{job: any, output: any, prompt: string, model: any, run: (request: any) => void}} props */
function Continue({ job, output, prompt, model, run }) {
  const path = outputPath(job, output);
  const [share, setShare] = useState('0.6');
  const [mask, setMask] = useState(/** @type {Blob | null} */ (null));
  const [words, setWords] = useState(prompt);
  const vary = () => tried(async () => run({ mode: 'image-to-image', model: model.id, prompt: words, image: await reuse(path), strength: Number(share), num_images_per_prompt: 4 }));
  const inpaint = () => tried(async () => mask && run({ mode: 'inpaint', model: model.id, prompt: words, image: await reuse(path), mask: await upload(mask), num_images_per_prompt: 4 }));
  const upscale = () => tried(async () => run({ mode: 'upscale', images: [await reuse(path)], scale: 2 }));
  const toStyle = () => tried(async () => go('style', { photo: await reuse(path) }));
  return html`
    <section class="continue stack" aria-label="Continue from this image">
      <h2>Continue from image ${output.index + 1}</h2>
      <label>Prompt <input value=${words} onInput=${(/** @type {any} */ e) => setWords(e.target.value)} /></label>
      <div class="row">
        <label class="inline">Change it <select value=${share} onChange=${(/** @type {any} */ e) => setShare(e.target.value)}>${Object.entries(SHARES).map(([n, title]) => html`<option key=${n} value=${n}>${title}</option>`)}</select></label>
        <button onClick=${vary}><${Icon} name="again" /> Vary</button>
        <button onClick=${upscale}><${Icon} name="grid" /> Upscale</button>
        <button onClick=${toStyle}><${Icon} name="brush" /> Send to Style</button>
        <button onClick=${() => tried(() => download(path, `atelier-${output.seed}`))}><${Icon} name="save" /> Download</button>
      </div>
      <div class="inpaint"><div><h3>Change a part</h3><p class="hint">Brush over what should be made anew, and say in the prompt what it shall be.</p>
        <${Brush} path=${path} onMask=${setMask} />
        <button class="primary" disabled=${!mask} onClick=${inpaint}><${Icon} name="brush" /> Inpaint</button></div></div>
    </section>
  `;
}
