/** Short messages that screen readers announce, such as "Copied". */
import { html, store, useStore } from '../base/html.js';

const notes = store(/** @type {{id: number, text: string, bad: boolean}[]} */ ([]));
let count = 0;

/** Shows a message for some seconds. @param {string} text @param {{bad?: boolean}} [options] */
export function note(text, { bad = false } = {}) {
  const id = ++count;
  notes.set([...notes.get(), { id, text, bad }]);
  setTimeout(() => notes.set(notes.get().filter((each) => each.id !== id)), bad ? 9000 : 3500);
}

/** Runs an action and shows why it failed. @param {() => Promise<unknown>} act */
export const tried = (act) => act().catch((error) => note(error.message, { bad: true }));

export function Notes() {
  return html`<div class="notes" role="status" aria-live="polite">
    ${useStore(notes).map((each) => html`<p key=${each.id} class=${each.bad ? 'bad' : ''}>${each.text}</p>`)}
  </div>`;
}
