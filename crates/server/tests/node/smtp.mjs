// A mail server for the tests: STARTTLS is offered, a login is wanted, and every letter is printed as a line of JSON. PORT is
// its port, any free one when it is not set, and the first line that it prints.
import fs from 'node:fs';
import { SMTPServer } from 'smtp-server';

const server = new SMTPServer({
  secure: process.env.WRAPPED === '1',
  hideSTARTTLS: process.env.PLAIN === '1',
  key: fs.readFileSync(process.env.KEY),
  cert: fs.readFileSync(process.env.CERT),
  authOptional: process.env.PLAIN === '1',
  onAuth({ username, password }, session, done) {
    const known = session.secure && username === 'surefoot' && password === 'pass word';
    done(known ? null : new Error('unknown user'), known ? { user: username } : undefined);
  },
  onData(stream, session, done) {
    let text = '';
    stream.on('data', (piece) => { text += piece; });
    stream.on('end', () => {
      const { mailFrom, rcptTo } = session.envelope;
      const to = rcptTo.map(({ address }) => address);
      console.log(JSON.stringify({ from: mailFrom.address, to, secure: session.secure, user: session.user, text }));
      done(null, 'kept');
    });
  },
});
// A client that breaks off is no reason to end.
server.on('error', () => {});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(server.server.address().port));
