/** Links to the parts of a view; the one that is shown is scrolled into sight. */
import { html, useEffect, useRef } from '../base/html.js';

/** @param {{label: string, current: string, tabs: Record<string, string>, to: (id: string) => string}} props */
export function Tabs({ label, current, tabs, to }) {
  const nav = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    const [box, shown] = [nav.current, nav.current?.querySelector('[aria-current]')];
    if (box && shown instanceof HTMLElement) box.scrollLeft = shown.offsetLeft - (box.clientWidth - shown.offsetWidth) / 2;
  }, [current]);
  return html`<nav class="tabs ways" aria-label=${label} ref=${nav}>${Object.entries(tabs).map(([id, title]) => html`<a key=${id} href=${to(id)} aria-current=${id === current ? 'page' : null}>${title}</a>`)}</nav>`;
}
