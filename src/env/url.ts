import { badOption, badSecret, type OptionNames } from '../core/option.js';
import { createSetting, FALLBACK_OPTIONS, type FallbackOptions, type Setting, type Unset } from './setting.js';

/** The options of `url`. */
export interface UrlOptions<Optional extends boolean = boolean> extends FallbackOptions<string, Optional> {
  /** The accepted protocols, without the colon. `['http', 'https']` by default. */
  readonly protocols?: readonly string[] | undefined;
}

const OPTIONS: OptionNames<UrlOptions> = { ...FALLBACK_OPTIONS, protocols: true };
/** A scheme as in RFC 3986, section 3.1, in lower case as `URL` writes it. */
const PROTOCOL = /^[a-z][a-z0-9+.-]*$/;

/**
 * Reads an absolute URL without user name and password. Read a URL that holds a password with `secret`.
 *
 * ```ts
 * url({ protocols: ['redis', 'rediss'], optional: true })
 * ```
 * @throws OptionError for an unknown or bad option
 */
export function url<Optional extends boolean = false>(
  options: UrlOptions<Optional> = {},
): Setting<Unset<string, Optional>> {
  const { protocols = ['http', 'https'] } = options;
  if (!Array.isArray(protocols) || protocols.length === 0 || !protocols.every((name) => PROTOCOL.test(name))) {
    throw badOption('url', 'protocols', "must be a list of protocols such as 'https', without the colon", protocols);
  }
  return createSetting(options, {
    factory: 'url',
    optionNames: OPTIONS,
    read(factory, option, text) {
      const parsed = URL.canParse(text) ? new URL(text) : undefined;
      // No message shows the value: it may hold a password.
      if (parsed === undefined || !protocols.includes(parsed.protocol.slice(0, -1))) {
        const beginnings = protocols.map((name) => `${name}://`).join(' or ');
        throw badSecret(factory, option, `must be a URL that begins with ${beginnings}`);
      }
      if (parsed.username !== '' || parsed.password !== '') {
        throw badSecret(factory, option, 'must not contain a user name or password');
      }
      return text;
    },
  });
}
