import { type Guard, problem, type Reply, refuse } from 'gatewarden';

const REFUSED = refuse(
  problem({
    code: 'page-foreign',
    status: 403,
    title: 'Forbidden',
    detail: 'Pages of this origin may not send bets while no token is set.',
  }),
);

/**
 * Refuses requests that a browser sends for a page whose origin is not in the list. A service without credentials needs
 * this, because any page that its user opens could write to it: CORS only keeps the page from reading the response.
 * Programs send neither `Origin` nor `Sec-Fetch-Site`.
 */
export function refuseForeignPages(allowedOrigins: readonly string[]): Guard {
  return function refuseForeignPages({ request }): Reply | undefined {
    const origins = request.fieldLines('origin');
    // Some requests of a page have no `Origin`. `none` stands for the user, who has typed the address.
    const isAllowed =
      origins.length > 0
        ? origins.every((origin) => allowedOrigins.includes(origin))
        : request.fieldLines('sec-fetch-site').every((site) => site === 'same-origin' || site === 'none');
    return isAllowed ? undefined : REFUSED;
  };
}
