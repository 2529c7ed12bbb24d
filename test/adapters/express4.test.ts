import { EXPRESS_4 } from './express-app.js';
import { expressSuite } from './express-suite.js';

expressSuite(EXPRESS_4);
