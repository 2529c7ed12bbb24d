/** The refusals of `gatewarden/operator`, by their stable codes. */
export const OPERATOR_PROBLEMS = {
  'client-suspended': {
    status: 403,
    title: 'Forbidden',
    detail: 'This client is suspended. Ask the operator of this service.',
  },
  'controls-unavailable': {
    status: 503,
    title: 'Service Unavailable',
    detail: 'It cannot be checked right now whether this client may be served. Try again later.',
  },
  'operator-request-malformed': {
    status: 400,
    title: 'Bad Request',
    detail: 'The body must be a JSON object with the members of this action.',
  },
  'operator-request-foreign': {
    status: 403,
    title: 'Forbidden',
    detail: 'Actions are accepted as application/json, and not from the pages of other sites.',
  },
  'operator-action-failed': {
    status: 503,
    title: 'Service Unavailable',
    detail: 'The action could not be done, or not be recorded. Try again.',
  },
  'operator-streams-exceeded': {
    status: 429,
    title: 'Too Many Requests',
    detail: 'Too many operator pages are open. Close one of them.',
  },
} as const;
