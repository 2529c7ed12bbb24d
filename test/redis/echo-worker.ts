/** Answers each message with it and with what `GREETING` says; `'fail'` makes it throw. */
process.on('message', (message) => {
  if (message === 'fail') throw new Error('told to fail');
  process.send?.({ greeting: process.env.GREETING, message });
});
