// Drives the package `mtgox`: version 1 of the API. It has methods for ticker, depth, orders, order
// and cancel; account, trades and fills go through its `query`.
'use strict';

const {
  START, account, call, check, drive, fee, isNear, isRising, load, refusal, same, step, sum, text,
  times, units, until,
} = require('./steps.js');

const MARKET = 'BTCUSD';
// The smallest unit of dollars there.
const USD_STEP = 1000n;

drive(async () => {
  const MtGox = load('mtgox');
  const { url, key, secret } = account();
  const client = new MtGox({ url: `${url}/api`, key, secret });
  await market(client);
  const percent = await info(client);
  await rest(client);
  await fill(client, 'bid', percent);
  await fill(client, 'ask', percent);
  await refused(client);
});

async function market(client) {
  const trades = await until('trades', async () => {
    const rows = await call(client, 'query', `/1/${MARKET}/trades`);
    return rows.length > 0 && rows;
  });
  for (const trade of trades) {
    isNear(units(trade.price), 'price of a trade');
    same(BigInt(trade.price_int) * USD_STEP, units(trade.price), 'price_int');
    same(BigInt(trade.amount_int), units(trade.amount), 'amount_int');
    check(['bid', 'ask'].includes(trade.trade_type), `trade_type ${trade.trade_type}`);
  }
  step('trades', trades[0]);

  const ticker = await call(client, 'market', MARKET);
  const [bid, ask] = [units(ticker.bid), units(ticker.ask)];
  check(bid < ask, `bid ${ticker.bid} is not below ask ${ticker.ask}`);
  isNear(bid, 'bid');
  isNear(ask, 'ask');
  isNear(units(ticker.last), 'last');
  const now = ticker.timestamp / 1000;
  check(Math.abs(now - Date.now()) < 60000, `timestamp ${ticker.timestamp}`);
  step('ticker', ticker);

  const depth = await call(client, 'depth', MARKET);
  const [bids, asks] = [depth.bids, depth.asks].map((side) => side.map((row) => units(row.price)));
  isRising(bids, 'bids');
  // The client turns them round, as the venue lists both sides by rising price.
  asks.reverse();
  isRising(asks, 'asks');
  check(bids[bids.length - 1] < asks[0], 'the book is crossed');
  check(depth.asks.every((row) => units(row.volume) > 0n), 'an empty level');
  step('depth', { bid: depth.bids.pop(), ask: depth.asks.pop() });
}

// Asks for the account, whose wallets show what orders hold beside the balance.
async function wallets(client) {
  const got = await call(client, 'query', '/1/generic/private/info');
  const count = (amount, divisor) => {
    const exact = BigInt(amount.value_int) * divisor;
    same(units(amount.value), exact, `${amount.currency} and its integer`);
    return exact;
  };
  const { BTC, USD } = got.Wallets;
  return {
    btc: count(BTC.Balance, 1n),
    usd: count(USD.Balance, USD_STEP),
    usdHeld: count(USD.Open_Orders, USD_STEP),
    fee: units(got.Trade_Fee),
    rights: got.Rights,
  };
}

async function info(client) {
  const has = await wallets(client);
  same(has.btc, START.btc, 'BTC');
  same(has.usd, START.usd, 'USD');
  same(has.usdHeld, 0n, 'USD held');
  check(has.rights.includes('trade'), 'no right to trade');
  step('info', has);
  return has.fee;
}

async function rest(client) {
  const id = await call(client, 'order', {
    market: MARKET, side: 'bid', price: '50.25', volume: '0.2',
  });
  check(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id), `order id ${id}`);
  step('place', id);

  const listed = await until('the order in the list', async () => {
    const orders = await call(client, 'orders');
    return orders.find((order) => order.id === id);
  });
  same(listed.side, 'bid', 'side');
  same(listed.market, MARKET, 'market');
  same(units(listed.price), units('50.25'), 'price');
  same(units(listed.volume), units('0.2'), 'volume');
  step('list', listed);

  const has = await until('the hold', async () => {
    const seen = await wallets(client);
    return seen.usdHeld > 0n && seen;
  });
  same(has.usdHeld, units('10.05'), 'USD held');
  same(has.usd, START.usd, 'USD, which counts what is held');

  const reply = await call(client, 'cancel', id);
  same(reply.oid, id, 'id of what is cancelled');
  check(reply.qid, 'no number in the queue');
  step('cancel', reply);

  await until('the end of the order', async () => {
    const orders = await call(client, 'orders');
    return orders.length === 0;
  });
  const left = await wallets(client);
  same(left.usdHeld, 0n, 'USD held');
  same(left.usd, START.usd, 'USD');
  step('gone', left);
}

// Places an order that crosses the book, and follows its money to the last unit.
async function fill(client, side, percent) {
  const before = await wallets(client);
  const price = side === 'bid' ? '110' : '90';
  const id = await call(client, 'order', { market: MARKET, side, price, volume: '0.05' });
  const result = await until('the fill', async () => {
    try {
      const got = await call(client, 'query', '/1/generic/private/order/result', {
        type: side, order: id,
      });
      return units(got.total_amount.value) === units('0.05') && got;
    } catch (error) {
      // Before its first fill an order has no result.
      same(error.message, 'Order not found', 'refusal');
      return undefined;
    }
  });
  for (const row of result.trades) {
    isNear(units(row.price.value), 'price');
    const exact = times(units(row.price.value), units(row.amount.value));
    const gap = units(row.spent.value) - exact;
    check(gap > -USD_STEP && gap < USD_STEP, `spent ${row.spent.value} for ${text(exact)}`);
  }
  const amounts = result.trades.map((row) => units(row.amount.value));
  const totals = result.trades.map((row) => units(row.spent.value));
  same(sum(amounts), units(result.total_amount.value), 'sum of the amounts');
  same(sum(totals), units(result.total_spent.value), 'sum of what was spent');

  // The buyer pays the fee in coins, the seller in dollars.
  const [gotBtc, gotUsd] = side === 'bid'
    ? [sum(amounts.map((amount) => amount - fee(amount, percent))), -sum(totals)]
    : [-sum(amounts), sum(totals.map((total) => total - fee(total, percent, USD_STEP)))];
  const after = await wallets(client);
  same(after.btc - before.btc, gotBtc, 'BTC moved');
  same(after.usd - before.usd, gotUsd, 'USD moved');
  same(after.usdHeld, 0n, 'USD held');
  same((await call(client, 'orders')).length, 0, 'open orders');
  step(`fill ${side}`, { id, spent: result.total_spent.value, btc: gotBtc, usd: gotUsd });
}

async function refused(client) {
  const tiny = await refusal(call(client, 'order', {
    market: MARKET, side: 'bid', price: '50', volume: '0.001',
  }));
  same(tiny.message, 'Order amount is too low', 'refusal');
  const unknown = await refusal(call(client, 'cancel', '00000000-0000-4000-8000-000000000000'));
  same(unknown.message, 'Order not found', 'refusal');
  step('refused', [tiny.message, unknown.message]);
}
