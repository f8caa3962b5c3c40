// Drives the package `btce`. It has every method but OrderInfo, which goes through its `query`; the
// exchange's host stands in its code, so `redirect.js` is loaded before it.
'use strict';

const { account, call, drive, load } = require('./steps.js');
const { trade } = require('./tapi.js');

drive(async () => {
  const BTCE = load('btce');
  const { key, secret } = account();
  const client = new BTCE(key, secret);
  await trade({
    ticker: (pair) => call(client, 'ticker', { pair }),
    depth: (pair) => call(client, 'depth', { pair }),
    trades: (pair) => call(client, 'trades', { pair, count: 20 }),
    fee: (pair) => call(client, 'fee', { pair }),
    info: () => call(client, 'getInfo'),
    trade: (pair, type, rate, amount) => call(client, 'trade', { pair, type, rate, amount }),
    orders: (pair) => call(client, 'activeOrders', { pair }),
    order: (id) => call(client, 'query', 'OrderInfo', { order_id: id }),
    cancel: (id) => call(client, 'cancelOrder', id),
    history: (pair) => call(client, 'tradeHistory', { pair, count: 100, since: new Date(0) }),
  });
});
