// An OpenID Connect provider as a process of its own: node provider.mjs FOLDER MODULES
// FOLDER holds tls.key, tls.crt and keys.json (private signing keys). Prints its address; `rotate` on standard input reads keys.json again.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { join } from 'node:path';

const [folder, modules] = process.argv.slice(2);
const { Provider } = await import(join(modules, 'oidc-provider', 'lib', 'index.js'));
const API = 'https://epm.example.com/api';

const groups = { alice: ['epm-admins', 'everyone'], bob: ['everyone'] };

function provider(issuer) {
  const keys = JSON.parse(readFileSync(join(folder, 'keys.json'), 'utf8')).keys;
  const made = new Provider(issuer, {
    jwks: { keys },
    clients: [
      {
        client_id: 'epm-cli',
        token_endpoint_auth_method: 'none',
        application_type: 'native',
        grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
        redirect_uris: [],
        response_types: [],
        id_token_signed_response_alg: keys[0].alg,
      },
    ],
    cookies: { keys: ['a secret of the tests'] },
    conformIdTokenClaims: false,
    scopes: ['openid', 'offline_access', 'profile', 'email'],
    claims: { openid: ['sub', 'groups'], email: ['email', 'email_verified'], profile: ['name'] },
    findAccount: (ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, groups: groups[id] ?? [], email: `${id}@example.com`, email_verified: true }),
    }),
    extraTokenClaims: (ctx, token) => ({ groups: groups[token.accountId] ?? [] }),
    features: {
      deviceFlow: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'openid',
          audience: API,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 300,
          jwt: { sign: { alg: keys[0].alg } },
        }),
      },
    },
    ttl: { IdToken: Number(process.env.TOKEN_SECONDS ?? 300), AccessToken: 300, DeviceCode: 60, Grant: 600, Session: 600, Interaction: 60, RefreshToken: 600 },
  });
  made.use(async (ctx, next) => {
    await next();
    if (ctx.oidc?.route === 'device_authorization') ctx.body.interval = 1;
  });
  return made;
}

const tls = { key: readFileSync(join(folder, 'tls.key')), cert: readFileSync(join(folder, 'tls.crt')) };
let answer;
const server = createServer(tls, (request, response) => answer(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `https://127.0.0.1:${server.address().port}`;
  answer = provider(issuer).callback();
  console.log(`issuer ${issuer}`);
  createInterface({ input: process.stdin })
    .on('line', () => {
      answer = provider(issuer).callback();
      console.log('rotated');
    })
    .on('close', () => process.exit(0));
});
