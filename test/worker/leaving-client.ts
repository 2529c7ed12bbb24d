import { request } from 'node:http';

/** Posts a job. The answer is its status and its body, or `left` if there is none. */
export function postJob(origin: string, body: string): { readonly answer: Promise<string>; leave(): void } {
  const outgoing = request(`${origin}/job`, { method: 'POST', headers: { 'Content-Type': 'text/plain' } });
  const answer = new Promise<string>((resolve) => {
    outgoing.on('error', () => resolve('left'));
    outgoing.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', () => undefined);
      response.on('close', () => resolve(`${response.statusCode} ${text}`));
    });
  });
  outgoing.end(body);
  return { answer, leave: () => outgoing.destroy() };
}
