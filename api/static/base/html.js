/** What every view imports: preact, its hooks and `html`, the template tag of htm. */
import { h, render, Fragment, createRef } from '../vendor/preact.js';
import { useState, useEffect, useMemo, useRef, useCallback, useLayoutEffect, useId } from '../vendor/hooks.js';
import htm from '../vendor/htm.js';

export const html = htm.bind(h);
export { h, render, Fragment, createRef, useState, useEffect, useMemo, useRef, useCallback, useLayoutEffect, useId };

/**
 * A value that components can subscribe to.
 * @template T
 * @param {T} initial
 */
export function store(initial) {
  let value = initial;
  const listeners = new Set();
  return {
    get: () => value,
    set(/** @type {T} */ next) {
      value = next;
      for (const listener of [...listeners]) listener();
    },
    subscribe(/** @type {() => void} */ listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * The current value of a store; renders again when it changes.
 * @template T
 * @param {{get: () => T, subscribe: (listener: () => void) => () => void}} source
 * @returns {T}
 */
export function useStore(source) {
  const [, again] = useState(0);
  useLayoutEffect(() => source.subscribe(() => again((n) => n + 1)), [source]);
  return source.get();
}

/**
 * Loads something when `inputs` change; an aborted load changes nothing.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {unknown[]} inputs
 * @returns {{value: T | undefined, error: Error | undefined, loading: boolean, reload: () => void}}
 */
export function useLoad(load, inputs) {
  const [state, setState] = useState(/** @type {any} */ ({ loading: true }));
  const [turn, setTurn] = useState(0);
  useLayoutEffect(() => {
    const control = new AbortController();
    setState((/** @type {any} */ old) => ({ ...old, loading: true }));
    load(control.signal).then(
      (value) => control.signal.aborted || setState({ value, loading: false }),
      (error) => control.signal.aborted || setState((/** @type {any} */ old) => ({ ...old, error, loading: false })),
    );
    return () => control.abort();
  }, [...inputs, turn]);
  return { value: state.value, error: state.error, loading: state.loading, reload: () => setTurn((n) => n + 1) };
}

/**
 * Calls `act` once `value` has not changed for `ms`.
 * @template T
 * @param {T} value
 * @param {number} ms
 * @returns {T}
 */
export function useSettled(value, ms) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms);
    return () => clearTimeout(timer);
  }, [JSON.stringify(value), ms]);
  return settled;
}

/** Joins the class names that are set. @param {...(string | false | null | undefined)} names */
export const classes = (...names) => names.filter(Boolean).join(' ');
