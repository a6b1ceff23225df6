// The interoperability suite's wallet on Node.js's http2. See ../../README.md for what every wallet does.
import { createHmac } from 'node:crypto';
import { openSync, readFileSync, writeSync } from 'node:fs';
import http2 from 'node:http2';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

const { env } = process;
const ledger = openSync(env.INTEROP_LEDGER, 'a');

/** Names what is wrong with a request; "-" for nothing. */
function fault(headers, body) {
  if (headers['content-length'] !== String(body.length)) return 'content-length';
  if (headers.authorization !== env.INTEROP_AUTHORIZATION) return 'authorization';
  const signature = createHmac('sha256', env.INTEROP_PRIVATE_KEY).update(body).digest('hex');
  return headers['x-request-signature'] === signature ? '-' : 'signature';
}

async function answer(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  if (request.method !== 'POST' || request.url !== '/api/wallet/terminate') {
    response.writeHead(404).end();
    return;
  }
  const body = Buffer.concat(chunks);
  const text = body.toString();
  const token = /"token":"([^"]*)"/.exec(text)?.[1] ?? 'none';
  const wrong = fault(request.headers, body);
  writeSync(ledger, `${token} ${wrong} ${body.toString('base64')}\n`);
  if (wrong === '-' && token.includes('slow')) await sleep(1000 * Number(env.INTEROP_SLOW_S));
  // The bridge has given the call up: there is no one to answer.
  if (response.stream.destroyed) return;
  response.writeHead(wrong === '-' ? 200 : 401, { 'content-type': 'application/json' });
  response.end(
    wrong === '-'
      ? `{"code":1,"status":true,"message":"","request_id":"r","balance":1.50,${text.slice(1)}`
      : '{"code":3,"status":false,"message":"refused"}',
  );
}

const odd = { headerTableSize: 0, initialWindowSize: 1, maxConcurrentStreams: 1, maxFrameSize: 16384, maxHeaderListSize: 2048 };
const options = { settings: env.INTEROP_ODD ? odd : {} };
const server = env.INTEROP_CERTIFICATE
  ? http2.createSecureServer({ ...options, cert: readFileSync(env.INTEROP_CERTIFICATE), key: readFileSync(env.INTEROP_KEY) })
  : http2.createServer(options);
const sessions = new Set();
server.on('request', (request, response) => {
  answer(request, response).catch((error) => {
    // What is left of a stream that was reset in the middle of its request.
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE' && error.code !== 'ECONNRESET') throw error;
  });
});
server.on('sessionError', (error) => console.error(String(error)));
server.on('session', (session) => {
  sessions.add(session);
  session.on('close', () => sessions.delete(session));
  const idle = 1000 * Number(env.INTEROP_IDLE_S);
  if (idle) session.setTimeout(idle, () => session.close());
});
process.on('SIGTERM', () => {
  server.close();
  for (const session of sessions) session.close();
});
// Descriptor 0 is the listening socket that the suite hands over.
server.listen({ fd: 0 }, () => console.log('ready'));
