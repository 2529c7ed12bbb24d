/**
 * Settings from environment variables, with types.
 * @module gatewarden/env
 */
export { type Duration, toMilliseconds } from '../core/duration.js';
export { type BooleanOptions, boolean } from './boolean.js';
export { checked } from './checked.js';
export { type ChoiceOptions, choice } from './choice.js';
export { type DurationOptions, duration } from './duration.js';
export { type IntegerOptions, integer, type PortOptions, port } from './integer.js';
export { type ListOptions, list } from './list.js';
export { type DescribedSetting, type Environment, readEnv, type Settings, type Values } from './read-env.js';
export { type SecretOptions, secret } from './secret.js';
export type { FallbackOptions, Setting, Unset } from './setting.js';
export { type SizeOptions, size } from './size.js';
export { type TextOptions, text } from './text.js';
export { type UrlOptions, url } from './url.js';
