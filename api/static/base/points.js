/** Draws many points into the pixels of a canvas: 100,000 take a few milliseconds, on any machine. */

/** @typedef {{x: number, y: number, scale: number}} Camera the point at the middle, and pixels per unit */
/** @typedef {{n: number, x: Float32Array, y: Float32Array}} Points */

/** Twenty colors that differ in hue and lightness, as 0xAABBGGRR. */
export const PALETTE = ['#4269d0', '#e0912b', '#d6455b', '#3a9c8a', '#8a5fd0', '#7fa33a', '#c65aa8', '#38a0c8', '#a5703c', '#6b6f7d', '#243f99', '#a86100', '#96203a', '#14695b', '#59329c', '#53701c', '#8c2a72', '#136a8c', '#6d4417', '#41444f'].map(packed);
export const NOISE = packed('#9a9a9a');

/** @param {string} hex */
function packed(hex) {
  const n = parseInt(hex.slice(1), 16);
  return (0xff000000 | ((n & 255) << 16) | (n & 0xff00) | (n >> 16)) >>> 0;
}

/** A packed color as CSS writes it. @param {number} color */
export const css = (color) => `rgb(${color & 255} ${(color >> 8) & 255} ${(color >> 16) & 255})`;

/** From blue over gray to orange; `t` is 0 to 1. @param {number} t */
export function ramp(t) {
  const [a, b] = t < 0.5 ? [[43, 86, 190], [176, 172, 170]] : [[176, 172, 170], [214, 106, 20]];
  const s = Math.min(1, Math.max(0, t < 0.5 ? t * 2 : t * 2 - 1));
  const [r, g, bl] = a.map((from, i) => Math.round(from + (b[i] - from) * s));
  return (0xff000000 | (bl << 16) | (g << 8) | r) >>> 0;
}

/** The camera that shows all points. @param {Points} points @param {number} width @param {number} height @returns {Camera} */
export function fitted(points, width, height) {
  if (!points.n) return { x: 0, y: 0, scale: 1 };
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < points.n; i++) {
    left = Math.min(left, points.x[i]);
    right = Math.max(right, points.x[i]);
    low = Math.min(low, points.y[i]);
    high = Math.max(high, points.y[i]);
  }
  const scale = 0.9 * Math.min(width / (right - left || 1), height / (high - low || 1));
  return { x: (left + right) / 2, y: (low + high) / 2, scale };
}

/**
 * Draws points as squares, those that are not lit last in a paler color.
 * @param {ImageData} image
 * @param {Points} points
 * @param {Camera} camera
 * @param {Uint32Array} colors
 * @param {number} side pixels of a point
 * @param {Uint8Array | null} lit
 */
export function draw(image, points, camera, colors, side, lit) {
  const { width, height } = image;
  const pixels = new Uint32Array(image.data.buffer);
  pixels.fill(0);
  const { n, x, y } = points;
  const { scale } = camera;
  const [dx, dy] = [width / 2 - camera.x * scale - side / 2 + 0.5, height / 2 + camera.y * scale - side / 2 + 0.5];
  for (let pass = lit ? 0 : 1; pass < 2; pass++) {
    for (let i = 0; i < n; i++) {
      if (lit && lit[i] !== pass) continue;
      const left = (x[i] * scale + dx) | 0;
      const top = (dy - y[i] * scale) | 0;
      if (left < 0 || top < 0 || left + side > width || top + side > height) continue;
      const color = pass ? colors[i] : (colors[i] & 0xffffff) | 0x2e000000;
      for (let row = top * width + left, end = row + side * width; row < end; row += width) {
        for (let at = row; at < row + side; at++) pixels[at] = color;
      }
    }
  }
}

/** The place of a pixel. @param {Camera} camera @param {number} px @param {number} py @param {number} width @param {number} height */
export const placeOf = (camera, px, py, width, height) => [camera.x + (px - width / 2) / camera.scale, camera.y - (py - height / 2) / camera.scale];

/** The points nearest to a place, with their squared distances. @param {Points} points @param {number} x @param {number} y @param {number} k @returns {{i: number, d: number}[]} */
export function nearest(points, x, y, k) {
  const found = /** @type {{i: number, d: number}[]} */ ([]);
  for (let i = 0; i < points.n; i++) {
    const d = (points.x[i] - x) ** 2 + (points.y[i] - y) ** 2;
    if (found.length === k && d >= found[k - 1].d) continue;
    let at = found.length;
    while (at > 0 && found[at - 1].d > d) at--;
    found.splice(at, 0, { i, d });
    if (found.length > k) found.pop();
  }
  return found;
}

/** The points inside a polygon of places. @param {Points} points @param {number[][]} polygon @returns {number[]} */
export function inside(points, polygon) {
  const found = [];
  for (let i = 0; i < points.n; i++) {
    let within = false;
    for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++) {
      const [ax, ay] = polygon[a];
      const [bx, by] = polygon[b];
      if (ay > points.y[i] !== by > points.y[i] && points.x[i] < ((bx - ax) * (points.y[i] - ay)) / (by - ay) + ax) within = !within;
    }
    if (within) found.push(i);
  }
  return found;
}

/** Points whose thumbnails of `side` pixels do not overlap, of those that the camera shows. @param {Points} points @param {Camera} camera @param {number} width @param {number} height @param {number} side @param {number} most @param {Uint8Array | null} [lit] @returns {{i: number, px: number, py: number}[]} */
export function spread(points, camera, width, height, side, most, lit) {
  const taken = /** @type {Map<number, {i: number, px: number, py: number}>} */ (new Map()); // at most one in a cell of this side
  const free = (/** @type {number} */ px, /** @type {number} */ py) => {
    const [column, row] = [Math.floor(px / side), Math.floor(py / side)];
    for (let c = column - 1; c <= column + 1; c++) {
      for (let r = row - 1; r <= row + 1; r++) {
        const other = taken.get(c * 1000 + r);
        if (other && Math.abs(other.px - px) < side && Math.abs(other.py - py) < side) return false;
      }
    }
    return true;
  };
  for (let i = 0; i < points.n && taken.size < most; i++) {
    const px = (points.x[i] - camera.x) * camera.scale + width / 2;
    const py = (camera.y - points.y[i]) * camera.scale + height / 2;
    if ((lit && !lit[i]) || px < 0 || py < 0 || px >= width || py >= height || !free(px, py)) continue;
    taken.set(Math.floor(px / side) * 1000 + Math.floor(py / side), { i, px, py });
  }
  return [...taken.values()];
}
