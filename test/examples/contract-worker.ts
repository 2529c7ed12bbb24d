import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/** A worker that is ready, whose jobs are answered by `answer`, and that has stopped a job as soon as it is told to. */
export function contractWorker(answer: (request: IncomingMessage, response: ServerResponse) => void): Server {
  return createServer((request, response) => {
    response.setHeader('X-Worker-Instance', 'one');
    if (request.method === 'POST') answer(request, response);
    else if (request.method === 'DELETE') response.end('{"state":"gone"}');
    else response.end('{"ready":true,"instance":"one","slots":1,"jobs":[]}');
  });
}
