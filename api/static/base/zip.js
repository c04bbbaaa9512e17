/** A zip file of images that are compressed already: stored, not deflated. */

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

/** @param {Uint8Array} bytes */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[i]) & 255];
  return ~crc >>> 0;
}

/** Numbers of 2 or 4 bytes, low first. @param {...[number, number]} fields */
function packed(...fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return new Uint8Array(view.buffer);
}

const UTF8 = 0x800; // names are UTF-8

/**
 * @param {{name: string, data: Blob}[]} files
 * @param {(done: number) => void} [onProgress]
 * @returns {Promise<Blob>}
 */
export async function zip(files, onProgress) {
  const parts = /** @type {any[]} */ ([]);
  const directory = /** @type {any[]} */ ([]);
  let offset = 0;
  let directorySize = 0;
  for (const [i, { name, data }] of files.entries()) {
    const bytes = new Uint8Array(await data.arrayBuffer());
    const encoded = new TextEncoder().encode(name);
    const common = packed([2, 20], [2, UTF8], [2, 0], [2, 0], [2, 0x21], [4, crc32(bytes)], [4, bytes.length], [4, bytes.length], [2, encoded.length], [2, 0]);
    parts.push(packed([4, 0x04034b50]), common, encoded, data);
    directory.push(packed([4, 0x02014b50], [2, 20]), common, packed([2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), encoded);
    offset += 4 + common.length + encoded.length + bytes.length;
    directorySize += 46 + encoded.length;
    onProgress?.(i + 1);
  }
  const end = packed([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, directorySize], [4, offset], [2, 0]);
  return new Blob([...parts, ...directory, end], { type: 'application/zip' });
}
