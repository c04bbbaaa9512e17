/** What the Studio uses of htm, for `tsc --checkJs`. */
declare const htm: { bind(h: unknown): (strings: TemplateStringsArray, ...values: unknown[]) => any };
export default htm;
