/** Search by image, by text or by a member; the most isolated members, and near-duplicates. */
import { html, useEffect, useLoad, useState } from '../base/html.js';
import { clean, get, submit } from '../base/api.js';
import { useJob } from '../base/follow.js';
import { useParams } from '../base/route.js';
import { Icon } from '../parts/icons.js';
import { Failure, JobState } from '../parts/job.js';
import { Media, PhotoInput } from '../parts/media.js';
import { MemberGallery } from '../parts/members.js';

/** @param {any} props */
export function Search({ details, members, thumb }) {
  const [params, change] = useParams();
  const [error, setError] = useState(/** @type {any} */ (null));
  const [text, setText] = useState(params.text ?? '');
  const { job, error: lost } = useJob(params.job);
  const run = (/** @type {any} */ query) => (setError(null), submit(`/v1/collections/${details.id}/search`, clean({ ...query, n: 24 }), { wait: 5 }).then((made) => change({ job: made.id }), setError));
  const like = params.like === undefined ? null : Number(params.like);
  useEffect(() => {
    if (like !== null) run({ member: like });
  }, [like]);
  const matches = job?.metrics.matches ?? [];
  const words = (/** @type {Event} */ event) => (event.preventDefault(), change({ text, like: undefined }), run({ text }));
  if (!members) return html`<p class="hint" role="status">Loading the members…</p>`;
  return html`
    <div class="split">
      <section class="panel stack" aria-label="Search for">
        ${like !== null && like < members.n && html`<div class="row">${thumb(like) && html`<${Media} path=${thumb(like)} alt=${`Member ${like}`} />`}<h2>Like ${members.name(like)}</h2></div>`}
        <h2>Like an image</h2>
        <${PhotoInput} label="Image" value=${params.image} onChange=${(/** @type {string} */ image) => (change({ image, like: undefined }), run({ image }))} />
        <form onSubmit=${words}><label>Like a text <input required maxlength="500" placeholder="a smiling woman with glasses" value=${text} onInput=${(/** @type {any} */ e) => setText(e.target.value)} /></label>
          <p class="hint">In spaces that embed texts, such as kandinsky-avatars.</p><button><${Icon} name="search" /> Search</button></form>
      </section>
      <section class="panel stage stack" aria-label="Matches">
        ${error && html`<${Failure} error=${error} />`}
        ${!job && !error && !lost && html`<div class="empty"><h2>The nearest images appear here</h2><p>Drop an image, write a text, or choose “More like it” on the map.</p></div>`}
        <${JobState} job=${job} error=${lost}><${MemberGallery} ids=${matches.map((/** @type {any} */ each) => each.id).filter((/** @type {number} */ i) => i < members.n)} members=${members} thumb=${thumb} pick=${(/** @type {number} */ i) => change({ like: i })}
          note=${(/** @type {number} */ i) => `distance ${matches.find((/** @type {any} */ each) => each.id === i)?.distance.toFixed(2)}`} /><//>
      </section>
    </div>
  `;
}

/** @param {any} props */
export function Oddities({ details, version, members, thumb }) {
  const [params, change] = useParams();
  const threshold = params.within ?? '0.1';
  const path = `/v1/collections/${details.id}`;
  const { value: odd, error } = useLoad((signal) => get(`${path}/members`, { version: version.version, order: 'outlier_score', limit: 24 }, signal), [details.id]);
  const { value: pairs, error: pairsError } = useLoad((signal) => get(`${path}/duplicates`, { version: version.version, threshold, limit: 48 }, signal), [details.id, threshold]);
  if (error || pairsError) return html`<${Failure} error=${error ?? pairsError} />`;
  if (!members || !odd) return html`<p class="hint" role="status">Loading…</p>`;
  const go = (/** @type {number} */ i) => {
    location.hash = `#/collections/${details.id}?member=${i}`;
  };
  return html`
    <section class="panel stack" aria-label="Outliers"><h2>Most isolated</h2>
      <${MemberGallery} ids=${odd.members.map((/** @type {any} */ each) => each.id).filter((/** @type {number} */ i) => i < members.n)} members=${members} thumb=${thumb} pick=${go} note=${(/** @type {number} */ i) => members.outliers[i].toFixed(2)} /></section>
    <section class="panel stack" aria-label="Near-duplicates"><div class="row spread"><h2>Nearly the same${pairs ? `: ${pairs.total} ${pairs.total === 1 ? 'pair' : 'pairs'}` : ''}</h2>
      <label class="inline">within <input type="range" min="0.02" max="0.5" step="0.02" value=${threshold} onChange=${(/** @type {any} */ e) => change({ within: e.target.value })} /> ${threshold}</label></div>
      ${pairs?.total === 0 && html`<p class="hint">No two images are this near to each other.</p>`}
      <div class="pairs">${(pairs?.pairs ?? []).map((/** @type {any} */ each) => html`<div class="pair" key=${each.ids.join()}>${each.ids.map((/** @type {number} */ i) => html`<button type="button" class="tile" key=${i} onClick=${() => go(i)} title=${members.name(i)}>${thumb(i) && html`<${Media} lazy path=${thumb(i)} alt=${`Member ${i}`} />`}</button>`)}<span class="hint">${each.distance.toFixed(3)}</span></div>`)}</div></section>
  `;
}
