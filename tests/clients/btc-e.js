// Drives the package `btc-e`, which has every method. Its own options name the addresses, and the
// nonces: by itself it takes the second, and so can ask once a second only.
'use strict';

const { account, call, drive, load } = require('./steps.js');
const { trade } = require('./tapi.js');

drive(async () => {
  const BTCE = load('btc-e');
  const { url, key, secret } = account();
  let last = Math.floor(Date.now() / 1000);
  const client = new BTCE(key, secret, {
    nonce: () => (last += 1),
    public_url: `${url}/api/2/`,
    tapi_url: `${url}/tapi`,
  });
  await trade({
    ticker: (pair) => call(client, 'ticker', pair),
    depth: (pair) => call(client, 'depth', pair),
    trades: (pair) => call(client, 'trades', pair),
    fee: (pair) => call(client, 'fee', pair),
    info: () => call(client, 'getInfo'),
    trade: (...fields) => call(client, 'trade', ...fields),
    // Without a pair the client sends an empty one.
    orders: () => call(client, 'activeOrders'),
    order: (id) => call(client, 'orderInfo', id),
    cancel: (id) => call(client, 'cancelOrder', id),
    history: (pair) => call(client, 'tradeHistory', { pair }),
  });
});
