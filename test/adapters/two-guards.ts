import { type Guard, problem, refuse } from '../../src/index.js';

/** Refuses every request, with a header of its own. */
export const refusing: Guard = () => refuse(problem('credentials-missing'), [['WWW-Authenticate', 'Bearer']]);

/** Lets every request pass, and adds two headers to its response. */
export const marking: Guard = (exchange) => {
  exchange.set('X-Guarded', 'yes');
  exchange.append('Vary', 'Origin');
  return undefined;
};
