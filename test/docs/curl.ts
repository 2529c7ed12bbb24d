const WORD = /"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S+)/g;

/** The request that a `curl` line of the documentation sends, at another origin. */
export function requestOf(line: string, origin: string, env: Readonly<Record<string, string>>): Request {
  const words = [...line.matchAll(WORD)].map(([, double, single, bare]) => {
    if (single !== undefined) return single;
    return (double ?? bare ?? '').replace(/\$(\w+)/g, (_, name: string) => env[name] ?? '');
  });
  const headers = new Headers();
  let method: string | undefined;
  let url: URL | undefined;
  let body: string | undefined;
  for (let i = 1; i < words.length; i++) {
    const word = words[i] ?? '';
    if (word === '-i' || word === '-s') continue;
    if (word === '-X') method = words[++i];
    else if (word === '-d') body = words[++i];
    else if (word === '-H') {
      const [name = '', value = ''] = (words[++i] ?? '').split(': ');
      headers.append(name, value);
    } else if (word.startsWith('http')) url = new URL(word);
    else throw new Error(`no curl option that the documentation's tests know: ${word}`);
  }
  if (url === undefined) throw new Error(`a curl line without a URL: ${line}`);
  method ??= body === undefined ? 'GET' : 'POST';
  return new Request(new URL(url.pathname + url.search, origin), {
    method,
    headers,
    ...(body === undefined ? {} : { body }),
  });
}
