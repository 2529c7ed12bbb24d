// Express 4 under its alias has no types of its own; what the tests use of it reads the same in both.
declare module 'express4' {
  import express from 'express';
  export = express;
}
