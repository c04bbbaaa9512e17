/** Requests to the public API: the key, its renewal, errors in words and safe retries. */
import { store } from './html.js';

const KEY = 'atelier.key';

/** Why the person is asked for a key, and what happens then; null while nobody is asked. */
export const asking = store(/** @type {null | {reason: string, done: (key: string | null) => void}} */ (null));
export const key = store(sessionStorage.getItem(KEY) || '');
export const online = store(true);

/** An error of the API, with its sentence for people. */
export class ApiError extends Error {
  /** @param {number} status @param {{code: string, message: string, details?: any, request_id?: string}} body */
  constructor(status, body) {
    super(body.message);
    this.status = status;
    this.code = body.code;
    this.details = body.details || {};
    this.requestId = body.request_id || '';
  }
}

/** Keeps the key for this session of the tab alone. @param {string} text */
export function keepKey(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
  key.set(text);
}

let question = /** @type {Promise<string | null> | null} */ (null);

/** Asks for a key, once for all requests that wait for one. @param {string} reason */
export function askForKey(reason) {
  question ??= new Promise((resolve) => {
    asking.set({
      reason,
      done(text) {
        if (text) keepKey(text);
        asking.set(null);
        question = null;
        resolve(text);
      },
    });
  });
  return question;
}

/**
 * Sends a request with the key; asks for another key where it is refused, and then sends it again.
 * @param {string} path
 * @param {{method?: string, body?: any, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>}
 */
export async function send(path, options = {}) {
  const body = options.body instanceof FormData || options.body === undefined ? options.body : JSON.stringify(options.body);
  const json = options.body !== undefined && !(options.body instanceof FormData);
  const again = (options.method ?? 'GET') === 'GET' || options.headers?.['Idempotency-Key'];
  for (let attempt = 0; ; attempt++) {
    const sent = key.get();
    const headers = { ...(json && { 'Content-Type': 'application/json' }), ...options.headers, ...bearer(sent) };
    let response;
    try {
      response = await fetch(path, { method: options.method, body, headers, signal: options.signal });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      if (again && attempt < 2) {
        await pause(400 * 2 ** attempt, options.signal);
        continue;
      }
      online.set(false);
      throw new ApiError(0, { code: 'offline', message: 'The service does not respond. Check that it runs, then try again.' });
    }
    online.set(true);
    if (response.ok || response.status === 304) return response;
    const error = await errorOf(response);
    if (error.status === 401) {
      if (key.get() !== sent || (await askForKey(sent ? error.message : ''))) continue;
      throw error;
    }
    const wait = Number(response.headers.get('Retry-After') || 0);
    if (again && attempt < 2 && (error.status === 429 || error.status === 503) && wait <= 5) {
      await pause(1000 * Math.max(wait, 0.5), options.signal);
      continue;
    }
    throw error;
  }
}

/** @param {string} text @returns {Record<string, string>} */
const bearer = (text) => (text ? { Authorization: `Bearer ${text}` } : {});

/** @param {Response} response */
async function errorOf(response) {
  const fallback = { code: 'unexpected', message: `The service answered ${response.status} ${response.statusText}.` };
  const body = await response.json().catch(() => null);
  return new ApiError(response.status, body?.error ?? fallback);
}

/** Waits. @param {number} ms @param {AbortSignal} [signal] */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/**
 * Gets JSON.
 * @param {string} path
 * @param {Record<string, any>} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function get(path, query = {}, signal) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) if (each !== undefined && each !== null && each !== '') search.append(name, String(each));
  }
  const text = search.toString();
  return (await send(text ? `${path}?${text}` : path, { signal })).json();
}

/** Posts JSON or a form. @param {string} path @param {any} [body] @param {AbortSignal} [signal] @returns {Promise<any>} */
export const post = async (path, body, signal) => (await send(path, { method: 'POST', body, signal })).json();

/** Changes a resource. @param {string} path @param {any} body @returns {Promise<any>} */
export const patch = async (path, body) => (await send(path, { method: 'PATCH', body })).json();

/** Deletes a resource. @param {string} path */
export const remove = (path) => send(path, { method: 'DELETE' });

/** Random letters, also where the page has no secure context. */
export function token() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Submits a job; the same request is never run twice, whatever the network does.
 * @param {string} path
 * @param {Record<string, any>} params
 * @param {{wait?: number, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function submit(path, params, { wait, signal } = {}) {
  const headers = { 'Idempotency-Key': token(), ...(wait && { Prefer: `wait=${wait}` }) };
  return (await send(path, { method: 'POST', body: clean(params), headers, signal })).json();
}

/** Leaves out what is not set, since the API refuses fields that do not apply. @param {Record<string, any>} params */
export function clean(params) {
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== ''));
}
