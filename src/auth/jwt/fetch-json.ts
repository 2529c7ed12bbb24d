const MAX_BYTES = 262_144;

/**
 * Fetches a small JSON document from a provider. `timeout`, in milliseconds, includes the time to read the body.
 * Redirects are errors: they could lead to a server that the provider does not control. Workers accept no
 * `redirect: 'error'`, so a redirect is an answer here, whose status is not OK.
 */
export async function fetchJson(url: URL, timeout: number, accept: string): Promise<unknown> {
  const response = await fetch(url, {
    redirect: 'manual',
    signal: AbortSignal.timeout(timeout),
    headers: { Accept: accept },
  });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`the provider answered with status ${response.status}`);
  }
  return JSON.parse(await limitedText(response));
}

async function limitedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > MAX_BYTES) throw new Error(`the answer of the provider is larger than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
