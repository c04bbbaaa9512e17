/** Generate: from words, from a latent space, step by step; and glasses on and off. */
import { html, useStore } from '../base/html.js';
import { link, route } from '../base/route.js';
import { Failure } from '../parts/job.js';
import { useModels } from '../parts/modeltools.js';
import { Tabs } from '../parts/tabs.js';
import { Denoise } from './generate-denoise.js';
import { Glasses } from './generate-glasses.js';
import { Latent } from './generate-latent.js';
import { Words } from './generate-words.js';

const WAYS = [
  { id: 'words', title: 'From words', View: Words, mode: 'text-to-image' },
  { id: 'latent', title: 'Latent space', View: Latent, mode: 'latent' },
  { id: 'denoise', title: 'Denoising', View: Denoise, mode: 'denoise-steps' },
  { id: 'glasses', title: 'Glasses', View: Glasses, mode: 'translate' },
];

export default function Generate() {
  const { rest } = useStore(route);
  const way = WAYS.find((each) => each.id === rest[0]) ?? WAYS[0];
  const { able, error, loading } = useModels();
  const models = able(way.mode);
  return html`
    <h1>Generate</h1>
    <${Tabs} label="Ways to generate" current=${way.id} tabs=${Object.fromEntries(WAYS.map((each) => [each.id, each.title]))} to=${(/** @type {string} */ id) => link(`generate/${id}`)} />
    ${error && html`<${Failure} error=${error} />`}
    ${models.length ? html`<${way.View} key=${way.id} models=${models} />` : !loading && !error && html`<div class="empty"><h2>No model for this is installed</h2><p>Start a worker, or look at the <a href="#/models">models</a>.</p></div>`}
  `;
}
