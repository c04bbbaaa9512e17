/** A map of points: zoom, pan, lasso, thumbnails; with the keyboard too. */
import { classes, html, useEffect, useRef, useState } from '../base/html.js';
import { draw, fitted, inside, nearest, placeOf, spread } from '../base/points.js';
import { blobOf } from '../base/media.js';

const THUMB = 40; // pixels, and those of its frame and the space around it
const CELL = 48;
const MAX_THUMBS = 90;
const images = /** @type {Map<string, ImageBitmap | null>} */ (new Map()); // null while it loads

/** @param {string} path @param {() => void} done */
function thumbnail(path, done) {
  if (!images.has(path)) {
    images.set(path, null);
    if (images.size > 1200) images.delete(images.keys().next().value ?? '');
    blobOf(path).then(createImageBitmap).then((image) => (images.set(path, image), done()), () => undefined);
  }
  return images.get(path);
}

/**
 * @typedef {object} Props
 * @property {import('../base/points.js').Points} points
 * @property {Uint32Array} colors
 * @property {string} label
 * @property {(i: number) => string | null} [thumb] the path of a thumbnail
 * @property {Uint8Array | null} [lit] those that are selected
 * @property {number[] | null} [mark] the place that is chosen
 * @property {(place: number[], nearest: {i: number, d: number}[]) => void} [onPick]
 * @property {(ids: number[]) => void} [onLasso]
 */

/** @param {Props} props */
export function Scatter(props) {
  const { points, colors, label, thumb, lit = null, mark, onPick, onLasso } = props;
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const camera = useRef(/** @type {import('../base/points.js').Camera | null} */ (null));
  const loop = useRef(/** @type {number[][] | null} */ (null));
  const [cross, setCross] = useState(/** @type {number[] | null} */ (null)); // of the keyboard, in pixels
  const [tool, setTool] = useState('move');
  const [thumbs, setThumbs] = useState(true);
  const frame = useRef(0);
  const now = useRef({ ...props, cross, thumbs });
  now.current = { ...props, cross, thumbs };
  const touched = useRef(false); // a camera that was moved stays
  const fit = () => {
    if (!touched.current) camera.current = null;
  };
  const paint = () => {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => canvas.current && paintOn(canvas.current, camera, now.current, loop.current, paint));
  };
  useEffect(() => {
    const observer = new ResizeObserver(() => (resize(canvas.current), fit(), paint()));
    if (canvas.current) observer.observe(canvas.current);
    return () => observer.disconnect();
  }, []);
  useEffect(fit, [points]);
  useEffect(paint, [points, colors, lit, mark, cross, thumbs, thumb]);
  useWheel(canvas, (px, py, factor) => ((touched.current = true), zoom(camera, canvas.current, px, py, factor), paint()));
  const pick = (/** @type {number} */ px, /** @type {number} */ py) => {
    if (!camera.current || !canvas.current) return;
    const place = placeOf(camera.current, px, py, canvas.current.width, canvas.current.height);
    onPick?.(place, nearest(points, place[0], place[1], 5));
  };
  const pointer = usePointer(canvas, camera, tool === 'lasso' && !!onLasso, { paint, pick, loop, lasso: (polygon) => onLasso?.(inside(points, polygon)) });
  const keys = (/** @type {KeyboardEvent} */ event) => ((touched.current = true), keyboard(event, canvas.current, camera, { cross, setCross, pick, paint }));
  const step = (/** @type {number} */ factor) => () => canvas.current && ((touched.current = true), zoom(camera, canvas.current, canvas.current.width / 2, canvas.current.height / 2, factor), paint());
  const all = () => ((touched.current = false), fit(), paint());
  return html`
    <div class="scatter">
      <canvas ref=${canvas} tabindex="0" role="application" aria-label=${`${label}, ${points.n} points. Arrow keys move a cross, Enter chooses its place, plus and minus zoom.`}
        class=${classes(tool)} onKeyDown=${keys} onBlur=${() => setCross(null)} onPointerDownCapture=${() => ((touched.current = true), setCross(null))} ...${pointer}></canvas>
      <div class="scatter-tools" role="group" aria-label="Tools of the map">
        ${onLasso && html`<button type="button" class="small" aria-pressed=${tool === 'lasso' ? 'true' : 'false'} onClick=${() => setTool(tool === 'lasso' ? 'move' : 'lasso')}>Lasso</button>`}
        ${thumb && html`<button type="button" class="small" aria-pressed=${thumbs ? 'true' : 'false'} onClick=${() => setThumbs(!thumbs)}>Thumbnails</button>`}
        <button type="button" class="small" aria-label="Zoom in" onClick=${step(1.5)}>+</button>
        <button type="button" class="small" aria-label="Zoom out" onClick=${step(1 / 1.5)}>−</button>
        <button type="button" class="small" onClick=${all}>All</button>
      </div>
    </div>
  `;
}

