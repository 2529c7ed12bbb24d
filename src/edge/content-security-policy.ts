import { badOption, checkOptionNames, OptionError } from '../core/option.js';

/** Every directive of Content Security Policy Level 3, and those that browsers know beside it. */
const DIRECTIVES = [
  'default-src',
  'script-src',
  'script-src-elem',
  'script-src-attr',
  'style-src',
  'style-src-elem',
  'style-src-attr',
  'img-src',
  'font-src',
  'connect-src',
  'media-src',
  'object-src',
  'frame-src',
  'child-src',
  'worker-src',
  'manifest-src',
  'prefetch-src',
  'fenced-frame-src',
  'base-uri',
  'form-action',
  'frame-ancestors',
  'navigate-to',
  'sandbox',
  'report-to',
  'report-uri',
  'require-trusted-types-for',
  'trusted-types',
  'upgrade-insecure-requests',
  'block-all-mixed-content',
] as const;

type KebabName = (typeof DIRECTIVES)[number];
type Camel<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : Name;

/**
 * The directives of a Content-Security-Policy, such as `{ defaultSrc: ["'self'"], imgSrc: ["'self'", 'data:'] }`. Names are
 * written as in helmet or as in the header. A value is one source, a list of sources, or `true` for a directive without a
 * value. `false` omits the directive.
 */
export type CspDirectives = {
  readonly [Name in KebabName | Camel<KebabName>]?: string | readonly string[] | boolean | undefined;
};

const FACTORY = 'securityHeaders';
const OPTION = 'contentSecurityPolicy';
/** The name of each directive, by each way to write it. */
const NAMES: Readonly<Record<string, string>> = Object.fromEntries(
  DIRECTIVES.flatMap((name) => [
    [name, name],
    [name.replace(/-([a-z])/g, (_dash, letter: string) => letter.toUpperCase()), name],
  ]),
);
/** Visible ASCII without the characters that end a source, a directive or a policy. */
const SOURCE = /^[\x21-\x2b\x2d-\x3a\x3c-\x7e]+$/;
/** Words that have a meaning only in single quotes. Without them, they are names of hosts. */
const KEYWORD =
  /^(?:self|none|unsafe-inline|unsafe-eval|unsafe-hashes|wasm-unsafe-eval|strict-dynamic|report-sample|nonce-.*|sha(?:256|384|512)-.*)$/i;
/** Directives whose values are other words, which may be equal to a keyword. */
const OTHER_WORDS: readonly string[] = ['sandbox', 'report-to', 'report-uri', 'trusted-types'];

/**
 * Builds a policy from its directives.
 * @throws OptionError for an unknown directive, one that is written twice, a source with white space, `;` or `,`, a keyword
 * without its quotes, or no directive at all
 */
export function contentSecurityPolicy(policy: { readonly directives: CspDirectives }): string {
  checkOptionNames(`${FACTORY} "${OPTION}"`, policy, { directives: true });
  const option = `${OPTION}.directives`;
  checkOptionNames(`${FACTORY} "${option}"`, policy.directives, NAMES);
  const parts = new Map<string, string>();
  for (const [written, value] of Object.entries(policy.directives)) {
    const name = NAMES[written];
    if (name === undefined || value === undefined || value === false) continue;
    if (parts.has(name)) throw new OptionError(`gatewarden: ${FACTORY} "${option}" has the directive ${name} twice`);
    const sources = value === true ? [] : sourcesOf(`${option}.${written}`, name, value);
    parts.set(name, [name, ...sources].join(' '));
  }
  if (parts.size === 0) throw new OptionError(`gatewarden: ${FACTORY} "${option}" must have at least one directive`);
  return [...parts.values()].join('; ');
}

function sourcesOf(option: string, name: string, value: unknown): readonly string[] {
  const sources: readonly unknown[] = Array.isArray(value) ? value : [value];
  return sources.map((source) => {
    if (typeof source !== 'string' || !SOURCE.test(source)) {
      const rule = 'must be a source or a list of them, each of visible ASCII without spaces, ";" and ","';
      throw badOption(FACTORY, option, rule, source);
    }
    if (KEYWORD.test(source) && !OTHER_WORDS.includes(name)) {
      throw badOption(FACTORY, option, 'must have its keywords in single quotes', source, `write "'${source}'"`);
    }
    return source;
  });
}
