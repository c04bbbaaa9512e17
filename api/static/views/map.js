/** Style map: a collection of styles to walk through, which paints the photo wherever one is. */
import { html, useEffect, useLoad, useMemo, useRef, useState, useStore } from '../base/html.js';
import { get, post, remove, submit } from '../base/api.js';
import { colorings, componentTitle, thumbnailPath, useColors, useCollection, useMask } from '../base/collection.js';
import { finished, useJob } from '../base/follow.js';
import { isImage, outputPath, upload } from '../base/media.js';
import { nearest } from '../base/points.js';
import { go, route, useParams } from '../base/route.js';
import { Icon } from '../parts/icons.js';
import { Failure, JobState } from '../parts/job.js';
import { Legend } from '../parts/legend.js';
import { Media, PhotoInput, sample } from '../parts/media.js';
import { note, tried } from '../parts/notes.js';
import { CopyRequest } from '../parts/request.js';
import { Scatter } from '../parts/scatter.js';

const SIZE = 256;
const SCORES = 32; // components of which members have scores
const SLIDERS = 8;
const MEANT = 4; // members whose styles are mixed at a place
const STARTER = { name: 'Styles', space: 'style', data: 'styles', limit: 300, clusterings: [{ method: 'kmeans', n_clusters: 12 }] };

export default function StyleMap() {
  const { rest } = useStore(route);
  const { value, error } = useLoad((signal) => get('/v1/collections', {}, signal), [rest[0]]);
  const styles = (value?.collections ?? []).filter((/** @type {any} */ each) => each.space === 'style');
  const id = rest[0] ?? styles.find((/** @type {any} */ each) => each.status === 'ready')?.id;
  return html`
    <h1>Style map</h1>
    <p class="lead">Each point is a style. Click anywhere, also between the points, to paint your photo in the style that lies there; then move along its components.</p>
    ${error && html`<${Failure} error=${error} />`}
    ${styles.length > 1 && html`<label class="inline">Collection <select value=${id} onChange=${(/** @type {any} */ e) => go(`map/${e.target.value}`)}>
      ${styles.map((/** @type {any} */ each) => html`<option key=${each.id} value=${each.id}>${each.name}</option>`)}</select></label>`}
    ${id ? html`<${Explorer} key=${id} id=${id} />` : value && html`<${Starter} building=${styles[0]?.building} />`}
  `;
}

/** @param {{building?: string}} props */
function Starter({ building }) {
  const [made, setMade] = useState(building);
  const { job } = useJob(made);
  useEffect(() => {
    if (job?.status === 'succeeded') go(`map/${job.metrics.collection}`);
  }, [job?.status]);
  return html`<div class="empty"><h2>No collection of styles yet</h2>
    <p>Collect 300 procedural paintings that come with the service. It takes a minute or two.</p>
    ${job ? html`<${JobState} job=${job} onRetry=${(/** @type {any} */ next) => setMade(next.id)} />` : html`<button class="primary" onClick=${() => tried(async () => setMade((await submit('/v1/collections', STARTER)).id))}>Collect styles</button>`}
    <p>Or <a href="#/collections">collect your own paintings</a> in the space “style”.</p></div>`;
}

