// Drives the class `yobit` of the package `ccxt`, which has every method. It is given the local
// address, and asks a little more than once a second: its nonce is the second.
'use strict';

const {
  START, account, check, drive, fee, isNear, isRising, load, refusal, same, step, sum, times, units,
  until,
} = require('./steps.js');

const SYMBOL = 'BTC/USD';
const BETWEEN_REQUESTS_MS = 1050;

drive(async () => {
  const ccxt = load('ccxt');
  const { url, key, secret } = account();
  const client = new ccxt.yobit({
    apiKey: key,
    secret,
    rateLimit: BETWEEN_REQUESTS_MS,
    urls: { api: { public: `${url}/api`, private: `${url}/tapi` } },
  });
  const percent = await market(client);
  await info(client);
  await rest(client, ccxt);
  await fill(client, 'buy', percent);
  await fill(client, 'sell', percent);
  await refused(client, ccxt);
});

async function market(client) {
  const markets = await client.loadMarkets();
  same(Object.keys(markets).join(), SYMBOL, 'markets');
  const { limits, precision, taker, active } = markets[SYMBOL];
  same(active, true, 'market is active');
  same(taker, 0.002, 'fee');
  same(precision.price, 1e-8, 'step of a price');
  same(limits.amount.min, 0.0001, 'smallest amount');
  step('markets', { limits, precision, taker });

  const trades = await until('trades', async () => {
    const rows = await client.fetchTrades(SYMBOL);
    return rows.length > 0 && rows;
  });
  for (const row of trades) {
    isNear(units(row.price), 'price of a trade');
    check(row.amount > 0 && Number(row.id) > 0, `trade ${JSON.stringify(row.info)}`);
    check(['buy', 'sell'].includes(row.side), `side ${row.side}`);
  }
  step('trades', trades[0].info);

  const ticker = await client.fetchTicker(SYMBOL);
  check(ticker.bid < ticker.ask, `bid ${ticker.bid} is not below ask ${ticker.ask}`);
  for (const name of ['bid', 'ask', 'last', 'high', 'low', 'average']) {
    isNear(units(ticker[name]), name);
  }
  check(Math.abs(ticker.timestamp - Date.now()) < 60000, `time ${ticker.timestamp}`);
  step('ticker', ticker.info);

  const depth = await client.fetchOrderBook(SYMBOL, 20);
  // The client sorts what it gets, so the order is looked at once more in the bare answer.
  const [bids, asks] = [depth.bids, depth.asks].map((side) => side.map((row) => units(row[0])));
  isRising(asks, 'asks');
  isRising([...bids].reverse(), 'bids, from the worst');
  check(bids[0] < asks[0], 'the book is crossed');
  const bare = (await client.publicGetDepthPair({ pair: 'btc_usd' })).btc_usd;
  isRising(bare.asks.map((row) => units(row[0])), 'bare asks');
  isRising(bare.bids.map((row) => units(row[0])).reverse(), 'bare bids, from the worst');
  step('depth', { bid: depth.bids[0], ask: depth.asks[0] });
  return units(taker * 100);
}

// Asks for the account: what is free, and what it has with what orders hold.
async function balance(client) {
  const { BTC, USD, info: got } = await client.fetchBalance();
  same(units(USD.free) + units(USD.used), units(USD.total), 'sum of USD');
  return {
    btc: units(BTC.free), usd: units(USD.free), usdHeld: units(USD.used), got: got.return,
  };
}

async function info(client) {
  const { btc, usd, usdHeld, got } = await balance(client);
  same(btc, START.btc, 'BTC');
  same(usd, START.usd, 'USD');
  same(usdHeld, 0n, 'USD held');
  same(String(got.rights.trade), '1', 'right to trade');
  step('info', got);
}

