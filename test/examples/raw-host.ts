import { request } from 'node:http';
import { text } from 'node:stream/consumers';

export interface RawResponse {
  readonly status: number | undefined;
  readonly body: string;
}

/** Sends a request with any `Host`, which `fetch` does not allow, and with its path as it is. */
export function rawRequest(
  origin: string,
  path: string,
  host: string,
  {
    method = 'GET',
    headers = {},
    body = '',
  }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<RawResponse> {
  return new Promise((resolve, reject) => {
    request(origin, { path, method, headers: { ...headers, Host: host } }, async (response) => {
      resolve({ status: response.statusCode, body: await text(response) });
    })
      .once('error', reject)
      .end(body);
  });
}
