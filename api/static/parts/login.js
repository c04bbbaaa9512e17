/** The dialog that asks for an API key. */
import { html, useEffect, useRef, useState, useStore } from '../base/html.js';
import { asking } from '../base/api.js';

export function Login() {
  const question = useStore(asking);
  return question && html`<${Dialog} key=${question} ...${question} />`;
}

/** @param {{reason: string, done: (key: string | null) => void}} props */
function Dialog({ reason, done }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const [text, setText] = useState('');
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const check = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const given = text.trim();
    if (!/^atl_[0-9a-z]+_./.test(given)) return setProblem('That is not a whole API key: keys begin with atl_, an id and another _.');
    setBusy(true);
    const response = await fetch('/v1/usage', { headers: { Authorization: `Bearer ${given}` } }).catch(() => null);
    setBusy(false);
    if (response?.ok || response?.status === 403) return done(given);
    setProblem(response?.status === 401 ? 'The service does not know this key; it may have expired or been revoked.' : 'The service does not respond. Check that it runs, then try again.');
  };
  const leave = (/** @type {Event} */ event) => (event.preventDefault(), done(null));
  return html`
    <dialog ref=${dialog} aria-label="Log in with an API key" onCancel=${leave}>
      <form onSubmit=${check}>
        <h2>Log in with an API key</h2>
        ${reason && html`<p class="message warn">${reason} Enter another one; what you did stays here.</p>`}
        <p class="hint">Whoever runs this service makes keys with <code>atelier-admin keys create NAME</code>. The key is kept
          until you close this tab, and is sent to this service alone.</p>
        <label>API key
          <input type="password" autocomplete="off" required value=${text} placeholder="atl_…"
            aria-describedby=${problem ? 'login-problem' : null} aria-invalid=${problem ? 'true' : null}
            onInput=${(/** @type {any} */ e) => setText(e.target.value)} /></label>
        ${problem && html`<p class="message bad" id="login-problem" role="alert">${problem}</p>`}
        <div class="row end">
          <button type="button" class="plain" onClick=${leave}>Cancel</button>
          <button class="primary" disabled=${busy}>${busy ? 'Checking…' : 'Log in'}</button>
        </div>
      </form>
    </dialog>
  `;
}
