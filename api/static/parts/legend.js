/** What the colors of a map mean. */
import { html } from '../base/html.js';

/** @param {{items: {title: string, color: string}[]}} props */
export function Legend({ items }) {
  return html`<ul class="legend" aria-label="Colors">${items.map(({ title, color }) => html`<li key=${title}>
    <i ref=${(/** @type {HTMLElement | null} */ each) => each?.style.setProperty('background', color)}></i>${title}</li>`)}</ul>`;
}
