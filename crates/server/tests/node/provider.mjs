// An OpenID Connect provider for the tests. The user set last with POST /test/user?login=... is signed
// in without a prompt. Prints its address as the first line.
import http from 'node:http';
import { Provider } from 'oidc-provider';

const groups = { ann: ['platform-admins'], bob: ['developers', 'x'], vic: ['guests'], eve: [] };
let user = 'ann';
let provider;

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname === '/test/user') {
    user = url.searchParams.get('login');
    response.end();
  } else if (url.pathname.startsWith('/interaction/')) {
    interact(request, response).catch((error) => response.writeHead(500).end(String(error)));
  } else {
    provider.callback()(request, response);
  }
});

async function interact(request, response) {
  if (user === 'refused') {
    const refusal = { error: 'access_denied', error_description: 'this user is refused' };
    return provider.interactionFinished(request, response, refusal);
  }
  const { params } = await provider.interactionDetails(request, response);
  const grant = new provider.Grant({ accountId: user, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const result = { login: { accountId: user }, consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, result);
}

server.listen(0, '127.0.0.1', () => {
  const issuer = `http://localhost:${server.address().port}`;
  provider = new Provider(issuer, {
    clients: [{
      client_id: 'surefoot',
      client_secret: 'a-secret-that-only-the-test-knows-0123456789',
      redirect_uris: [process.env.REDIRECT],
      response_types: ['code'],
      grant_types: ['authorization_code'],
      token_endpoint_auth_method: process.env.METHOD ?? 'client_secret_basic',
    }],
    clientAuthMethods: [process.env.METHOD ?? 'client_secret_basic'],
    claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
    conformIdTokenClaims: process.env.CLAIMS !== 'id_token',
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, groups: groups[id] ?? [] }),
    }),
  });
  console.log(issuer);
});
