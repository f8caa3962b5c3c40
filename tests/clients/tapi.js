// The steps that both clients of BTC-e take. A driver hands in the methods of its package, each
// answering with the whole reply of the exchange.
'use strict';

const {
  START, check, fee, isNear, isRising, refusal, same, step, sum, times, units, until,
} = require('./steps.js');

const PAIR = 'btc_usd';

async function trade(client) {
  const percent = await market(client);
  await info(client);
  await rest(client);
  await fill(client, 'buy', percent);
  await fill(client, 'sell', percent);
  await refused(client);
}

async function market(client) {
  const trades = await until('trades', async () => {
    const rows = await client.trades(PAIR);
    return rows.length > 0 && rows;
  });
  for (const row of trades) {
    isNear(units(row.price), 'price of a trade');
    check(row.amount > 0 && row.tid > 0, `trade ${JSON.stringify(row)}`);
    same(`${row.item}/${row.price_currency}`, 'BTC/USD', 'market of a trade');
    check(['bid', 'ask'].includes(row.trade_type), `trade_type ${row.trade_type}`);
  }
  const ids = trades.map((row) => row.tid);
  check(ids.every((id, at) => at === 0 || id < ids[at - 1]), 'newest is not first');
  step('trades', trades[0]);

  const { ticker } = await client.ticker(PAIR);
  // A client buys at `buy`: here it is the best ask.
  check(ticker.sell < ticker.buy, `sell ${ticker.sell} is not below buy ${ticker.buy}`);
  for (const name of ['buy', 'sell', 'last', 'high', 'low', 'avg']) {
    isNear(units(ticker[name]), name);
  }
  check(ticker.low <= ticker.last && ticker.last <= ticker.high, 'last is outside the day');
  check(Math.abs(ticker.server_time - Date.now() / 1000) < 60, `time ${ticker.server_time}`);
  step('ticker', ticker);

  const depth = await client.depth(PAIR);
  const [bids, asks] = [depth.bids, depth.asks].map((side) => side.map((row) => units(row[0])));
  isRising(asks, 'asks');
  isRising([...bids].reverse(), 'bids, from the worst');
  check(bids[0] < asks[0], 'the book is crossed');
  check(depth.asks.concat(depth.bids).every((row) => row[1] > 0), 'an empty level');
  step('depth', { bid: depth.bids[0], ask: depth.asks[0] });

  const { trade: percent } = await client.fee(PAIR);
  same(percent, 0.2, 'fee');
  step('fee', percent);
  return units(percent);
}

async function account(client) {
  const { return: got } = await client.info();
  return { btc: units(got.funds.btc), usd: units(got.funds.usd), got };
}

async function info(client) {
  const { btc, usd, got } = await account(client);
  same(btc, START.btc, 'BTC');
  same(usd, START.usd, 'USD');
  same(got.rights.info, 1, 'right to look');
  same(got.rights.trade, 1, 'right to trade');
  same(got.open_orders, 0, 'open orders');
  step('info', got);
}

async function rest(client) {
  const { return: placed } = await client.trade(PAIR, 'buy', 50.25, 0.2);
  const id = placed.order_id;
  check(Number.isInteger(id) && id > 0, `order_id ${id}`);
  same(placed.received, 0, 'received');
  same(placed.remains, 0.2, 'remains');
  same(units(placed.funds.usd), START.usd - units('10.05'), 'USD without the hold');
  step('place', placed);

  const { return: orders } = await client.orders(PAIR);
  same(Object.keys(orders).join(), String(id), 'open orders');
  const row = orders[id];
  same(row.pair, PAIR, 'pair');
  same(row.type, 'buy', 'type');
  same(row.amount, 0.2, 'amount');
  same(row.rate, 50.25, 'rate');
  same(row.status, 0, 'status');
  step('list', orders);

  const held = await account(client);
  same(held.usd, START.usd - units('10.05'), 'USD without the hold');
  same(held.got.open_orders, 1, 'open orders');

  const { return: cancelled } = await client.cancel(id);
  same(cancelled.order_id, id, 'order_id of what is cancelled');
  same(units(cancelled.funds.usd), START.usd, 'USD');
  step('cancel', cancelled);

  const none = await refusal(client.orders(PAIR));
  same(none.message, 'no orders', 'list of no orders');
  const { return: known } = await client.order(id);
  same(known[id].status, 2, 'status of a cancelled order');
  same(known[id].start_amount, 0.2, 'start_amount');
  step('gone', { list: none.message, order: known[id] });
}

// Places an order that crosses the book, and follows its money to the last unit.
async function fill(client, type, percent) {
  const before = await account(client);
  const { return: placed } = await client.trade(PAIR, type, type === 'buy' ? 110 : 90, 0.05);
  same(placed.received, 0.05, 'received');
  same(placed.remains, 0, 'remains');
  same(placed.order_id, 0, 'order_id where nothing rests');

  const { return: history } = await client.history(PAIR);
  const newest = Math.max(...Object.values(history).map((row) => row.order_id));
  const rows = Object.values(history).filter((row) => row.order_id === newest);
  for (const row of rows) {
    same(row.pair, PAIR, 'pair');
    same(row.type, type, 'type');
    same(row.is_your_order, 0, 'is_your_order of who takes');
    isNear(units(row.rate), 'rate');
  }
  const amounts = rows.map((row) => units(row.amount));
  const totals = rows.map((row) => times(units(row.rate), units(row.amount)));
  same(sum(amounts), units('0.05'), 'sum of the trades');

  // The fee is in what one gets.
  const [gotBtc, gotUsd] = type === 'buy'
    ? [sum(amounts) - fee(sum(amounts), percent), -sum(totals)]
    : [-sum(amounts), sum(totals) - fee(sum(totals), percent)];
  const after = await account(client);
  same(after.btc - before.btc, gotBtc, 'BTC moved');
  same(after.usd - before.usd, gotUsd, 'USD moved');
  same(units(placed.funds.btc), after.btc, 'BTC as Trade tells it');
  same(units(placed.funds.usd), after.usd, 'USD as Trade tells it');
  same(after.got.open_orders, 0, 'open orders');
  step(`fill ${type}`, { placed, rows, btc: gotBtc, usd: gotUsd });
}

async function refused(client) {
  const poor = await refusal(client.trade(PAIR, 'buy', 100, 10000));
  same(poor.message, 'It is not enough USD in the account for purchase.', 'refusal');
  const tiny = await refusal(client.trade(PAIR, 'buy', 100, 0.001));
  same(tiny.message, 'Value BTC must be greater than 0.01 BTC.', 'refusal');
  step('refused', [poor.message, tiny.message]);
}

module.exports = { trade };
