/** A collection with its members as columns, loaded at once, and the colors of its map. */
import { useEffect, useMemo, useState } from './html.js';
import { get, send } from './api.js';
import { npz } from './npz.js';
import { NOISE, PALETTE, css, ramp } from './points.js';

const SHOWN = ['maps', 'clusters', 'outlier_scores', 'names', 'attributes', 'classes', 'thumbnails']; // the scores come after the map
const UNKNOWN = -1;

/**
 * @typedef {object} Members columns of all members; those of the scores are null until they have come
 * @property {number} n
 * @property {Float32Array} x
 * @property {Float32Array} y
 * @property {Float32Array | null} scores
 * @property {number} width scores of each member
 * @property {Float32Array} outliers
 * @property {Record<string, Int32Array>} clusters
 * @property {(i: number) => string} name
 * @property {(i: number) => string} labels what it has, in words
 * @property {(i: number, label: string) => boolean} has
 * @property {(i: number) => string} className its likeliest class; "" without classes
 * @property {boolean} hasClasses
 * @property {Uint8Array} thumbnails whether each has one
 * @property {boolean} hasImages whether any has
 */

/** The k-th value of each row. @param {import('./npz.js').Column} column @param {number} k */
function each(column, k) {
  const [n, width] = [column.shape[0], column.data.length / (column.shape[0] || 1)];
  const made = new column.data.constructor(n);
  for (let i = 0; i < n; i++) made[i] = column.data[i * width + k];
  return made;
}

/** @param {Record<string, import('./npz.js').Column>} columns @param {import('./npz.js').Column | null} scores @returns {Members} */
function membersOf(columns, scores) {
  const { names, name_ends: ends, maps, attributes, classes } = columns;
  const n = ends.data.length;
  const place = maps.shape[1] ? maps : /** @type {import('./npz.js').Column} */ (scores);
  const known = attributes.shape[1];
  const decoder = new TextDecoder();
  const has = (/** @type {number} */ i, /** @type {number} */ k) => attributes.data[i * known + k] === 1;
  return {
    n,
    x: each(place, 0),
    y: place.shape[1] > 1 || place === maps ? each(place, 1) : new Float32Array(n),
    scores: scores?.data ?? null,
    width: scores?.shape[1] ?? 0,
    outliers: columns.outlier_scores.data,
    clusters: Object.fromEntries(columns.clusterings.data.map((/** @type {string} */ method, /** @type {number} */ k) => [method, each(columns.clusters, k)])),
    name: (i) => decoder.decode(names.data.subarray(i ? ends.data[i - 1] : 0, ends.data[i])),
    labels: (i) => columns.attribute_names.data.filter((/** @type {string} */ _, /** @type {number} */ k) => has(i, k)).join(', ').replaceAll('_', ' '),
    has: (i, label) => has(i, columns.attribute_names.data.indexOf(label)),
    className: (i) => (classes.shape[1] ? columns.class_names.data[classes.data[i * classes.shape[1]]] : ''),
    hasClasses: classes.shape[1] > 0,
    thumbnails: columns.thumbnails.data,
    hasImages: columns.thumbnails.data.includes(1),
  };
}

/** @param {string} path @param {string[]} names @param {AbortSignal} signal */
async function columnsOf(path, names, signal) {
  const query = names.map((name) => `columns=${name}`).join('&');
  return npz(await (await send(`${path}&${query}`, { signal })).arrayBuffer());
}

/**
 * The newest version of a collection and its members: first what the map shows, then with their scores.
 * @param {string} id
 * @returns {{details: any, version: any, members: Members | null, error: Error | null, loading: boolean, update: (details: any) => void}}
 */
export function useCollection(id) {
  const [state, setState] = useState({ details: /** @type {any} */ (null), version: /** @type {any} */ (null), members: /** @type {Members | null} */ (null), error: /** @type {any} */ (null), loading: true });
  useEffect(() => {
    if (!id) return;
    const control = new AbortController();
    const { signal } = control;
    const load = async () => {
      const details = await get(`/v1/collections/${id}`, {}, signal);
      const version = details.versions.at(-1) ?? null;
      setState({ details, version, members: null, error: null, loading: !!version });
      if (!version) return;
      const path = `/v1/collections/${id}/columns?version=${version.version}`;
      const columns = await columnsOf(path, SHOWN, signal);
      const hasMap = columns.maps.shape[1] > 0;
      if (hasMap) setState((old) => ({ ...old, members: membersOf(columns, null) }));
      const { scores } = await columnsOf(path, ['scores'], signal);
      setState((old) => ({ ...old, members: old.members ? { ...old.members, scores: scores.data, width: scores.shape[1] } : membersOf(columns, scores), loading: false }));
    };
    setState((old) => (old.details?.id === id ? old : { details: null, version: null, members: null, error: null, loading: true }));
    load().catch((error) => signal.aborted || setState((old) => ({ ...old, error, loading: false })));
    return () => control.abort();
  }, [id]);
  const update = (/** @type {any} */ details) => setState((old) => ({ ...old, details, version: details.versions.find((/** @type {any} */ each) => each.version === old.version.version) }));
  return { ...state, update };
}

/** Which members are among some of them, as `draw` takes it. @param {number[] | null} ids @param {Members | null} members */
export function useMask(ids, members) {
  return useMemo(() => {
    const mask = ids && members && new Uint8Array(members.n);
    for (const i of mask ? (ids ?? []) : []) /** @type {Uint8Array} */ (mask)[i] = 1;
    return mask;
  }, [ids, members?.n]);
}

