/** The styles to choose from: built-in, your own and invented ones; and two of them mixed. */
import { classes, html, useLoad, useState } from '../base/html.js';
import { get, remove } from '../base/api.js';
import { imagePath } from '../base/media.js';
import { Icon } from '../parts/icons.js';
import { Failure } from '../parts/job.js';
import { Media, PhotoInput, own } from '../parts/media.js';
import { tried } from '../parts/notes.js';

const OWN = 'atelier.styles'; // ids of style images that were uploaded in this browser
const MOST = 24;
const BUILT_IN = 26;
const TABS = { 'built-in': 'Built-in', own: 'Your own', invented: 'Invented' };

/** @returns {string[]} */
const ownStyles = () => JSON.parse(localStorage.getItem(OWN) ?? '[]');

/** @typedef {{id: string, name: string, image: any}} Choice */

/** The thumbnail of a built-in style, a part of the one image of all. @param {number} number */
const painted = (number) => html`<img src=${own('styles.webp')} alt="" width="144" height="144"
  ref=${(/** @type {HTMLElement | null} */ each) => each?.style.setProperty('object-position', `0 ${(100 * number) / (BUILT_IN - 1)}%`)} />`;

/** Built-in styles whose names are on their way: their place is taken, and their thumbnails load meanwhile. */
const coming = () => Array.from({ length: BUILT_IN }, (_, number) => html`<span class="tile" key=${number}>${painted(number)}<span class="name">…</span></span>`);

/** @param {string | undefined} id @returns {keyof typeof TABS} */
const tabOf = (id) => (id?.startsWith('sty_') ? 'invented' : id && !id.startsWith('builtin') ? 'own' : 'built-in');

/** @param {any} styles @param {string[]} mine @param {any[]} trained @param {boolean} isFast @returns {Record<string, Choice[]>} */
function choicesOf(styles, mine, trained, isFast) {
  const words = (/** @type {string} */ text) => html`<span class="wordy">${text}</span>`;
  const builtin = (/** @type {any} */ each) => ({ id: each.id, name: each.name.replaceAll('-', ' '), image: painted(each.number) });
  const kept = (/** @type {any} */ each) => ({ id: each.id, name: each.name, image: each.thumbnail_url ? html`<${Media} path=${`/v1/styles/${each.id}/thumbnail`} alt="" />` : words('kept by its numbers') });
  return {
    'built-in': isFast ? (styles?.styles ?? []).map(builtin) : [],
    own: [
      ...mine.map((id, i) => ({ id, name: `Image ${i + 1}`, image: html`<${Media} path=${imagePath(id)} alt="" />` })),
      ...(isFast ? trained : []).map((/** @type {any} */ each) => ({ id: each.id, name: each.title, image: words('trained network') })),
    ],
    invented: (styles?.kept ?? []).map(kept),
  };
}

/** @param {{params: Record<string, string>, isFast: boolean, choose: (changed: Record<string, any>) => void}} props */
export function Gallery({ params, isFast, choose }) {
  const { style: chosen, second } = params;
  const [tab, setTab] = useState(tabOf(chosen));
  const [mixing, setMixing] = useState(false); // the next style that is chosen is the second one
  const { value: styles, error, reload } = useLoad((signal) => get('/v1/styles', { limit: 200 }, signal), []);
  const needsModels = tab === 'own';
  const { value: models } = useLoad(async (signal) => (needsModels ? get('/v1/models', {}, signal) : null), [needsModels]);
  const [mine, setMine] = useState(ownStyles);
  const keep = (/** @type {string[]} */ ids) => (localStorage.setItem(OWN, JSON.stringify(ids)), setMine(ids));
  const trained = (models?.models ?? []).filter((/** @type {any} */ each) => each.architecture.name === 'style-net');
  const all = choicesOf(styles, mine, trained, isFast);
  const pick = (/** @type {string} */ id) => {
    setMixing(false);
    if (!mixing) choose({ style: id, ...(id === second && { second: '', mix: '' }) });
    else if (id !== chosen) choose({ second: id });
  };
  const erase = () => tried(async () => (await remove(`/v1/styles/${chosen}`), choose({ style: '', second: '' }), reload()));
  return html`
    <div class="row spread"><h2>Style</h2>
      <div class="tabs" role="group" aria-label="Kind of style">${Object.entries(TABS).map(
        ([id, title]) => html`<button type="button" key=${id} aria-pressed=${id === tab ? 'true' : 'false'} onClick=${() => setTab(/** @type {'own'} */ (id))}>${title}</button>`,
      )}</div></div>
    ${error && html`<${Failure} error=${error} />`}
    <div class="styles gallery" role="group" aria-label=${`Styles: ${TABS[tab]}`} aria-busy=${styles ? 'false' : 'true'}>
      ${tab === 'built-in' && isFast && !styles && !error && coming()}
      ${all[tab].map(({ id, name, image }) => html`<button type="button" class=${classes('tile', id === second && 'second')} key=${id} title=${name}
        aria-pressed=${id === chosen || id === second ? 'true' : 'false'} onClick=${() => pick(id)}>${image}<span class="name">${name}</span></button>`)}
    </div>
    ${tab === 'built-in' && !isFast && html`<p class="hint">Optimized painting takes an image as its style: choose one of your own, or an invented style.</p>`}
    ${tab === 'own' && html`<p class="hint">Drop a painting or a texture here. It stays in this list in this browser.</p>
      <${PhotoInput} label="Style image" samples="styles" onChange=${(/** @type {string} */ id) => (keep([id, ...mine.filter((each) => each !== id)].slice(0, MOST)), pick(id))} />`}
    ${tab === 'invented' && styles && !styles.kept.length && html`<p class="hint">None yet. Find a style on the <a href="#/map">style map</a> and keep it.</p>`}
    ${tab === 'invented' && chosen?.startsWith('sty_') && html`<button class="small" onClick=${erase}><${Icon} name="trash" /> Delete the chosen style</button>`}
    ${chosen && html`<${Mix} params=${params} choices=${Object.values(all).flat()} mixing=${mixing} setMixing=${setMixing} choose=${choose} />`}
  `;
}

/** Two styles and how much of each. @param {{params: Record<string, string>, choices: Choice[], mixing: boolean, setMixing: (on: boolean) => void, choose: (changed: Record<string, any>) => void}} props */
function Mix({ params, choices, mixing, setMixing, choose }) {
  const [share, setShare] = useState(/** @type {number | null} */ (null)); // while the slider moves
  const name = (/** @type {string} */ id) => choices.find((each) => each.id === id)?.name ?? 'another style';
  if (!params.second) {
    return html`<div class="row mix"><button type="button" class="small" aria-pressed=${mixing ? 'true' : 'false'} onClick=${() => setMixing(!mixing)}>Mix with another style</button>
      ${mixing && html`<span class="hint" role="status">Choose the second style.</span>`}</div>`;
  }
  const shown = share ?? Number(params.mix ?? 0.5);
  const change = (/** @type {any} */ e) => (setShare(null), choose({ mix: e.target.value }));
  return html`<div class="mix"><label for="mix" class="row spread"><span>${name(params.style)} ${Math.round(100 * (1 - shown))} %</span><span>${Math.round(100 * shown)} % ${name(params.second)}</span></label>
    <input id="mix" type="range" min="0.05" max="0.95" step="0.05" value=${shown} aria-label="Share of the second style" onInput=${(/** @type {any} */ e) => setShare(Number(e.target.value))} onChange=${change} />
    <button type="button" class="small" onClick=${() => choose({ second: '', mix: '' })}>Only ${name(params.style)}</button></div>`;
}
