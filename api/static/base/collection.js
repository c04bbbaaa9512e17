/** A collection with its members as columns, loaded page by page, and the colors of its map. */
import { useEffect, useMemo, useState } from './html.js';
import { get } from './api.js';
import { NOISE, PALETTE, css, ramp } from './points.js';

export const SCORES = 32; // components of each member in an answer
const PAGE = 1000;
const SHOW_EVERY = 10; // pages, after the first ones

/**
 * @typedef {object} Members
 * @property {number} n
 * @property {number} total
 * @property {Float32Array} x
 * @property {Float32Array} y
 * @property {Float32Array} scores
 * @property {Float32Array} outliers
 * @property {Record<string, Int32Array>} clusters
 * @property {string[]} names
 * @property {string[][]} labels
 * @property {string[]} classes
 * @property {boolean} hasImages
 */

/** @param {number} total @param {string[]} methods @returns {Members} */
const empty = (total, methods) => ({
  n: 0,
  total,
  x: new Float32Array(total),
  y: new Float32Array(total),
  scores: new Float32Array(total * SCORES),
  outliers: new Float32Array(total),
  clusters: Object.fromEntries(methods.map((method) => [method, new Int32Array(total)])),
  names: [],
  labels: [],
  classes: [],
  hasImages: false,
});

/** @param {Members} members @param {any} page */
function add(members, page) {
  for (const each of page.members) {
    const i = members.n++;
    const [x, y] = Object.values(each.map)[0] ?? each.scores;
    members.x[i] = x ?? 0;
    members.y[i] = y ?? 0;
    members.scores.set(each.scores, i * SCORES);
    members.outliers[i] = each.outlier_score;
    for (const [method, cluster] of Object.entries(each.clusters)) members.clusters[method][i] = cluster;
    members.names.push(each.name);
    members.labels.push(each.labels);
    members.classes.push(each.classes[0]?.name ?? '');
    members.hasImages ||= !!each.thumbnail_url;
  }
}

/**
 * The newest version of a collection and its members, as far as they have come.
 * @param {string} id
 * @returns {{details: any, version: any, members: Members | null, error: Error | null, loading: boolean}}
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
      let members = /** @type {Members | null} */ (null);
      let cursor = /** @type {string | null} */ (null);
      for (let number = 0; ; number++) {
        const page = /** @type {any} */ (await get(`/v1/collections/${id}/members`, { version: version.version, limit: PAGE, cursor }, signal));
        members ??= empty(page.total, Object.keys(version.figures.clusterings));
        add(members, page);
        cursor = page.next_cursor;
        const shown = members;
        if (!cursor || number < 3 || number % SHOW_EVERY === 0) setState((old) => ({ ...old, members: { ...shown }, loading: !!cursor }));
        if (!cursor) return;
      }
    };
    setState((old) => (old.details?.id === id ? old : { details: null, version: null, members: null, error: null, loading: true }));
    load().catch((error) => signal.aborted || setState((old) => ({ ...old, error, loading: false })));
    return () => control.abort();
  }, [id]);
  return state;
}

/** The path of a member's thumbnail. @param {any} details @param {any} version @param {number} i */
export const thumbnailPath = (details, version, i) => `/v1/collections/${details.id}/members/${i}/thumbnail?version=${version.version}`;

/** What the map can be colored by: an id for the address, and a title. @param {any} figures @param {Members | null} members */
export function colorings(figures, members) {
  const methods = Object.keys(figures.clusterings);
  return [
    ...methods.map((method) => ({ id: `cluster:${method}`, title: `Cluster (${method})` })),
    ...(members?.classes.some(Boolean) ? [{ id: 'class', title: 'What it shows' }] : []),
    ...figures.attribute_names.map((/** @type {string} */ name) => ({ id: `label:${name}`, title: `Label: ${name.replaceAll('_', ' ')}` })),
    ...figures.components.slice(0, 8).map((/** @type {any} */ each) => ({ id: `component:${each.component}`, title: componentTitle(each) })),
    { id: 'outlier', title: 'How isolated it is' },
  ];
}

/** @param {any} component */
export const componentTitle = (component) => `Component ${component.component + 1}${component.name ? `: ${component.name.replaceAll('_', ' ')}` : ''}`;

/**
 * The color of each member, and a legend.
 * @param {Members | null} members
 * @param {any} figures
 * @param {string} by
 * @returns {{colors: Uint32Array, legend: {title: string, color: string}[]}}
 */
export function useColors(members, figures, by) {
  return useMemo(() => {
    const colors = new Uint32Array(members?.n ?? 0);
    if (!members || !figures) return { colors, legend: [] };
    const [kind, name] = [by.split(':')[0], by.slice(by.indexOf(':') + 1)];
    const fill = (/** @type {(i: number) => number} */ color) => {
      for (let i = 0; i < members.n; i++) colors[i] = color(i);
    };
    if (kind === 'label') {
      fill((i) => (members.labels[i].includes(name) ? PALETTE[1] : NOISE));
      return { colors, legend: [{ title: name.replaceAll('_', ' '), color: css(PALETTE[1]) }, { title: 'without, or unknown', color: css(NOISE) }] };
    }
    if (kind === 'component' || kind === 'outlier') {
      const of = kind === 'outlier' ? (/** @type {number} */ i) => members.outliers[i] : (/** @type {number} */ i) => members.scores[i * SCORES + Number(name)];
      const values = Array.from({ length: members.n }, (_, i) => of(i)).sort((a, b) => a - b);
      const [low, high] = [values[Math.floor(members.n * 0.02)], values[Math.floor(members.n * 0.98)]];
      fill((i) => ramp((of(i) - low) / (high - low || 1)));
      return { colors, legend: [{ title: low?.toFixed(2), color: css(ramp(0)) }, { title: '…', color: css(ramp(0.5)) }, { title: high?.toFixed(2), color: css(ramp(1)) }] };
    }
    if (kind === 'class') {
      const names = [...new Set(members.classes)].slice(0, PALETTE.length);
      fill((i) => (names.includes(members.classes[i]) ? PALETTE[names.indexOf(members.classes[i])] : NOISE));
      return { colors, legend: names.map((title, i) => ({ title, color: css(PALETTE[i]) })) };
    }
    const clusters = members.clusters[name] ?? Object.values(members.clusters)[0];
    fill((i) => (clusters && clusters[i] >= 0 ? PALETTE[clusters[i] % PALETTE.length] : NOISE));
    const known = figures.clusterings[name]?.clusters ?? [];
    return { colors, legend: known.slice(0, 20).map((/** @type {any} */ each) => ({ title: clusterName(each), color: css(PALETTE[each.cluster % PALETTE.length]) })) };
  }, [members, members?.n, figures, by]);
}

/** @param {any} cluster */
export const clusterName = (cluster) => (cluster.name ? cluster.name.replaceAll('_', ' ') : `Cluster ${cluster.cluster}`);
