/** Answers each message with the message and the value of `GREETING`. The message `'fail'` makes it throw. */
process.on('message', (message) => {
  if (message === 'fail') throw new Error('asked to fail');
  process.send?.({ greeting: process.env.GREETING, message });
});
