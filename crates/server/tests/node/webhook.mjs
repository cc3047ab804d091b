// A receiver of webhooks for the tests: verifies signatures with the standard's own library, and prints
// every request as a line of JSON. ANSWERS holds the statuses to respond with; the last one repeats.
// Listens on PORT, or on a free port if it is not set, and prints the port as the first line.
import http from 'node:http';
import { Webhook } from 'standardwebhooks';

const answers = (process.env.ANSWERS ?? '200').split(',');
const server = http.createServer(async (request, response) => {
  let body = '';
  for await (const piece of request) body += piece;
  let verified = false;
  try {
    verified = Boolean(new Webhook(process.env.SECRET).verify(body, request.headers));
  } catch { /* not verified */ }
  const status = Number(answers.length > 1 ? answers.shift() : answers[0]);
  const id = request.headers['webhook-id'];
  console.log(JSON.stringify({ path: request.url, id, verified, status, body: JSON.parse(body) }));
  response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end('said');
});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(server.address().port));
