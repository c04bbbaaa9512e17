/** Members of a collection as tiles. */
import { html } from '../base/html.js';
import { Media } from './media.js';

/** @param {{ids: number[], members: any, thumb: (i: number) => string | null, pick: (i: number) => void, note?: (i: number) => string}} props */
export function MemberGallery({ ids, members, thumb, pick, note }) {
  return html`<div class="gallery" role="group" aria-label="Members">${ids.map((i) => html`<button type="button" class="tile" key=${i} title=${members.name(i)} onClick=${() => pick(i)}>
    ${thumb(i) ? html`<${Media} lazy path=${thumb(i)} alt=${`Member ${i}`} />` : html`<span class="wordy">${members.name(i)}</span>`}<span class="name">${note ? note(i) : members.labels(i) || `no. ${i}`}</span></button>`)}</div>`;
}