/** @param {{id: string}} props */
function Explorer({ id }) {
  const [params, change] = useParams();
  const { details, version, members, error } = useCollection(id);
  const { value: space, error: spaceError } = useLoad((signal) => get(`/v1/collections/${id}/components`, { vectors: true, limit: SCORES }, signal), [id]);
  const by = params.by ?? `cluster:${Object.keys(version?.figures.clusterings ?? { kmeans: 1 })[0]}`;
  const { colors, legend } = useColors(members, version, by);
  const [lit, setLit] = useState(/** @type {number[] | null} */ (null));
  const mask = useMask(lit, members);
  const z = useMemo(() => (params.z ? params.z.split(',').map(Number) : null), [params.z]);
  const at = useMemo(() => (params.at ? params.at.split(',').map(Number) : null), [params.at]);
  const scores = useMemo(() => (members?.scores && space ? scoresAt(members, space, at, z) : null), [members, space, params.at, params.z]);
  const vector = useMemo(() => (scores && space ? vectorOf(space, scores) : null), [scores]);
  if (error || spaceError) return html`<${Failure} error=${error ?? spaceError} />`;
  if (!details || !members || !space) return html`<p class="hint" role="status">Loading the map…</p>`;
  const pick = (/** @type {number[]} */ place) => change({ at: place.map((n) => n.toFixed(4)).join(','), z: '' });
  const thumb = (/** @type {number} */ i) => (members.thumbnails[i] ? thumbnailPath(details, version, i) : null);
  return html`
    <div class="split map-split with-list">
      <section class="panel stack" aria-label="Map">
        <div class="row spread">
          <label class="inline">Color by <select value=${by} onChange=${(/** @type {any} */ e) => change({ by: e.target.value })}>
            ${colorings(version.figures, members).map((each) => html`<option key=${each.id} value=${each.id}>${each.title}</option>`)}</select></label>
          <span class="hint" role="status">${members.n.toLocaleString()} styles</span>
        </div>
        <${Scatter} points=${members} colors=${colors} label=${`Map of ${details.name}`} thumb=${members.hasImages ? thumb : null} lit=${mask} mark=${at} onPick=${pick} onLasso=${(/** @type {number[]} */ ids) => setLit(ids.length ? ids : null)} />
        <${Legend} items=${legend} />
      </section>
      <section class="panel stage stack" aria-label="Painted photo">
        <${Painter} vector=${vector} photo=${params.photo} change=${change} collection=${id} />
        ${scores && html`<${Sliders} space=${space} figures=${version.figures} scores=${scores} move=${(/** @type {number[]} */ next) => change({ z: next.map((n) => n.toFixed(2)).join(',') })} />`}
      </section>
      <section class="panel stack" aria-label="Styles">
        <${StyleList} ids=${lit ?? nearestIds(members, at)} members=${members} thumb=${thumb} title=${lit ? `${lit.length} in the lasso` : at ? 'Nearest to the place' : 'Some of them'}
          pick=${(/** @type {number} */ i) => pick([members.x[i], members.y[i]])} clear=${lit && (() => setLit(null))} />
      </section>
    </div>
  `;
}

/** @param {import('../base/collection.js').Members} members @param {number[] | null} at */
function nearestIds(members, at) {
  return at ? nearest(members, at[0], at[1], 12).map(({ i }) => i) : Array.from({ length: Math.min(12, members.n) }, (_, k) => Math.floor((k * members.n) / 12));
}

/**
 * The scores at a place: those of the nearest members, weighted by how near they are; the first eight as the sliders say.
 * @param {import('../base/collection.js').Members} members
 * @param {any} space
 * @param {number[] | null} at
 * @param {number[] | null} z
 */
function scoresAt(members, space, at, z) {
  const scores = new Array(SCORES).fill(0);
  const { width } = members;
  const known = /** @type {Float32Array} */ (members.scores);
  if (at) {
    const found = nearest(members, at[0], at[1], MEANT);
    const weights = found.map(({ d }) => 1 / (d + 1e-9));
    const total = weights.reduce((sum, each) => sum + each, 0);
    found.forEach(({ i }, k) => scores.forEach((_, c) => (scores[c] += c < width ? (weights[k] / total) * known[i * width + c] : 0)));
  }
  z?.forEach((value, c) => (scores[c] = value * (space.components[c]?.standard_deviation ?? 0)));
  return scores;
}

/** The vector of scores: mean + scale * the sum of score * component. @param {any} space @param {number[]} scores @returns {number[]} */
function vectorOf(space, scores) {
  const sums = new Array(space.dim).fill(0);
  space.components.slice(0, SCORES).forEach((/** @type {any} */ each, /** @type {number} */ c) => each.vector.forEach((/** @type {number} */ v, /** @type {number} */ k) => (sums[k] += scores[c] * v)));
  return sums.map((sum, k) => Math.max(-100, Math.min(100, Number((space.mean[k] + space.scale[k] * sum).toFixed(5)))));
}

/** @param {{space: any, figures: any, scores: number[], move: (z: number[]) => void}} props */
function Sliders({ space, figures, scores, move }) {
  const first = space.components.slice(0, SLIDERS);
  const z = first.map((/** @type {any} */ each, /** @type {number} */ c) => scores[c] / (each.standard_deviation || 1));
  return html`<fieldset class="sliders"><legend>Components, in standard deviations</legend>
    ${first.map((/** @type {any} */ each, /** @type {number} */ c) => html`<label key=${c}><span class="row spread"><span>${componentTitle(figures.components[c] ?? each)}</span><output>${z[c].toFixed(1).replace('-0.0', '0.0')}</output></span>
      <input type="range" min="-4" max="4" step="0.1" value=${z[c]} onInput=${(/** @type {any} */ e) => move(z.map((/** @type {number} */ old, /** @type {number} */ k) => (k === c ? Number(e.target.value) : old)))} /></label>`)}
  </fieldset>`;
}