/** Gives the canvas as many pixels as it has on the screen. @param {HTMLCanvasElement | null} canvas */
function resize(canvas) {
  if (!canvas) return;
  const ratio = Math.min(2, devicePixelRatio || 1);
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
}

/** @param {HTMLCanvasElement} canvas @param {{current: any}} camera @param {any} props @param {number[][] | null} loop @param {() => void} again */
function paintOn(canvas, camera, { points, colors, lit, mark, thumb, thumbs, cross }, loop, again) {
  const { width, height } = canvas;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  context.clearRect(0, 0, width, height);
  if (!points.n) return;
  camera.current ??= fitted(points, width, height);
  const ratio = width / canvas.clientWidth;
  const at = (/** @type {number} */ x, /** @type {number} */ y) => [(x - camera.current.x) * camera.current.scale + width / 2, (camera.current.y - y) * camera.current.scale + height / 2];
  const side = Math.round(ratio * (points.n > 20_000 ? 2 : points.n > 2000 ? 4 : 8));
  const image = context.createImageData(width, height);
  draw(image, points, camera.current, colors, side, lit);
  context.putImageData(image, 0, 0);
  if (thumb && thumbs) {
    for (const { i, px, py } of spread(points, camera.current, width, height, CELL * ratio, MAX_THUMBS, lit)) {
      const path = thumb(i);
      const bitmap = path && thumbnail(path, again);
      if (!bitmap) continue;
      const size = THUMB * ratio;
      context.fillStyle = `rgb(${colors[i] & 255} ${(colors[i] >> 8) & 255} ${(colors[i] >> 16) & 255})`;
      context.fillRect(px - size / 2 - 2, py - size / 2 - 2, size + 4, size + 4);
      context.drawImage(bitmap, px - size / 2, py - size / 2, size, size);
    }
  }
  context.lineWidth = 2 * ratio;
  for (const place of [mark && at(mark[0], mark[1]), cross].filter(Boolean)) ring(context, place, 11 * ratio);
  if (loop) {
    context.strokeStyle = '#3b4cca';
    context.beginPath();
    loop.forEach(([x, y], i) => context[i ? 'lineTo' : 'moveTo'](.../** @type {[number, number]} */ (at(x, y))));
    context.stroke();
  }
}

/** @param {CanvasRenderingContext2D} context @param {number[]} place @param {number} radius */
function ring(context, [px, py], radius) {
  for (const [color, wide] of /** @type {[string, number][]} */ ([['#fff', 5], ['#111', 2]])) {
    context.strokeStyle = color;
    context.lineWidth = wide;
    context.beginPath();
    context.arc(px, py, radius, 0, 7);
    context.moveTo(px - radius * 1.6, py);
    context.lineTo(px + radius * 1.6, py);
    context.moveTo(px, py - radius * 1.6);
    context.lineTo(px, py + radius * 1.6);
    context.stroke();
  }
}

/** Zooms about a pixel. @param {{current: any}} camera @param {HTMLCanvasElement | null} canvas @param {number} px @param {number} py @param {number} factor */
function zoom(camera, canvas, px, py, factor) {
  if (!camera.current || !canvas) return;
  const [x, y] = placeOf(camera.current, px, py, canvas.width, canvas.height);
  const scale = camera.current.scale * factor;
  camera.current = { scale, x: x - (px - canvas.width / 2) / scale, y: y + (py - canvas.height / 2) / scale };
}

