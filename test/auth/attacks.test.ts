import { coreAttacks } from '../contracts/auth-attacks.js';

coreAttacks();
