// A certified OpenID Connect provider (oidc-provider for Node.js), for tests/sign_in.rs. Prints its address, reads the address of the program
// that it serves from standard input, and lets in whoever types a name: their groups are what stands behind the `+` of it.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const place = createRequire(`${process.env.GREENROOM_OIDC_PROVIDER}/`).resolve('oidc-provider');
const { default: Provider } = await import(pathToFileURL(place));

let handle = (request, response) => response.writeHead(503).end();
const server = createServer((request, response) => handle(request, response));
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
console.log(issuer);

const [base] = await new Promise((read) => createInterface(process.stdin).once('line', (line) => read([line.trim()])));
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'greenroom',
    client_secret: 'a secret & more',
    redirect_uris: [`${base}/login/oidc/callback`],
    post_logout_redirect_uris: [`${base}/login`],
  }],
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id.split('+')[0], groups: id.split('+').slice(1) }),
  }),
});
handle = provider.callback();
console.log('ready');
