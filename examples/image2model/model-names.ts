const MAX_LENGTH = 60;
/** Names of devices on Windows. */
const DEVICE = /^(?:con|prn|aux|nul|com\d|lpt\d)$/i;

/**
 * The names of the models of images with these names: letters, digits, dashes and underscores only, `.glb` at the end, and
 * different also where a file system ignores case.
 */
export function modelNames(filenames: readonly string[]): readonly string[] {
  const taken = new Set<string>();
  return filenames.map((filename, i) => {
    const stem = stemOf(filename) || `model-${i + 1}`;
    let name = `${stem}.glb`;
    for (let n = 2; taken.has(name.toLowerCase()); n++) name = `${stem}-${n}.glb`;
    taken.add(name.toLowerCase());
    return name;
  });
}

function stemOf(filename: string): string {
  const stem = filename
    .replace(/\.[^.]*$/, '')
    .replaceAll(/[^A-Za-z0-9_-]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, MAX_LENGTH)
    .replace(/-+$/, '');
  return DEVICE.test(stem) ? `image-${stem}` : stem;
}
