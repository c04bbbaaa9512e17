/** Starts the Studio. */
import { html, render } from './base/html.js';
import { App } from './parts/shell.js';

const root = /** @type {HTMLElement} */ (document.getElementById('app'));
root.replaceChildren();
render(html`<${App} />`, root);
