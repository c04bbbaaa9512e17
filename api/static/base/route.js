/** The address: `#/style?photo=img_…`. All that a view shows is in it, so that it can be shared. */
import { store, useStore } from './html.js';

const WRITE_MS = 350; // browsers ignore or refuse more than 100 changes of the address in 30 s

/** @typedef {{view: string, rest: string[], params: Record<string, string>}} Route */

/** @returns {Route} */
function parse() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [view, ...rest] = path.split('/').map(decodeURIComponent);
  return { view: view || 'style', rest, params: Object.fromEntries(new URLSearchParams(query)) };
}

export const route = store(parse());
let timer = 0; // of the next write of the address
let written = 0;
let address = location.hash; // when it was last in step with the route
addEventListener('pagehide', write);
addEventListener('hashchange', () => {
  clearTimeout(timer);
  timer = 0;
  address = location.hash;
  route.set(parse());
});

/** Puts the route into the address, unless it leads elsewhere by now. */
function write() {
  if (!timer || location.hash !== address) return;
  clearTimeout(timer);
  timer = 0;
  written = Date.now();
  const { view, rest, params } = route.get();
  history.replaceState(null, '', link([view, ...rest.map(encodeURIComponent)].join('/'), params));
  address = location.hash;
}

/** @param {any} value */
const isSet = (value) => value !== undefined && value !== null && value !== '';

/** @param {Record<string, any>} params */
function query(params) {
  const set = Object.entries(params).filter(([, value]) => isSet(value));
  const text = new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString();
  return text ? `?${text}` : '';
}

/** The address of a view. @param {string} path @param {Record<string, any>} [params] */
export const link = (path, params = {}) => `#/${path}${query(params)}`;

/** Goes to a view. @param {string} path @param {Record<string, any>} [params] */
export function go(path, params = {}) {
  write();
  location.hash = link(path, params);
}

/**
 * The parameters of the address, and a function that changes some of them without a step of the history.
 * @returns {[Record<string, string>, (change: Record<string, any>) => void]}
 */
export function useParams() {
  const { params } = useStore(route);
  return [params, change];
}

/** Changes the route at once, and the address with it or soon after. @param {Record<string, any>} changed */
function change(changed) {
  const { view, rest, params } = route.get();
  const set = Object.entries({ ...params, ...changed }).filter(([, value]) => isSet(value));
  route.set({ view, rest, params: Object.fromEntries(set.map(([name, value]) => [name, String(value)])) });
  timer ||= setTimeout(write, Math.max(0, written + WRITE_MS - Date.now()));
}
