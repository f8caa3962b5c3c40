// What all drivers share: one JSON line for each step, exact sums, an end at the first wrong value.
'use strict';

const path = require('path');

// What the test serves the venue with.
const PRICE = 100;
const START = { btc: units('1000'), usd: units('100000') };

const LOOK_EVERY_MS = 250;
const PATIENCE_MS = 20000;

// Loads the package under test, which must have the version that the lock file names.
function load(name) {
  const folder = path.join(environment('EXPRESSNET_CLIENTS'), name);
  const { version } = require(path.join(folder, 'package.json'));
  const wanted = require('./package.json').dependencies[name];
  same(version, wanted, `version of ${name}`);
  step('package', `${name} ${version} on node ${process.version}`);
  return require(folder);
}

function environment(name) {
  const value = process.env[name];
  check(value, `${name} is not set`);
  return value;
}

function account() {
  return {
    url: environment('EXPRESSNET_VENUE'),
    key: environment('EXPRESSNET_KEY'),
    secret: environment('EXPRESSNET_SECRET'),
  };
}

function step(name, got) {
  const plain = (_, value) => (typeof value === 'bigint' ? text(value) : value);
  process.stdout.write(`${JSON.stringify({ step: name, got }, plain)}\n`);
}

function check(holds, message) {
  if (!holds) throw new Error(message);
}

function same(got, expected, what) {
  const show = (value) => (typeof value === 'bigint' ? text(value) : JSON.stringify(value));
  check(got === expected, `${what}: got ${show(got)}, expected ${show(expected)}`);
}

// Counts a decimal text, or a number as it prints, in units of 1e-8; anything finer is an error.
function units(value) {
  const digits = typeof value === 'number' ? value.toFixed(8) : value;
  const parts = /^(-?)(\d+)(?:\.(\d{1,8}))?$/.exec(digits);
  check(parts, `no amount: ${JSON.stringify(value)}`);
  const count = BigInt(parts[2] + (parts[3] || '').padEnd(8, '0'));
  return parts[1] ? -count : count;
}

function text(count) {
  const digits = (count < 0n ? -count : count).toString().padStart(9, '0');
  return `${count < 0n ? '-' : ''}${digits.slice(0, -8)}.${digits.slice(-8)}`;
}

// Multiplies two counts of 1e-8; a product that is finer is rounded down.
function times(one, other) {
  return (one * other) / 100000000n;
}

// Returns the fee of an amount, given in percent and rounded up to a step.
function fee(amount, percent, step = 1n) {
  const parts = 100n * 100000000n * step;
  return ((amount * percent + parts - 1n) / parts) * step;
}

function sum(counts) {
  return counts.reduce((all, count) => all + count, 0n);
}

// The price must be one of this market, not a mere number.
function isNear(price, what) {
  const close = price > units(PRICE * 0.9) && price < units(PRICE * 1.1);
  check(close, `${what}: ${text(price)} is far from ${PRICE}`);
}

// Prices, in the order in which a list must have them.
function isRising(prices, what) {
  check(prices.length > 1, `${what}: ${prices.length} levels`);
  const wrong = prices.findIndex((price, at) => at > 0 && price <= prices[at - 1]);
  check(wrong < 0, `${what}: level ${wrong} is out of order`);
}

// Calls a method that answers by a callback.
function call(client, method, ...fields) {
  return new Promise((resolve, reject) => {
    client[method](...fields, (error, got) => (error ? reject(error) : resolve(got)));
  });
}

// Returns the words of the refusal that must come.
async function refusal(promise) {
  let got;
  try {
    got = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`was not refused: ${JSON.stringify(got)}`);
}

// Looks until something is there.
async function until(what, look) {
  const patience = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    check(Date.now() < patience, `never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

// Runs a driver: its exit code tells whether all was as it should be.
function drive(steps) {
  const done = () => process.exit(0);
  const failed = (error) => {
    step('failed', error.message);
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  };
  Promise.resolve().then(steps).then(done, failed);
}

module.exports = {
  START, account, call, check, drive, fee, isNear, isRising, load, refusal, same, step, sum, text,
  times, units, until,
};
