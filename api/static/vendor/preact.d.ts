/** What the Studio uses of preact, for `tsc --checkJs`. */
export function h(type: unknown, props?: unknown, ...children: unknown[]): any;
export function render(node: unknown, parent: Element): void;
export function createRef<T>(): { current: T | null };
export const Fragment: unknown;
