/** What the Studio uses of preact's hooks, for `tsc --checkJs`. */
export function useState<T>(initial: T | (() => T)): [T, (next: T | ((old: T) => T)) => void];
export function useEffect(act: () => void | (() => void), inputs?: unknown[]): void;
export function useLayoutEffect(act: () => void | (() => void), inputs?: unknown[]): void;
export function useMemo<T>(make: () => T, inputs?: unknown[]): T;
export function useCallback<T>(made: T, inputs?: unknown[]): T;
export function useRef<T>(initial: T): { current: T };
export function useId(): string;
