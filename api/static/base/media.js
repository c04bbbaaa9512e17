/** Images of the API, which need the key: fetched, kept as blob URLs while they are shown, and uploaded. */
import { useEffect, useState } from './html.js';
import { post, send } from './api.js';

/** @typedef {{load: Promise<string>, url: string, users: number}} Entry */
const MAX_KEPT = 400;
const kept = /** @type {Map<string, Entry>} */ (new Map());

/** The path of an output; never a presigned link, which is of another origin. @param {any} job @param {any} output */
export const outputPath = (job, output) => `/v1/jobs/${job.id}/outputs/${output.index}`;
/** Whether an output is one image, not a grid or a plot. @param {any} output */
export const isImage = (output) => output.role === "picture";
/** The path of an upload's image. @param {string} id */
export const imagePath = (id) => `/v1/images/${id}/content`;

/** @param {string} path @returns {Entry} */
function hold(path) {
  let entry = kept.get(path);
  if (!entry) {
    const made = { users: 0, url: '', load: Promise.resolve('') };
    made.load = send(path)
      .then((response) => response.blob())
      .then((blob) => (made.url = URL.createObjectURL(blob)));
    made.load.catch(() => kept.delete(path));
    entry = made;
  }
  kept.delete(path); // the newest is last
  kept.set(path, entry);
  entry.users++;
  return entry;
}

/** @param {Entry} entry */
function release(entry) {
  entry.users--;
  if (kept.size <= MAX_KEPT) return;
  for (const [path, each] of kept) {
    if (each.users || !each.url) continue;
    URL.revokeObjectURL(each.url);
    kept.delete(path);
    if (kept.size <= MAX_KEPT) return;
  }
}

/**
 * The blob URL of an image, once it has loaded; the one before stays until then.
 * @param {string | null | undefined} path
 * @returns {{src: string, error: Error | null}}
 */
export function useMedia(path) {
  const [state, setState] = useState({ src: (path && kept.get(path)?.url) || '', error: /** @type {Error | null} */ (null) });
  useEffect(() => {
    if (!path) return setState({ src: '', error: null });
    const entry = hold(path);
    let current = true;
    entry.load.then(
      (src) => current && setState({ src, error: null }),
      (error) => current && setState({ src: '', error }),
    );
    return () => {
      current = false;
      release(entry);
    };
  }, [path]);
  return state;
}

/** The bytes of an image. @param {string} path @returns {Promise<Blob>} */
export const blobOf = async (path) => (await send(path)).blob();

/** Uploads an image and returns its id. @param {Blob} blob @returns {Promise<string>} */
export async function upload(blob) {
  const form = new FormData();
  form.append('file', blob, 'image');
  return (await post('/v1/images', form)).id;
}

/** Uploads an output of a job, to use it in a request. @param {string} path */
export const reuse = async (path) => upload(await blobOf(path));

/** Saves an image as a file. @param {string} path @param {string} name */
export async function download(path, name) {
  const blob = await blobOf(path);
  const a = document.createElement('a');
  a.href = URL.createObjectURL(blob);
  a.download = `${name}.${(blob.type.split('/')[1] || 'png').replace('jpeg', 'jpg')}`;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 10_000);
}

/** Copies a text, also where the page has no secure context. @param {string} text */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}