async function rest(client, ccxt) {
  const placed = await client.createOrder(SYMBOL, 'limit', 'buy', 0.2, 50.25);
  const { id } = placed;
  check(/^[1-9]\d*$/.test(id), `id ${id}`);
  same(placed.status, 'open', 'status');
  same(placed.filled, 0, 'filled');
  same(placed.remaining, 0.2, 'remaining');
  step('place', placed.info);

  const orders = await client.fetchOpenOrders(SYMBOL);
  same(orders.map((order) => order.id).join(), id, 'open orders');
  const [order] = orders;
  same(order.symbol, SYMBOL, 'symbol');
  same(order.side, 'buy', 'side');
  same(order.price, 50.25, 'price');
  same(order.remaining, 0.2, 'remaining');
  same(order.status, 'open', 'status');
  check(Math.abs(order.timestamp - Date.now()) < 60000, `time ${order.timestamp}`);
  step('list', order.info);

  const held = await balance(client);
  same(held.usdHeld, units('10.05'), 'USD held');
  same(held.usd, START.usd - units('10.05'), 'USD without the hold');

  const cancelled = await client.cancelOrder(id, SYMBOL);
  same(cancelled.id, id, 'id of what is cancelled');
  step('cancel', cancelled.info);

  same((await client.fetchOpenOrders(SYMBOL)).length, 0, 'open orders');
  const known = await client.fetchOrder(id, SYMBOL);
  same(known.status, 'canceled', 'status');
  same(known.amount, 0.2, 'amount');
  const left = await balance(client);
  same(left.usd, START.usd, 'USD');
  same(left.usdHeld, 0n, 'USD held');
  const again = await refusal(client.cancelOrder(id, SYMBOL));
  check(again instanceof ccxt.OrderNotFound, `refusal ${again.name}`);
  step('gone', known.info);
}

// Places an order that crosses the book, and follows its money to the last unit.
async function fill(client, side, percent) {
  const before = await balance(client);
  const placed = await client.createOrder(SYMBOL, 'limit', side, 0.05, side === 'buy' ? 110 : 90);
  check(/^[1-9]\d*$/.test(placed.id), `id ${placed.id}`);
  same(placed.status, 'closed', 'status');
  same(placed.filled, 0.05, 'filled');
  same(placed.remaining, 0, 'remaining');
  same((await client.fetchOrder(placed.id, SYMBOL)).status, 'closed', 'status, looked up');

  const all = await client.fetchMyTrades(SYMBOL);
  const rows = all.filter((row) => row.order === placed.id);
  for (const row of rows) {
    same(row.symbol, SYMBOL, 'symbol');
    same(row.side, side, 'side');
    isNear(units(row.price), 'price');
  }
  const amounts = rows.map((row) => units(row.amount));
  const totals = rows.map((row) => times(units(row.price), units(row.amount)));
  same(sum(amounts), units('0.05'), 'sum of the trades');

  // The fee is in what one gets.
  const [gotBtc, gotUsd] = side === 'buy'
    ? [sum(amounts) - fee(sum(amounts), percent), -sum(totals)]
    : [-sum(amounts), sum(totals) - fee(sum(totals), percent)];
  const after = await balance(client);
  same(after.btc - before.btc, gotBtc, 'BTC moved');
  same(after.usd - before.usd, gotUsd, 'USD moved');
  same(after.usdHeld, 0n, 'USD held');
  step(`fill ${side}`, { placed: placed.info, trades: rows.length, btc: gotBtc, usd: gotUsd });
}

async function refused(client, ccxt) {
  const poor = await refusal(client.createOrder(SYMBOL, 'limit', 'buy', 10000, 100));
  check(poor instanceof ccxt.InsufficientFunds, `refusal ${poor.name}: ${poor.message}`);
  const tiny = await refusal(client.createOrder(SYMBOL, 'limit', 'buy', 0.00001, 100));
  check(tiny instanceof ccxt.InvalidOrder, `refusal ${tiny.name}: ${tiny.message}`);
  step('refused', [poor.message, tiny.message]);
}
