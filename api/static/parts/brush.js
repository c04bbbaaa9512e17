/** A brush that marks a part of an image; by the keyboard, boxes given in numbers mark it. */
import { html, useEffect, useRef, useState } from '../base/html.js';
import { useMedia } from '../base/media.js';
import { Icon } from './icons.js';

/**
 * @param {{path: string, onMask: (mask: Blob | null) => void}} props `onMask` gets white where it was marked, black elsewhere
 */
export function Brush({ path, onMask }) {
  const { src } = useMedia(path);
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const from = useRef(/** @type {number[] | null} */ (null));
  const [size, setSize] = useState(12); // percent of the width
  const [any, setAny] = useState(false);
  const fit = (/** @type {any} */ event) => {
    const { naturalWidth, naturalHeight } = event.target;
    if (!canvas.current || canvas.current.width === naturalWidth) return;
    Object.assign(canvas.current, { width: naturalWidth, height: naturalHeight });
  };
  const done = () => maskOf(canvas.current).then((mask) => (setAny(!!mask), onMask(mask)));
  const at = (/** @type {PointerEvent} */ event) => {
    const box = /** @type {HTMLCanvasElement} */ (canvas.current).getBoundingClientRect();
    const { width, height } = /** @type {HTMLCanvasElement} */ (canvas.current);
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  const stroke = (/** @type {PointerEvent} */ event) => {
    const context = canvas.current?.getContext('2d');
    if (!context || !from.current || !canvas.current) return;
    const to = at(event);
    Object.assign(context, { lineWidth: (size / 100) * canvas.current.width, lineCap: 'round', strokeStyle: '#ff3d7f' });
    context.beginPath();
    context.moveTo(from.current[0], from.current[1]);
    context.lineTo(to[0] + 0.01, to[1]);
    context.stroke();
    from.current = to;
  };
  const down = (/** @type {PointerEvent} */ event) => (canvas.current?.setPointerCapture(event.pointerId), (from.current = at(event)), stroke(event));
  const up = () => from.current && ((from.current = null), done());
  const clear = () => (canvas.current?.getContext('2d')?.clearRect(0, 0, canvas.current.width, canvas.current.height), done());
  const box = (/** @type {number[]} */ [left, top, right, bottom]) => {
    const context = canvas.current?.getContext('2d');
    if (!context || !canvas.current) return;
    const { width, height } = canvas.current;
    context.fillStyle = '#ff3d7f';
    context.fillRect((left / 100) * width, (top / 100) * height, ((right - left) / 100) * width, ((bottom - top) / 100) * height);
    done();
  };
  useEffect(() => onMask(null), [path]);
  return html`
    <div class="brush">
      ${src && html`<img src=${src} alt="Image to change" onLoad=${fit} draggable=${false} />`}
      <canvas ref=${canvas} aria-hidden="true" onPointerDown=${down} onPointerMove=${stroke} onPointerUp=${up} onPointerCancel=${up}></canvas>
    </div>
    <div class="row"><label class="inline">Brush <input type="range" min="3" max="40" value=${size} onInput=${(/** @type {any} */ e) => setSize(Number(e.target.value))} /></label>
      <button type="button" class="small" disabled=${!any} onClick=${clear}><${Icon} name="trash" /> Clear</button></div>
    <${Boxes} mark=${box} />
  `;
}

/** @param {{mark: (sides: number[]) => void}} props */
function Boxes({ mark }) {
  const [sides, setSides] = useState([25, 0, 75, 40]);
  const names = ['Left', 'Top', 'Right', 'Bottom'];
  return html`<details><summary>Mark a box without a pointer</summary>
    <div class="fields">${names.map((name, i) => html`<label key=${name}>${name} %<input type="number" min="0" max="100" value=${sides[i]}
      onInput=${(/** @type {any} */ e) => setSides(sides.map((old, k) => (k === i ? Number(e.target.value) : old)))} /></label>`)}</div>
    <button type="button" class="small" onClick=${() => mark(sides)}>Mark this box</button></details>`;
}

/** White where something was drawn; null where nothing was. @param {HTMLCanvasElement | null} canvas @returns {Promise<Blob | null>} */
async function maskOf(canvas) {
  if (!canvas?.width) return null;
  const image = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d')).getImageData(0, 0, canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  let marked = false;
  for (let i = 0; i < pixels.length; i++) {
    const white = pixels[i] >>> 24 > 40;
    marked ||= white;
    pixels[i] = white ? 0xffffffff : 0xff000000;
  }
  if (!marked) return null;
  const made = Object.assign(document.createElement('canvas'), { width: canvas.width, height: canvas.height });
  /** @type {CanvasRenderingContext2D} */ (made.getContext('2d')).putImageData(image, 0, 0);
  return new Promise((resolve) => made.toBlob(resolve, 'image/png'));
}
