/** A request as text to copy: curl, Python or JSON. */
import { html, useState } from '../base/html.js';
import { copyText } from '../base/media.js';
import { Icon } from './icons.js';
import { note, tried } from './notes.js';

/** @type {Record<string, string>} */
const METHODS = {
  '/v1/style-transfers': 'style_transfer',
  '/v1/generations': 'generate',
  '/v1/trainings': 'train',
  '/v1/collections': 'collect',
  '/v1/pc-steerings': 'steer',
  '/v1/cluster-samplings': 'sample',
  '/v1/pc-animations': 'animate',
};

/** A value as Python writes it. @param {any} value @returns {string} */
export function python(value) {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  if (typeof value === 'object') return `{${Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${python(each)}`).join(', ')}}`;
  return JSON.stringify(value);
}

/** @param {string} path @param {Record<string, any>} params @returns {Record<string, string>} */
export function texts(path, params) {
  const json = JSON.stringify(params, null, 2);
  const named = Object.entries(params).map(([name, value]) => (/^(with|from|in)$/.test(name) ? `**{"${name}": ${python(value)}}` : `${name}=${python(value)}`));
  const call = METHODS[path] ? `atelier.${METHODS[path]}(` : `atelier.start("${path}", dict(`;
  return {
    curl: `curl ${location.origin}${path} \\\n  -H 'Authorization: Bearer atl_…' \\\n  -H 'Content-Type: application/json' \\\n  -d '${json.replaceAll("'", "'\\''")}'`,
    Python: `from atelier_client import Atelier\n\natelier = Atelier("${location.origin}")\njob = ${call}\n    ${named.join(',\n    ')},\n${METHODS[path] ? ')' : '))'}.wait()\njob.outputs[0].save("image.png")`,
    JSON: json,
  };
}

/** @param {{path: string, params: Record<string, any>}} props */
export function CopyRequest({ path, params }) {
  const [shown, setShown] = useState('curl');
  const all = texts(path, params);
  const copy = () => tried(async () => (await copyText(all[shown]), note(`Copied as ${shown}`)));
  return html`
    <details class="request">
      <summary>Copy this request</summary>
      <div class="row">
        <div class="tabs" role="group" aria-label="Language">
          ${Object.keys(all).map((name) => html`<button type="button" key=${name} aria-pressed=${name === shown ? 'true' : 'false'} onClick=${() => setShown(name)}>${name}</button>`)}
        </div>
        <button type="button" onClick=${copy}><${Icon} name="copy" /> Copy</button>
      </div>
      <pre tabindex="0" aria-label=${`The request as ${shown}`}>${all[shown]}</pre>
    </details>
  `;
}
