export { printable } from '../core/printable.js';
