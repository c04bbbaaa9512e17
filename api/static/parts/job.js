/** A job: its progress and preview, its errors in words, what can be done with it. */
import { html, useEffect, useState } from '../base/html.js';
import { post } from '../base/api.js';
import { ended } from '../base/follow.js';
import { Icon } from './icons.js';
import { Media } from './media.js';
import { note, tried } from './notes.js';

/** @type {Record<string, string>} */
export const KINDS = {
  'style-transfer': 'Style transfer',
  generation: 'Generation',
  training: 'Training',
  collection: 'Collection',
  'collection-plots': 'Plots',
  'collection-search': 'Search',
  'pc-steering': 'Steering',
  'cluster-sampling': 'Cluster sampling',
  'pc-animation': 'Animation',
  model: 'Model',
};

/** Seconds in words, such as "about 2 min". @param {number} seconds */
export function duration(seconds) {
  if (seconds < 1) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** How long ago a time was, in words. @param {string | null} time */
export function ago(time) {
  if (!time) return '';
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  if (seconds < 60) return 'just now';
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 86_400 ? `${Math.round(seconds / 3600)} h ago` : new Date(time).toLocaleDateString();
}

/** The state of a job as a sentence. @param {any} job */
export function stateOf(job) {
  const { status, progress, queue_position: before } = job;
  if (status === 'queued') return before ? `Waiting for ${before} other ${before === 1 ? 'job' : 'jobs'}` : 'Waiting for a worker';
  if (status === 'running') return progress ? sentence(progress.message) + (progress.total > 1 ? `, ${progress.step} of ${progress.total}` : '') : 'Starting';
  if (status === 'succeeded') return `Done in ${duration(seconds(job))}`;
  return { canceling: 'Canceling', canceled: 'Canceled', expired: 'Expired before a worker was free', failed: 'Failed' }[/** @type {'failed'} */ (status)];
}

/** @param {string} text */
const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) : 'Running');

/** How long a job ran. @param {any} job */
export const seconds = (job) => (Date.parse(job.finished_at ?? new Date().toISOString()) - Date.parse(job.started_at ?? job.created_at)) / 1000;

/** @param {{job: any}} props */
export function Progress({ job }) {
  const fraction = job.status === 'running' ? job.progress?.fraction : undefined;
  const end = job.progress?.estimated_end_at;
  const left = end ? (Date.parse(end) - Date.now()) / 1000 : 0;
  return html`
    <div class="progress">
      <p role="status">${stateOf(job)}${left > 3 && job.status === 'running' ? html` <span class="hint">· about ${duration(left)} left</span>` : ''}</p>
      <progress value=${fraction ?? null} max="1" aria-label="Progress"></progress>
    </div>
  `;
}

/** Shows that a job runs, with its newest preview and a button to cancel. @param {{job: any, preview?: boolean}} props */
export function Running({ job, preview = true }) {
  const shown = preview && job.progress?.preview_url;
  return html`
    <section class="running" aria-label="Running job">
      ${shown && html`<${Media} class="preview" path=${`${shown}?${job.previews ?? 0}`} alt="Preview of the running job" />`}
      <${Progress} job=${job} />
      <${Actions} job=${job} />
    </section>
  `;
}

/** What can be done with a job in its state. @param {{job: any, onRetry?: (job: any) => void}} props */
export function Actions({ job, onRetry }) {
  const [busy, setBusy] = useState(false);
  useEffect(() => setBusy(false), [job.status]);
  const act = (/** @type {string} */ action) => () => {
    setBusy(true);
    return tried(async () => {
      const answer = await post(`/v1/jobs/${job.id}/${action}`);
      if (action === 'retry') onRetry?.(answer);
      if (action === 'cancel') note('The job is canceled at its next step.');
    }).finally(() => setBusy(false));
  };
  if (!ended(job)) {
    const finishes = job.kind === 'training' && job.status === 'running';
    return html`<div class="row">
      ${finishes && html`<button type="button" disabled=${busy} onClick=${act('finish')}><${Icon} name="check" /> Finish now</button>`}
      <button type="button" disabled=${busy || job.status === 'canceling'} onClick=${act('cancel')}><${Icon} name="stop" /> Cancel</button></div>`;
  }
  return onRetry ? html`<button type="button" disabled=${busy} onClick=${act('retry')}><${Icon} name="again" /> ${job.status === 'succeeded' ? 'Run again' : 'Try again'}</button>` : null;
}

/** @type {Record<string, string>} */
const ADVICE = {
  out_of_memory: 'Choose a smaller size.',
  queue_full: 'The queue is full: wait for other jobs to end.',
  worker_lost: 'The worker stopped too often while it ran this job. Trying again may help.',
  internal: 'This is a fault of the service; its log has the details.',
  diverged: 'Lower the learning rate, or continue from the checkpoint with “Try again”.',
};

/** Why a job or a request failed, and what to do. @param {{error: any, job?: any, onRetry?: (job: any) => void}} props */
export function Failure({ error, job, onRetry }) {
  return html`
    <div class="message bad" role="alert">
      <p><b>${job ? 'The job failed.' : 'That did not work.'}</b> ${error.message} ${ADVICE[error.code] ?? ''}</p>
      <p class="hint">Code <code>${error.code}</code>${job ? html` · job <code>${job.id}</code>` : ''}${error.requestId ? html` · request <code>${error.requestId}</code>` : ''}</p>
      ${job && onRetry && html`<${Actions} job=${job} onRetry=${onRetry} />`}
    </div>
  `;
}

/** The warnings of a job. @param {{job: any}} props */
export function Warnings({ job }) {
  const warnings = job?.metrics?.warnings ?? [];
  return warnings.length > 0 && html`<ul class="message warn">${warnings.map((/** @type {any} */ each) => html`<li key=${each.code}>${each.message}</li>`)}</ul>`;
}

/**
 * A job in whatever state it is; `children` shows what it made.
 * @param {{job: any, error?: any, onRetry?: (job: any) => void, preview?: boolean, children?: any}} props
 */
export function JobState({ job, error, onRetry, preview, children }) {
  if (error) return html`<${Failure} error=${error} />`;
  if (!job) return null;
  if (!ended(job)) return html`<${Running} job=${job} preview=${preview} />`;
  if (job.status === 'failed') return html`<${Failure} error=${job.error} job=${job} onRetry=${onRetry} />`;
  if (job.status !== 'succeeded') return html`<div class="message warn"><p>${stateOf(job)}.</p><${Actions} job=${job} onRetry=${onRetry} /></div>`;
  return html`<${Warnings} job=${job} />${children}`;
}
