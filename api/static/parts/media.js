/** Images: one of the API, a place to drop a photo, and the slider between before and after. */
import { classes, html, useEffect, useRef, useState } from '../base/html.js';
import { blobOf, imagePath, upload, useMedia } from '../base/media.js';
import { note } from './notes.js';
import { Icon } from './icons.js';

/** The address of a file of the Studio. @param {string} name */
export const own = (name) => new URL(`../${name}`, import.meta.url).href;

/**
 * An image of the API; a lazy one is loaded when it comes near.
 * @param {{path?: string | null, alt: string, class?: string, lazy?: boolean, onLoad?: () => void}} props
 */
export function Media({ path, alt, class: name, lazy, onLoad }) {
  const [near, setNear] = useState(!lazy);
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (near || !place.current) return;
    const observer = new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && setNear(true), { rootMargin: '300px' });
    observer.observe(place.current);
    return () => observer.disconnect();
  }, [near]);
  const { src, error } = useMedia(near ? path : null);
  if (error) return html`<span class=${classes('media missing', name)} role="img" aria-label=${`${alt}: ${error.message}`}>not available</span>`;
  if (!src) return html`<span ref=${place} class=${classes('media waiting', name)} role="img" aria-label=${`${alt || 'Image'}, loading`}></span>`;
  return html`<img class=${classes('media', name)} src=${src} alt=${alt} onLoad=${onLoad} draggable=${false} />`;
}

/** @type {Record<string, {file: string, title: string}[]>} */
const SAMPLES = {
  photos: [
    { file: 'chelsea', title: 'Cat' },
    { file: 'coffee', title: 'Coffee' },
    { file: 'astronaut', title: 'Astronaut' },
  ],
  styles: [{ file: 'strokes', title: 'Brush strokes' }],
};

/**
 * Chooses a photo: dropped, pasted, picked from a file, or one of the samples.
 * @param {{value?: string, onChange: (id: string) => void, label?: string, samples?: 'photos' | 'styles' | 'none'}} props
 */
export function PhotoInput({ value, onChange, label = 'Photo', samples = 'photos' }) {
  const [busy, setBusy] = useState(false);
  const [over, setOver] = useState(false);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const take = async (/** @type {Blob | undefined | null} */ blob) => {
    if (!blob) return;
    setBusy(true);
    try {
      onChange(await upload(blob));
    } catch (error) {
      note(/** @type {Error} */ (error).message, { bad: true });
    }
    setBusy(false);
  };
  usePaste(take);
  const drop = (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer?.files[0]);
  };
  return html`
    <div class=${classes('drop', over && 'over', value && 'full')} onDrop=${drop} onDragLeave=${() => setOver(false)}
      onDragOver=${(/** @type {Event} */ e) => (e.preventDefault(), setOver(true))}>
      ${value && html`<${Media} path=${imagePath(value)} alt=${`${label}, as chosen`} />`}
      <button type="button" class="drop-button" onClick=${() => input.current?.click()} disabled=${busy}>
        <${Icon} name="upload" /> ${busy ? 'Uploading…' : value ? 'Another' : html`<span>Drop ${/^[aeiou]/i.test(label) ? 'an' : 'a'} ${label.toLowerCase()} here, or <u>choose a file</u></span>`}
      </button>
      <input ref=${input} type="file" accept="image/*" class="hidden" aria-label=${`${label}: file`} tabindex="-1"
        onChange=${(/** @type {any} */ e) => (take(e.target.files[0]), (e.target.value = ''))} />
    </div>
    ${samples in SAMPLES && html`<div class="samples" role="group" aria-label=${`Samples: ${label}`}><span>or try</span>
      ${SAMPLES[samples].map(
        (each) => html`<button type="button" key=${each.file} title=${each.title} onClick=${async () => take(await sample(each.file))}>
          <img src=${own(`photos/${each.file}-small.webp`)} alt=${`${each.title}, a sample`} height="44" /></button>`,
      )}</div>`}
  `;
}

/** A photo that comes with the Studio. @param {string} name */
export const sample = (name) => blobOf(own(`photos/${name}.webp`));

/** Takes images that are pasted anywhere in the view. @param {(blob: Blob) => void} take */
function usePaste(take) {
  useEffect(() => {
    const paste = (/** @type {ClipboardEvent} */ event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith('image/'));
      if (file) take(file);
    };
    addEventListener('paste', paste);
    return () => removeEventListener('paste', paste);
  });
}

/**
 * Two images with a slider between them; the arrow keys move it.
 * @param {{before: string, after: string, label: string, width: number, height: number}} props
 */
export function BeforeAfter({ before, after, label, width, height }) {
  const [share, setShare] = useState(50);
  const fit = (/** @type {HTMLElement | null} */ box) => {
    box?.style.setProperty('aspect-ratio', `${width} / ${height}`);
    box?.style.setProperty('width', `min(100%, ${Math.round((70 * width) / height)}vh)`);
  };
  return html`
    <div class="before-after" ref=${fit}>
      <${Media} path=${after} alt=${`${label}: after`} />
      <div class="before" ref=${(/** @type {HTMLElement | null} */ each) => each?.style.setProperty('clip-path', `inset(0 ${100 - share}% 0 0)`)}>
        <${Media} path=${before} alt=${`${label}: before`} /></div>
      <div class="divider" ref=${(/** @type {HTMLElement | null} */ each) => each?.style.setProperty('left', `${share}%`)}></div>
      <span class="tag left">before</span><span class="tag right">after</span>
      <input type="range" min="0" max="100" value=${share} aria-label="Share of the image before"
        onInput=${(/** @type {any} */ e) => setShare(Number(e.target.value))} />
    </div>
  `;
}
