/** Follows a job by Server-Sent Events, resumed after a drop, and by polling where streams do not get through. */
import { useEffect, useState } from './html.js';
import { ApiError, get, pause, send, submit } from './api.js';

const ENDED = new Set(['succeeded', 'failed', 'canceled', 'expired']);
const MAX_DROPS = 3; // without an event in between; then it polls
const POLL_MS = 1500;
const WAIT_S = 15; // of the answer to a submit
const SILENT_MS = 40_000; // the service sends a comment every 15 s

/** Whether a job has ended. @param {any} job */
export const ended = (job) => ENDED.has(job?.status);

/**
 * Reads the events of a stream: its `id`, `event` and `data`.
 * @param {ReadableStream<Uint8Array>} stream
 * @returns {AsyncGenerator<Record<string, string>>}
 */
export async function* eventsOf(stream) {
  const reader = stream.pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await silent(reader.read());
      if (done) return;
      rest += value.replaceAll('\r\n', '\n');
      const blocks = rest.split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const lines = block.split('\n').filter((line) => line && !line.startsWith(':'));
        const fields = lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trimStart()]);
        if (fields.length) yield Object.fromEntries(fields);
      }
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

/** Ends a wait for a connection that died without a word. @template T @param {Promise<T>} read @returns {Promise<T>} */
function silent(read) {
  let timer = 0;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('silent')), SILENT_MS);
  });
  return /** @type {Promise<T>} */ (Promise.race([read, late])).finally(() => clearTimeout(timer));
}

/**
 * A job after an event of its stream.
 * @param {any} job
 * @param {string} kind
 * @param {any} data
 */
export function after(job, kind, data) {
  if (kind === 'snapshot') return data;
  if (kind === 'status') return { ...job, ...data };
  if (kind === 'progress') return { ...job, progress: { ...job.progress, ...data } };
  if (kind === 'preview') return { ...job, previews: (job.previews || 0) + 1, progress: { ...job.progress, ...data } };
  if (kind === 'output') return { ...job, outputs: [...job.outputs.filter((/** @type {any} */ o) => o.index !== data.index), data] };
  return job;
}

/**
 * Follows a job to its end.
 * @param {any} job
 * @param {(job: any) => void} show
 * @param {AbortSignal} signal
 */
export async function follow(job, show, signal) {
  let drops = 0;
  let last = '';
  while (!ended(job) && drops < MAX_DROPS) {
    try {
      const headers = /** @type {Record<string, string>} */ (last ? { 'Last-Event-ID': last } : {});
      const response = await send(`/v1/jobs/${job.id}/events`, { headers, signal });
      if (response.status === 204 || !response.body) break;
      for await (const event of eventsOf(response.body)) {
        drops = 0;
        last = event.id || last;
        job = after(job, event.event, JSON.parse(event.data));
        if (!ended(job)) show(job);
      }
    } catch (error) {
      if (signal.aborted || (error instanceof ApiError && error.status >= 400 && error.status < 500)) throw error;
    }
    if (!ended(job)) await pause(250 * 2 ** drops++, signal);
  }
  for (;;) {
    try {
      job = { ...(await get(`/v1/jobs/${job.id}`, {}, signal)), previews: (job.previews || 0) + 1 };
      show(job);
      if (ended(job)) return job;
    } catch (error) {
      if (signal.aborted || (error instanceof ApiError && error.status >= 400 && error.status < 500)) throw error;
    }
    await pause(POLL_MS, signal);
  }
}

/**
 * Submits a job and waits for its end, however busy the service is; throws the error of one that does not succeed.
 * @param {string} path
 * @param {Record<string, any>} params
 * @returns {Promise<any>}
 */
export async function finished(path, params) {
  const made = await submit(path, params, { wait: WAIT_S });
  const job = ended(made) ? made : await follow(made, () => undefined, new AbortController().signal);
  if (job.status !== 'succeeded') throw new ApiError(0, job.error ?? { code: job.status, message: `The job was ${job.status} before it ended.` });
  return job;
}

const recent = /** @type {Map<string, any>} */ (new Map());

/** Keeps a job that an answer has shown, so that a view need not ask for it. @param {any} job */
export function remember(job) {
  recent.set(job.id, job);
  if (recent.size > 50) recent.delete(recent.keys().next().value ?? '');
}

/**
 * A job by its id, followed to its end.
 * @param {string | undefined | null} id
 * @returns {{job: any, error: Error | null}}
 */
export function useJob(id) {
  const [state, setState] = useState({ job: /** @type {any} */ (null), error: /** @type {Error | null} */ (null) });
  useEffect(() => {
    if (!id) return setState({ job: null, error: null });
    const control = new AbortController();
    const show = (/** @type {any} */ job) => control.signal.aborted || setState({ job, error: null });
    (async () => {
      const job = recent.get(id) ?? (await get(`/v1/jobs/${id}`, {}, control.signal));
      recent.delete(id);
      show(job);
      if (!ended(job)) await follow(job, show, control.signal);
    })().catch((error) => control.signal.aborted || setState((old) => ({ ...old, error })));
    return () => control.abort();
  }, [id]);
  return state.job && state.job.id !== id ? { job: null, error: state.error } : state;
}
