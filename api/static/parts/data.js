/** Chooses data: a named set of the service, or a folder of images that is uploaded as a zip file. */
import { html, useRef, useState } from '../base/html.js';
import { post } from '../base/api.js';
import { zip } from '../base/zip.js';
import { Icon } from './icons.js';
import { note } from './notes.js';

const IMAGE = /\.(png|jpe?g|webp|gif|bmp|tiff?|heic|heif|avif)$/i;
const BESIDE = /\.(txt|csv|json|jsonl)$/i; // captions and tables

/**
 * @param {{sets: Record<string, string>, value: string, onChange: (data: string) => void}} props
 */
export function DataInput({ sets, value, onChange }) {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const [state, setState] = useState('');
  const [title, setTitle] = useState('');
  const isOwn = value.startsWith('zip_');
  const take = async (/** @type {{name: string, data: File}[]} */ files) => {
    const images = files.filter(({ name }) => IMAGE.test(name) || BESIDE.test(name));
    const only = files.length === 1 && files[0].name.endsWith('.zip') ? files[0].data : null;
    if (!only && !images.some(({ name }) => IMAGE.test(name))) return note('There are no images in it.', { bad: true });
    try {
      const packed = only ?? (await zip(images, (done) => done % 20 === 0 && setState(`Packing ${done} of ${images.length}…`)));
      setState(`Uploading ${(packed.size / 1e6).toFixed(1)} MB…`);
      const form = new FormData();
      form.append('file', packed, 'images.zip');
      const archive = await post('/v1/archives', form);
      setTitle(`${archive.n_files} files of ${only ? only.name : (images[0].name.split('/')[0] ?? 'a folder')}`);
      onChange(archive.id);
    } catch (error) {
      note(/** @type {Error} */ (error).message, { bad: true });
    }
    setState('');
  };
  const picked = (/** @type {any} */ event) => {
    const files = [...event.target.files].map((file) => ({ name: file.webkitRelativePath || file.name, data: file }));
    event.target.value = '';
    if (files.length) take(files);
  };
  const dropped = async (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry()).filter((each) => !!each);
    take((await Promise.all(entries.map((entry) => walk(entry)))).flat());
  };
  return html`
    <label>Data <select value=${value} onChange=${(/** @type {any} */ e) => onChange(e.target.value)}>
      ${isOwn && html`<option value=${value}>Yours: ${title || `${value.slice(0, 12)}…`}</option>`}
      ${Object.entries(sets).map(([id, name]) => html`<option key=${id} value=${id}>${name}</option>`)}</select></label>
    <div class="drop" onDrop=${dropped} onDragOver=${(/** @type {Event} */ e) => e.preventDefault()}>
      <button type="button" class="drop-button" disabled=${!!state} onClick=${() => input.current?.click()}><${Icon} name="upload" /> <span>${state || html`Drop a folder or a zip file here, or <u>choose a folder</u>`}</span></button>
      <input ref=${input} type="file" class="hidden" tabindex="-1" aria-label="Folder of images" multiple onChange=${picked} ...${{ webkitdirectory: true }} />
    </div>
    <p class="hint">Folders inside it become labels. Images stay on this service.</p>
  `;
}

/** Every file below an entry that was dropped. @param {any} entry @returns {Promise<{name: string, data: File}[]>} */
async function walk(entry) {
  if (entry.isFile) return new Promise((resolve, reject) => entry.file((/** @type {File} */ data) => resolve([{ name: entry.fullPath.slice(1), data }]), reject));
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = /** @type {any[]} */ (await new Promise((resolve, reject) => reader.readEntries(resolve, reject)));
    if (!some.length) return found;
    for (const each of some) found.push(...(await walk(each)));
  }
}
