/** Reads npz files that are not compressed, as `GET /v1/collections/{id}/columns` returns them. */

/** @typedef {{shape: number[], data: any}} Column its values in a typed array, or texts */

const END = 0x06054b50;
/** @type {Record<string, any>} */
const TYPES = { '|u1': Uint8Array, '|i1': Int8Array, '<i2': Int16Array, '<i4': Int32Array, '<f4': Float32Array };

/** The arrays of a file by name. @param {ArrayBuffer} buffer @returns {Record<string, Column>} */
export function npz(buffer) {
  const view = new DataView(buffer);
  let end = buffer.byteLength - 22;
  while (view.getUint32(end, true) !== END) end--;
  const found = /** @type {Record<string, Column>} */ ({});
  let at = view.getUint32(end + 16, true);
  for (let n = view.getUint16(end + 10, true); n > 0; n--) {
    const [name, extra, comment] = [28, 30, 32].map((field) => view.getUint16(at + field, true));
    const start = view.getUint32(at + 42, true);
    const body = start + 30 + view.getUint16(start + 26, true) + view.getUint16(start + 28, true);
    found[text(buffer, at + 46, name).replace(/\.npy$/, '')] = npy(buffer, body);
    at += 46 + name + extra + comment;
  }
  return found;
}

/** One array, in the format of NumPy's npy files. @param {ArrayBuffer} buffer @param {number} at @returns {Column} */
function npy(buffer, at) {
  const length = new DataView(buffer).getUint16(at + 8, true);
  const header = text(buffer, at + 10, length);
  const type = /'descr': '([^']+)'/.exec(header)?.[1] ?? '';
  const shape = (/'shape': \(([^)]*)\)/.exec(header)?.[1] ?? '').split(',').filter((each) => each.trim()).map(Number);
  const size = shape.reduce((product, each) => product * each, 1);
  const start = at + 10 + length;
  if (type.startsWith('<U')) return { shape, data: texts(buffer, start, size, Number(type.slice(2))) };
  const Type = TYPES[type];
  return { shape, data: new Type(buffer.slice(start, start + size * Type.BYTES_PER_ELEMENT)) };
}

/** @param {ArrayBuffer} buffer @param {number} at @param {number} length */
const text = (buffer, at, length) => String.fromCharCode(...new Uint8Array(buffer, at, length));

/** Texts of a fixed number of characters, each of four bytes. @param {ArrayBuffer} buffer @param {number} at @param {number} n @param {number} width @returns {string[]} */
function texts(buffer, at, n, width) {
  const codes = new Uint32Array(buffer.slice(at, at + 4 * n * width));
  return Array.from({ length: n }, (_, i) => {
    const own = codes.subarray(i * width, (i + 1) * width);
    return String.fromCodePoint(...own.filter((code) => code));
  });
}
