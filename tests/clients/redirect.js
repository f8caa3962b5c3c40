// Preloaded before a client that names its host in its code: whatever it asks of that host by HTTPS
// goes to the local venue by HTTP. It also gives back what newer versions of Node took away.
'use strict';

const http = require('http');
const https = require('https');
const url = require('url');
const util = require('util');

const host = process.env.EXPRESSNET_HOST;
const venue = new URL(process.env.EXPRESSNET_VENUE);

https.request = (...fields) => {
  const asked = typeof fields[0] === 'string' ? url.parse(fields[0]) : fields[0];
  if (asked.hostname !== host) {
    throw new Error(`asked ${asked.hostname} instead of ${host}`);
  }
  const moved = {
    ...asked,
    protocol: 'http:',
    host: venue.hostname,
    hostname: venue.hostname,
    port: venue.port,
  };
  return http.request(moved, ...fields.slice(1));
};

// Gone since Node 23.
if (!util.isDate) {
  util.isDate = (value) => value instanceof Date;
}