/** The wheel zooms, instead of moving the page. @param {{current: HTMLCanvasElement | null}} canvas @param {(px: number, py: number, factor: number) => void} act */
function useWheel(canvas, act) {
  useEffect(() => {
    const element = canvas.current;
    const wheel = (/** @type {WheelEvent} */ event) => {
      event.preventDefault();
      const [px, py] = pixel(event, element);
      act(px, py, Math.exp(-event.deltaY / 400));
    };
    element?.addEventListener('wheel', wheel, { passive: false });
    return () => element?.removeEventListener('wheel', wheel);
  });
}

/** @param {{clientX: number, clientY: number}} event @param {HTMLCanvasElement | null} canvas */
function pixel(event, canvas) {
  if (!canvas) return [0, 0];
  const box = canvas.getBoundingClientRect();
  const ratio = canvas.width / box.width;
  return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
}

/**
 * Dragging pans or draws a lasso, two fingers zoom, and a click picks.
 * @param {{current: HTMLCanvasElement | null}} canvas
 * @param {{current: any}} camera
 * @param {boolean} lassos
 * @param {{paint: () => void, pick: (px: number, py: number) => void, loop: {current: number[][] | null}, lasso: (polygon: number[][]) => void}} acts
 */
function usePointer(canvas, camera, lassos, { paint, pick, loop, lasso }) {
  const fingers = useRef(new Map());
  const moved = useRef(0);
  const place = (/** @type {number[]} */ [px, py]) => placeOf(camera.current, px, py, canvas.current?.width ?? 1, canvas.current?.height ?? 1);
  const down = (/** @type {PointerEvent} */ event) => {
    canvas.current?.setPointerCapture(event.pointerId);
    fingers.current.set(event.pointerId, pixel(event, canvas.current));
    moved.current = fingers.current.size > 1 ? 99 : 0;
    if (lassos && camera.current) loop.current = [place(pixel(event, canvas.current))];
  };
  const move = (/** @type {PointerEvent} */ event) => {
    const before = fingers.current.get(event.pointerId);
    if (!before || !camera.current) return;
    const after = pixel(event, canvas.current);
    moved.current += Math.abs(after[0] - before[0]) + Math.abs(after[1] - before[1]);
    if (fingers.current.size > 1) {
      const other = [...fingers.current].find(([id]) => id !== event.pointerId)?.[1];
      zoom(camera, canvas.current, other[0], other[1], Math.hypot(after[0] - other[0], after[1] - other[1]) / (Math.hypot(before[0] - other[0], before[1] - other[1]) || 1));
    } else if (loop.current) {
      loop.current.push(place(after));
    } else {
      camera.current = { ...camera.current, x: camera.current.x - (after[0] - before[0]) / camera.current.scale, y: camera.current.y + (after[1] - before[1]) / camera.current.scale };
    }
    fingers.current.set(event.pointerId, after);
    paint();
  };
  const up = (/** @type {PointerEvent} */ event) => {
    const at = fingers.current.get(event.pointerId);
    fingers.current.delete(event.pointerId);
    const polygon = loop.current;
    loop.current = null;
    if (polygon && polygon.length > 3) lasso(polygon);
    else if (at && moved.current < 8) pick(at[0], at[1]);
    paint();
  };
  return { onPointerDown: down, onPointerMove: move, onPointerUp: up, onPointerCancel: up };
}

/** @param {KeyboardEvent} event @param {HTMLCanvasElement | null} canvas @param {{current: any}} camera @param {any} acts */
function keyboard(event, canvas, camera, { cross, setCross, pick, paint }) {
  if (!canvas) return;
  const step = event.shiftKey ? 60 : 16;
  const [px, py] = cross ?? [canvas.width / 2, canvas.height / 2];
  const moves = /** @type {Record<string, number[]>} */ ({ ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] });
  if (moves[event.key]) setCross([Math.min(canvas.width, Math.max(0, px + moves[event.key][0])), Math.min(canvas.height, Math.max(0, py + moves[event.key][1]))]);
  else if (event.key === 'Enter' || event.key === ' ') pick(px, py);
  else if (event.key === '+' || event.key === '=' || event.key === '-') (zoom(camera, canvas, px, py, event.key === '-' ? 1 / 1.4 : 1.4), paint());
  else return;
  event.preventDefault();
}
