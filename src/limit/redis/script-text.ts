import BOOK from '../../core/redis/book.lua';
import GENERAL from './general.lua';
import STRAIGHT from './script.lua';

/**
 * The script, of its files: general.lua is the body of a function that script.lua calls, and book.lua that of one that
 * general.lua calls.
 */
export const SCRIPT = `local function book(...)\n${BOOK}\nend\nlocal function general(...)\n${GENERAL}\nend\n${STRAIGHT}`;
