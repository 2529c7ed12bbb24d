import { coreBearerCases } from '../contracts/auth-cases.js';

coreBearerCases();
