import { OptionError } from 'gatewarden';
import { checked, type Setting, url } from 'gatewarden/env';

/** A variable with a URL that paths are appended to. It may be missing. */
export function baseUrl(): Setting<string | undefined> {
  const setting = checked(url({ optional: true }), (text) => {
    if (/[?#]/.test(text ?? '')) throw new OptionError('gatewarden: it must have no query or fragment');
  });
  return { ...setting, read: (name, text) => setting.read(name, text)?.replace(/\/+$/, '') };
}