/** The path of a member's thumbnail. @param {any} details @param {any} version @param {number} i */
export const thumbnailPath = (details, version, i) => `/v1/collections/${details.id}/members/${i}/thumbnail?version=${version.version}`;

/** What the map can be colored by: an id for the address, and a title. @param {any} figures @param {Members | null} members */
export function colorings(figures, members) {
  const methods = Object.keys(figures.clusterings);
  return [
    ...methods.map((method) => ({ id: `cluster:${method}`, title: `Cluster (${methodTitle(method)})` })),
    ...(members?.hasClasses ? [{ id: 'class', title: 'What it shows' }] : []),
    ...figures.attribute_names.map((/** @type {string} */ name) => ({ id: `label:${name}`, title: `Label: ${name.replaceAll('_', ' ')}` })),
    ...figures.components.slice(0, 8).map((/** @type {any} */ each) => ({ id: `component:${each.component}`, title: componentTitle(each) })),
    { id: 'outlier', title: 'How isolated it is' },
  ];
}

/** @type {Record<string, string>} */
const METHODS = { kmeans: 'k-means', hdbscan: 'HDBSCAN' };

/** @param {string} method */
export const methodTitle = (method) => METHODS[method] ?? method;

/** @param {any} component */
export const componentTitle = (component) => `Component ${component.component + 1}${component.name ? `: ${inWords(component.name)}` : ''}`;

/** What grows along a component: "brightness -0.88, dots 0.55" is "less brightness, more dots". @param {string} name */
const inWords = (name) => name.replaceAll('_', ' ').split(', ').map((each) => each.replace(/^(.+) (-?)\d\.\d+$/, (_, trait, minus) => `${minus ? 'less' : 'more'} ${trait}`)).join(', ');

/** @typedef {{title: string, color: string}[]} Items */

/**
 * The color of each member, and a legend.
 * @param {Members | null} members
 * @param {any} version
 * @param {string} by
 * @returns {{colors: Uint32Array, legend: Items}}
 */
export function useColors(members, version, by) {
  return useMemo(() => {
    const colors = new Uint32Array(members?.n ?? 0);
    if (!members || !version) return { colors, legend: [] };
    const [kind, name] = [by.split(':')[0], by.slice(by.indexOf(':') + 1)];
    const fill = (/** @type {(i: number) => number} */ color) => {
      for (let i = 0; i < members.n; i++) colors[i] = color(i);
    };
    if (kind === 'label') {
      fill((i) => (members.has(i, name) ? PALETTE[1] : NOISE));
      return { colors, legend: [{ title: name.replaceAll('_', ' '), color: css(PALETTE[1]) }, { title: 'without, or unknown', color: css(NOISE) }] };
    }
    if (kind === 'component' || kind === 'outlier') return { colors, legend: ramped(members, kind === 'outlier' ? UNKNOWN : Number(name), fill) };
    if (kind === 'class') {
      const names = [...new Set(Array.from({ length: members.n }, (_, i) => members.className(i)))].slice(0, PALETTE.length);
      const numbers = new Map(names.map((each, k) => [each, PALETTE[k]]));
      fill((i) => numbers.get(members.className(i)) ?? NOISE);
      return { colors, legend: names.map((title, i) => ({ title, color: css(PALETTE[i]) })) };
    }
    const clusters = members.clusters[name] ?? Object.values(members.clusters)[0];
    fill((i) => (clusters && clusters[i] >= 0 ? PALETTE[clusters[i] % PALETTE.length] : NOISE));
    const known = version.figures.clusterings[name]?.clusters ?? [];
    return { colors, legend: known.slice(0, 20).map((/** @type {any} */ each) => ({ title: clusterName(each, version, name), color: css(PALETTE[each.cluster % PALETTE.length]) })) };
  }, [members, version, by]);
}

/** Colors by a value, from its 2nd to its 98th percentile. @param {Members} members @param {number} component or `UNKNOWN` for how isolated a member is @param {(color: (i: number) => number) => void} fill @returns {Items} */
function ramped(members, component, fill) {
  const { scores, width, outliers } = members;
  if (component >= width && component !== UNKNOWN) return (fill(() => NOISE), []); // the scores are on their way
  const of = component === UNKNOWN ? (/** @type {number} */ i) => outliers[i] : (/** @type {number} */ i) => /** @type {Float32Array} */ (scores)[i * width + component];
  const values = Float32Array.from({ length: members.n }, (_, i) => of(i)).sort();
  const [low, high] = [values[Math.floor(members.n * 0.02)], values[Math.floor(members.n * 0.98)]];
  fill((i) => ramp((of(i) - low) / (high - low || 1)));
  return [{ title: low?.toFixed(2), color: css(ramp(0)) }, { title: '…', color: css(ramp(0.5)) }, { title: high?.toFixed(2), color: css(ramp(1)) }];
}

/** The name that was given to a cluster, or the one that the fit has found. @param {any} cluster @param {any} version @param {string} method */
export const clusterName = (cluster, version, method) => version.cluster_names[method]?.[cluster.cluster] ?? foundName(cluster);

/** @param {any} cluster */
export const foundName = (cluster) => (cluster.name ? cluster.name.replaceAll('_', ' ') : `Cluster ${cluster.cluster}`);