/** Paints the newest vector, one job at a time; the job before is deleted. @param {number[] | null} vector @param {string | undefined} photo */
function usePainted(vector, photo) {
  const [state, setState] = useState({ path: '', ms: 0, error: /** @type {any} */ (null), busy: false });
  const wanted = useRef(/** @type {number[] | null} */ (null));
  const running = useRef(false);
  const last = useRef('');
  const alive = useRef(true);
  useEffect(() => () => void (alive.current = false), []);
  useEffect(() => {
    if (!vector || !photo) return;
    wanted.current = vector;
    if (running.current) return;
    running.current = true;
    (async () => {
      while (wanted.current && alive.current) {
        const style = { vector: wanted.current };
        wanted.current = null;
        setState((old) => ({ ...old, busy: true }));
        const started = performance.now();
        try {
          const job = await finished('/v1/style-transfers', { method: 'fast', content: photo, style, size: SIZE });
          setState({ path: outputPath(job, job.outputs[0]), ms: performance.now() - started, error: null, busy: false });
          const before = last.current;
          last.current = job.id;
          if (before) setTimeout(() => remove(`/v1/jobs/${before}`).catch(() => undefined), 5000); // its image may still be shown
        } catch (error) {
          setState((old) => ({ ...old, error, busy: false }));
        }
      }
      running.current = false;
    })();
  }, [vector, photo]);
  return state;
}

/** @param {{vector: number[] | null, photo?: string, change: (c: any) => void, collection: string}} props */
function Painter({ vector, photo, change, collection }) {
  const { path, ms, error, busy } = usePainted(vector, photo);
  const [name, setName] = useState('');
  useEffect(() => {
    if (!photo) tried(async () => change({ photo: await upload(await sample('chelsea')) }));
  }, []);
  const keep = (/** @type {Event} */ event) => {
    event.preventDefault();
    return tried(async () => {
      const made = await finished('/v1/pc-steerings', { collection, content: photo, size: SIZE, start: { vector }, components: [{ component: 0, strengths: [0] }] });
      const output = made.outputs.find(isImage);
      const kept = output ? await post('/v1/styles', { name, job: made.id, output: output.index }) : await post('/v1/styles', { name, vector });
      note(`Kept as “${name}”: it is among the invented styles.`);
      setName('');
      go('style', { photo, style: kept.id });
    });
  };
  return html`
    ${!path && photo && html`<${Media} path=${`/v1/images/${photo}/content`} alt="Photo" />`}
    ${path && html`<div class="painted" aria-busy=${busy ? 'true' : 'false'}><${Media} path=${path} alt="Photo in the style of this place" /></div>`}
    <p class="hint" role="status">${error ? '' : path ? `Painted in ${Math.round(ms)} ms at ${SIZE} px` : 'Choose a place on the map.'}</p>
    ${error && html`<${Failure} error=${error} />`}
    ${path && html`<form class="row" onSubmit=${keep}><input required maxlength="100" placeholder="Name of this style" aria-label="Name of this style" value=${name} onInput=${(/** @type {any} */ e) => setName(e.target.value)} />
      <button class="primary"><${Icon} name="save" /> Keep it</button></form>
      <${CopyRequest} path="/v1/style-transfers" params=${{ method: 'fast', content: photo, style: { vector }, size: 1024 }} />`}
    <details><summary>Another photo</summary><${PhotoInput} onChange=${(/** @type {string} */ id) => change({ photo: id })} /></details>
  `;
}

/** The map as a list, for the keyboard and for looking closely. @param {{ids: number[], members: any, thumb: (i: number) => string | null, title: string, pick: (i: number) => void, clear: any}} props */
function StyleList({ ids, members, thumb, title, pick, clear }) {
  return html`<div class="row spread"><h2>${title}</h2>${clear && html`<button class="small" onClick=${clear}>Clear the lasso</button>`}</div>
    <div class="gallery" role="group" aria-label=${title}>${ids.slice(0, 36).map((i) => html`<button type="button" class="tile" key=${i} title=${members.name(i)} onClick=${() => pick(i)}>
      ${thumb(i) && html`<${Media} lazy path=${thumb(i)} alt="" />`}<span class="name">${members.labels(i) || members.name(i)}</span></button>`)}</div>`;
}
