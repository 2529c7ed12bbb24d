import { EXPRESS_5 } from './express-app.js';
import { expressSuite } from './express-suite.js';

expressSuite(EXPRESS_5);
