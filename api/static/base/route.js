/** The address: `#/style?photo=img_…`. All that a view shows is in it, so that it can be shared. */
import { store, useStore } from './html.js';

/** @typedef {{view: string, rest: string[], params: Record<string, string>}} Route */

/** @returns {Route} */
function parse() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [view, ...rest] = path.split('/').map(decodeURIComponent);
  return { view: view || 'style', rest, params: Object.fromEntries(new URLSearchParams(query)) };
}

export const route = store(parse());
addEventListener('hashchange', () => route.set(parse()));

/** @param {Record<string, any>} params */
function query(params) {
  const set = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const text = new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString();
  return text ? `?${text}` : '';
}

/** The address of a view. @param {string} path @param {Record<string, any>} [params] */
export const link = (path, params = {}) => `#/${path}${query(params)}`;

/** Goes to a view. @param {string} path @param {Record<string, any>} [params] */
export function go(path, params = {}) {
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

/** @param {Record<string, any>} changed */
function change(changed) {
  const { view, rest, params } = route.get();
  history.replaceState(null, '', link([view, ...rest.map(encodeURIComponent)].join('/'), { ...params, ...changed }));
  route.set(parse());
}
