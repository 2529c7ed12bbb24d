import { type Guard, problem, type Reply, refuse } from 'gatewarden';

const REFUSED = refuse(
  problem({
    code: 'page-foreign',
    status: 403,
    title: 'Forbidden',
    detail: 'Pages of other origins may not use this service while it has no keys.',
  }),
);

/**
 * Refuses requests that a browser sends for a page of another origin. A service without keys needs this, because any page
 * that its user opens could start jobs. Programs send neither `Origin` nor `Sec-Fetch-Site`.
 */
export const ownPagesOnly: Guard = function ownPagesOnly({ request }): Reply | undefined {
  const [host = ''] = request.fieldLines('host');
  const isOwn =
    request.fieldLines('origin').every((origin) => origin === `http://${host}` || origin === `https://${host}`) &&
    request.fieldLines('sec-fetch-site').every((site) => site === 'same-origin' || site === 'none');
  return isOwn ? undefined : REFUSED;
};
