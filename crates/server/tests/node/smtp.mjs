// A mail server for the tests: offers STARTTLS, requires a login, and prints every message as a line of
// JSON. Listens on PORT, or on a free port if it is not set, and prints the port as the first line.
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
// A client that disconnects early must not end the server.
server.on('error', () => {});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(server.server.address().port));
