/** The frame of every view: navigation, appearance, login and messages. */
import { classes, html, useEffect, useRef, useState, useStore } from '../base/html.js';
import { key, keepKey, online, asking } from '../base/api.js';
import { link, route } from '../base/route.js';
import { Icon } from './icons.js';
import { Login } from './login.js';
import { Notes } from './notes.js';

const VIEWS = [
  { id: 'style', title: 'Style', icon: 'brush', load: () => import('../views/style.js') },
  { id: 'map', title: 'Style map', icon: 'map', load: () => import('../views/map.js') },
  { id: 'collections', title: 'Collections', icon: 'grid', load: () => import('../views/collections.js') },
  { id: 'generate', title: 'Generate', icon: 'spark', load: () => import('../views/generate.js') },
  { id: 'compare', title: 'Compare', icon: 'compare', load: () => import('../views/compare.js') },
  { id: 'train', title: 'Train', icon: 'chart', load: () => import('../views/train.js') },
  { id: 'jobs', title: 'Jobs', icon: 'list', load: () => import('../views/jobs.js') },
  { id: 'models', title: 'Models', icon: 'box', load: () => import('../views/models.js') },
];
const THEMES = { auto: 'As the system', light: 'Light', dark: 'Dark' };

export function App() {
  const { view } = useStore(route);
  const found = VIEWS.find((each) => each.id === view);
  const loaded = useView(found);
  const main = useRef(/** @type {HTMLElement | null} */ (null));
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${found?.title ?? 'Not found'} · Atelier Studio`;
    if (!isFirst.current) main.current?.focus({ preventScroll: true });
    isFirst.current = false;
  }, [view]);
  return html`
    <a class="skip" href="#main" onClick=${(/** @type {Event} */ e) => (e.preventDefault(), main.current?.focus())}>Skip to content</a>
    <${Bar} current=${view} />
    <main id="main" tabindex="-1" ref=${main}>
      <${Offline} />
      ${loaded.View && html`<${loaded.View} key=${view} />`}
      ${loaded.failed && html`<p class="message bad" role="alert">This view did not load. <a href=${location.href} onClick=${() => location.reload()}>Load the page again.</a></p>`}
      ${!found && html`<h1>Not found</h1><p>There is no view called “${view}”. <a href="#/style">Go to Style</a></p>`}
    </main>
    <${Login} />
    <${Notes} />
  `;
}

/** Loads the module of a view when it is shown first. @param {typeof VIEWS[0] | undefined} found */
function useView(found) {
  const [state, setState] = useState({ id: '', View: /** @type {any} */ (null), failed: false });
  useEffect(() => {
    let current = true;
    found?.load().then(
      (module) => current && setState({ id: found.id, View: module.default, failed: false }),
      () => current && setState({ id: found.id, View: null, failed: true }),
    );
    return () => {
      current = false;
    };
  }, [found?.id]);
  return state.id === found?.id ? state : { id: '', View: null, failed: false };
}

/** @param {{current: string}} props */
function Bar({ current }) {
  const nav = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => nav.current?.querySelector('.on')?.scrollIntoView({ block: 'nearest', inline: 'center' }), [current]);
  return html`
    <header class="bar">
      <a class="brand" href="#/style"><${Icon} name="atelier" /> <span>Atelier <b>Studio</b></span></a>
      <nav aria-label="Views" ref=${nav}>
        ${VIEWS.map(
          (each) => html`<a key=${each.id} href=${link(each.id)} class=${classes(each.id === current && 'on')}
            aria-current=${each.id === current ? 'page' : null}><${Icon} name=${each.icon} /> <span>${each.title}</span></a>`,
        )}
      </nav>
      <div class="bar-end">
        <${Theme} />
        <${KeyButton} />
        <a class="quiet" href="./docs" title="Documentation of the API"><${Icon} name="book" /><span>API</span></a>
      </div>
    </header>
  `;
}

function Theme() {
  const [theme, setTheme] = useState(localStorage.getItem('atelier.theme') || 'auto');
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem('atelier.theme', theme);
  }, [theme]);
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(theme) + 1) % names.length];
  const label = `Appearance: ${THEMES[/** @type {'auto'} */ (theme)]}. Change to: ${THEMES[/** @type {'auto'} */ (next)]}`;
  return html`<button class="quiet" title=${label} aria-label=${label} onClick=${() => setTheme(next)}><${Icon} name=${theme} /></button>`;
}

function KeyButton() {
  const text = useStore(key);
  const ask = () => asking.set({ reason: '', done: (given) => (given && keepKey(given), asking.set(null)) });
  const act = () => (text ? (keepKey(''), location.reload()) : ask());
  return html`<button class="quiet" onClick=${act} title=${text ? 'Forget the key of this session' : 'Log in with an API key'}>
    <${Icon} name="key" /><span>${text ? 'Log out' : 'Log in'}</span></button>`;
}

function Offline() {
  return useStore(online) ? null : html`<p class="message bad" role="status">The service does not respond at the moment. What you did stays here.</p>`;
}
