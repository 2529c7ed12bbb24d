export { type Duration, toMilliseconds } from '../core/duration.js';
export { type DescribedSetting, type Environment, readEnv, type Settings, type Values } from './read-env.js';
export {
  boolean,
  checked,
  choice,
  duration,
  integer,
  list,
  port,
  type Setting,
  secret,
  size,
  text,
  type Unset,
  url,
} from './setting.js';
