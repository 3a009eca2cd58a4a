// SPDX-License-Identifier: MIT
// Reads HTTP/1 with Node's own parser, for differential.py: a JSON list of jobs on each line of
// stdin, a list of what was read on each line of stdout. Text is latin-1, bytes are base64.
'use strict';
process.removeAllListeners('warning');
process.on('warning', () => {});

const { HTTPParser, allMethods, methods } = process.binding('http_parser');
const names = allMethods || methods;

function readStream(job) {
  const messages = [];
  const isRequest = job.role === 'request';
  const parser = new HTTPParser();
  let headers = [];
  let url = '';
  let message = null;
  let finals = 0;

  parser.initialize(isRequest ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, 1 << 20, 0);
  parser[HTTPParser.kOnMessageBegin | 0] = () => {};
  parser[HTTPParser.kOnHeaders | 0] = (more, moreUrl) => {
    // In front of a head's end a part of it; behind, trailers.
    if (message) {
      message.trailers.push(...more);
    } else {
      headers.push(...more);
      url += moreUrl || '';
    }
  };
  parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, list, method, target, status) => {
    message = {
      method: isRequest ? names[method] : null,
      target: target === undefined ? url : target,
      status: status || 0,
      version: `${major}.${minor}`,
      headers: list === undefined ? headers : list,
      trailers: [],
      body: [],
      complete: false,
    };
    headers = [];
    url = '';
    messages.push(message);
    if (isRequest) return 0;
    const to = job.methods[finals] || 'GET';
    if (message.status >= 200 || message.status === 101) finals++;
    if (to === 'HEAD') return 1;
    return to === 'CONNECT' && message.status >= 200 && message.status < 300 ? 2 : 0;
  };
  parser[HTTPParser.kOnBody | 0] = (data, at, length) => {
    message.body.push(Buffer.from(length === undefined ? data : data.subarray(at, at + length)));
  };
  parser[HTTPParser.kOnMessageComplete | 0] = () => {
    message.complete = true;
    message = null;
  };

  const data = Buffer.from(job.data, 'base64');
  let error = null;
  let taken = parser.execute(data);
  if (taken instanceof Error) {
    error = taken.code;
  } else if (taken === data.length && job.eof) {
    const result = parser.finish();
    if (result instanceof Error) error = result.code;
  }
  if (typeof taken !== 'number') taken = taken.bytesParsed;
  for (const one of messages) one.body = Buffer.concat(one.body).toString('base64');
  parser.close();
  return { messages, error, rest: data.length - taken, begun: message !== null };
}

require('readline')
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    process.stdout.write(JSON.stringify(JSON.parse(line).map(readStream)) + '\n');
  });
