import { type Guard, problem, refuse } from '../../../../src/index.js';

/** Believes what a client says that it is called, apart from a stranger. */
export const identify: Guard = (exchange) => {
  const [id] = exchange.request.fieldLines('x-client');
  if (id === 'stranger') return refuse(problem('credentials-invalid'));
  if (id !== undefined) exchange.principal = { id, scheme: 'test', scopes: [], credentialId: id };
  return undefined;
};
