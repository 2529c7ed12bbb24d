import GENERAL from './general.lua';
import STRAIGHT from './script.lua';

/** The script, of its two files: general.lua is the body of a function that script.lua calls. */
export const SCRIPT = `local function general(...)\n${GENERAL}\nend\n${STRAIGHT}`;
