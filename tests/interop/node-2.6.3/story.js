// The story of npm's nacos: story.js PORT NAMESPACE, started by tests/interop/witness, which see.
//
// This client has no call to change an instance: it is registered again. Its list of services by page is internal. It
// ignores an empty list: its subscriber never hears of the last one's leaving.
'use strict';

const { isDeepStrictEqual } = require('node:util');
const { spawn } = require('node:child_process');
const readline = require('node:readline');
const { setTimeout: sleep } = require('node:timers/promises');
const { NacosNamingClient } = require('nacos');

const GROUP = 'INTEROP_GROUP';
const SERVICE = 'interop.Greeter:1.0';
const IP = '127.0.0.1';
const [ONE, TWO, GUEST, MORTAL] = [7001, 7002, 7003, 7004];
const CLUSTERS = { [ONE]: 'c1', [TWO]: 'c2', [GUEST]: 'c1', [MORTAL]: 'c1' };
const TEXT = 'Grüße, 你好 & a=b "c" {d} 50% + x';
// The client polls every 10 s, if the server can push.
const TOLD_MS = 15_000;
// Subscriptions are stored, so that a change right after a restart is pushed; the client polls every 10 s.
const TOLD_AFTER_RESTART_MS = 3_000;
// A push takes some ms, on a busy machine more; it counts only if no poll came meanwhile.
const PUSH_LIMIT_MS = 3_000;
const PUSH_ATTEMPTS = 4;
// The short limits are 3 s and 6 s, and the end of each is pushed.
const GONE_MS = 6_000;
// The server merges changes within 1 s after a push; a change in a quiet time is pushed at once.
const QUIET_MS = 1_200;
// The beats' limits of an instance that may die early.
const SHORT = {
  'preserved.heart.beat.interval': '1000',
  'preserved.heart.beat.timeout': '3000',
  'preserved.ip.delete.timeout': '6000',
};

function that(holds, reason) {
  if (!holds) throw new Error(reason);
}

async function check(name, body) {
  try {
    await body();
    console.log(`PASS ${name}`);
  } catch (error) {
    console.log(`FAIL ${name}: ${error.message}`);
  }
}

/** Waits until `problem` returns null; its last text is the reason when it never does. */
async function eventually(limitMs, problem) {
  const end = Date.now() + limitMs;
  for (let reason = await problem(); reason !== null; reason = await problem()) {
    that(Date.now() < end, `${reason} (waited ${limitMs} ms)`);
    await sleep(5);
  }
}

/** The process that started this one. Without it this one ends too. */
class Witness {
  constructor() {
    this.waiting = [];
    readline.createInterface({ input: process.stdin })
      .on('line', line => this.waiting.shift()(line))
      .on('close', () => process.exit(3));
  }

  /** What follows `done` in the answer. */
  async ask(line) {
    const answer = new Promise(resolve => this.waiting.push(resolve));
    console.log(line);
    return (await answer).slice('done '.length);
  }
}

/** Keeps every list that it is told. */
class Subscriber {
  constructor() {
    this.lists = [];
    this.listener = hosts => this.lists.push({ atMs: Date.now(), hosts: byPort(hosts) });
  }

  get hosts() {
    return this.lists.length === 0 ? {} : this.lists[this.lists.length - 1].hosts;
  }

  /** Null if the newest list holds just these ports. */
  lacks(...ports) {
    const told = Object.keys(this.hosts);
    return isDeepStrictEqual(told, ports.map(String)) ? null : `last told of ${told}, not ${ports}`;
  }

  /** Null if the port's host in the newest list is as wanted. */
  problem(port, wanted) {
    const host = this.hosts[port];
    return wanted(host) ? null : `last told of ${port}: ${JSON.stringify(host)}`;
  }
}

function byPort(hosts) {
  return Object.fromEntries(hosts.map(host => [host.port, host]));
}

function newClient(port, namespace) {
  const silent = () => {};
  const client = new NacosNamingClient({
    serverList: `127.0.0.1:${port}`,
    namespace,
    logger: { debug: silent, info: silent, warn: silent, error: silent },
  });
  // A poll that fails while the server is down is an `error` event.
  client._hostReactor.on('error', silent);
  return client;
}

function instance(port, weight, metadata) {
  return { ip: IP, port, weight, clusterName: CLUSTERS[port], metadata };
}

class Story {
  constructor(port, namespace) {
    this.port = port;
    this.namespace = namespace;
    this.witness = new Witness();
    this.first = newClient(port, namespace);
    this.second = newClient(port, namespace);
    this.subscriber = new Subscriber();
  }

  async run() {
    await Promise.all([this.first.ready(), this.second.ready()]);
    await this.arrive();
    await this.find();
    await this.watch();
    await this.loseOne();
    await this.witness.ask('@steady');
    const killedMs = Date.now();
    await this.witness.ask('@restart');
    await this.goOn(killedMs);
    await this.leave();
  }

  async arrive() {
    await check('server_status_is_up', async () => {
      const status = await this.first.getServerStatus();
      that(status === 'UP', `getServerStatus is ${status}`);
    });
    await check('register_two', async () => {
      await this.first.registerInstance(SERVICE, instance(ONE, 2.5, { zone: 'c1', text: TEXT }), GROUP);
      await this.first.registerInstance(SERVICE, instance(TWO, 1, { zone: 'c2' }), GROUP);
    });
    await this.witness.ask('@arrived');
    await sleep(300);
  }

  /** What a client gets that has not asked before: the others may answer from what they know. */
  async portsAre(wanted, { service = SERVICE, group = GROUP, clusters = '', namespace = this.namespace } = {}) {
    const client = newClient(this.port, namespace);
    await client.ready();
    const got = Object.keys(byPort(await client.getAllInstances(service, group, clusters, false)));
    await client.close();
    that(isDeepStrictEqual(got, wanted.map(String)), `got ${got}`);
  }

  async find() {
    await check('list_all_instances', () => this.allAreListed());
    await check('list_instances_of_a_cluster', () => this.portsAre([ONE], { clusters: 'c1' }));
    await check('select_healthy_instances', async () => {
      const healthy = byPort(await this.first.selectInstances(SERVICE, GROUP, '', true, false));
      that(isDeepStrictEqual(Object.keys(healthy), [`${ONE}`, `${TWO}`]), `healthy are ${Object.keys(healthy)}`);
      const unhealthy = await this.first.selectInstances(SERVICE, GROUP, '', false, false);
      that(unhealthy.length === 0, `unhealthy are ${JSON.stringify(unhealthy)}`);
    });
    await check('unknown_service_is_empty', () => this.portsAre([], { service: 'interop.Nobody' }));
    await check('another_group_is_apart', () => this.portsAre([], { group: 'DEFAULT_GROUP' }));
    await check('another_namespace_is_apart', () => this.portsAre([], { namespace: `${this.namespace}-other` }));
    await check('services_by_page', () => this.servicesByPage());
  }

  async allAreListed() {
    const hosts = byPort(await this.first.getAllInstances(SERVICE, GROUP, '', false));
    that(isDeepStrictEqual(Object.keys(hosts), [`${ONE}`, `${TWO}`]), `got ${Object.keys(hosts)}`);
    for (const sent of [instance(ONE, 2.5, { zone: 'c1', text: TEXT }), instance(TWO, 1, { zone: 'c2' })]) {
      const got = hosts[sent.port];
      const text = JSON.stringify(got);
      that(got.weight === sent.weight && got.clusterName === sent.clusterName, `got ${text}`);
      that(isDeepStrictEqual(got.metadata, sent.metadata), `metadata of ${text}`);
      that(got.healthy && got.enabled && got.ephemeral, `flags of ${text}`);
      that(got.serviceName === `${GROUP}@@${SERVICE}`, `serviceName of ${text}`);
      that(got.instanceId === `${IP}#${sent.port}#${sent.clusterName}#${GROUP}@@${SERVICE}`, `instanceId of ${text}`);
    }
  }

  async servicesByPage() {
    const other = 'interop.Other';
    await this.second.registerInstance(other, instance(GUEST, 1, {}), GROUP);
    const pages = [];
    for (const page of [1, 2, 3]) {
      pages.push(await this.first._serverProxy.getServiceList(page, 1, GROUP));
    }
    await this.second.deregisterInstance(other, instance(GUEST, 1, {}), GROUP);
    const text = JSON.stringify(pages);
    that(pages.every(page => page.count === 2), `count of ${text}`);
    that(isDeepStrictEqual(pages.map(page => page.data.length), [1, 1, 0]), `sizes of ${text}`);
    that(isDeepStrictEqual(pages.flatMap(page => page.data).sort(), [SERVICE, other].sort()), `got ${text}`);
  }

  async watch() {
    await check('subscriber_is_told_the_first_list', async () => {
      // Without clusters it would ask for the cluster DEFAULT alone.
      this.first.subscribe({ serviceName: SERVICE, groupName: GROUP, clusters: 'c1,c2' }, this.subscriber.listener);
      await eventually(TOLD_MS, () => this.subscriber.lacks(ONE, TWO));
    });
    const come = () => this.second.registerInstance(SERVICE, instance(GUEST, 1, { text: 'guest' }), GROUP);
    const go = () => this.second.deregisterInstance(SERVICE, instance(GUEST, 1, {}), GROUP);
    const came = () => this.subscriber.lacks(ONE, TWO, GUEST);
    const went = () => this.subscriber.lacks(ONE, TWO);
    await this.pushed('a_registration_is_pushed', come, came, go, went);
    await this.pushed('a_deregistration_is_pushed', go, went, come, came);
    let changed = {};
    const change = () => {
      changed = instance(TWO, 0.5, { zone: 'c2', text: `changed ${Date.now()}: ${TEXT}` });
      return this.first.registerInstance(SERVICE, changed, GROUP);
    };
    const isChanged = () => this.subscriber.problem(TWO, host =>
      host?.weight === 0.5 && isDeepStrictEqual(host.metadata, changed.metadata));
    await this.pushed('changed_weight_and_metadata_are_pushed', change, isChanged, change, isChanged);
  }

  /** A poll that comes between by chance proves nothing: then the change is undone and made again. */
  async pushed(name, change, isTold, undo, isUndone) {
    await check(name, async () => {
      that(isTold() !== null, 'told before the change');
      for (let attempt = 0; attempt < PUSH_ATTEMPTS; attempt++) {
        await sleep(QUIET_MS);
        const before = await this.witness.ask('@polls');
        const startMs = Date.now();
        await change();
        await eventually(PUSH_LIMIT_MS, isTold);
        const tookMs = Date.now() - startMs;
        if (await this.witness.ask('@polls') === before) {
          console.log(`   pushed within ${tookMs} ms`);
          return;
        }
        await undo();
        await eventually(TOLD_MS, isUndone);
      }
      that(false, 'a poll came between each time');
    });
  }

  /** Another process registers an instance with short limits, and is killed. */
  async loseOne() {
    const mortal = spawn(process.execPath, [__filename, 'mortal', this.port, this.namespace],
      { stdio: ['pipe', 'ignore', 'inherit'] });
    const ended = new Promise(resolve => mortal.on('exit', resolve));
    await check('instance_of_another_process_is_told_healthy', () => eventually(TOLD_MS,
      () => this.subscriber.problem(MORTAL, host => host?.healthy === true)));
    // Longer than its limits: it lives by its beats.
    const startMs = Date.now();
    await sleep(5_000);
    await check('it_stays_healthy_by_its_beats', () => {
      const lost = this.subscriber.lists.filter(list => list.atMs > startMs && !list.hosts[MORTAL]?.healthy);
      that(lost.length === 0 && this.subscriber.hosts[MORTAL]?.healthy, `told ${JSON.stringify(lost)}`);
    });
    mortal.kill('SIGKILL');
    await ended;
    await check('killed_without_a_word_it_is_told_unhealthy', () => eventually(GONE_MS,
      () => this.subscriber.problem(MORTAL, host => host?.healthy === false)));
    await check('and_then_gone', () => eventually(GONE_MS, () => this.subscriber.lacks(ONE, TWO)));
  }

  async goOn(killedMs) {
    await check('server_status_is_up_again', async () => {
      that(await this.first.getServerStatus() === 'UP', 'it is not');
    });
    await check('new_client_lists_all_at_its_first_call', () => this.portsAre([ONE, TWO]));
    await check('registration_by_another_client_reaches_the_subscriber_after_restart', async () => {
      const startMs = Date.now();
      await this.second.registerInstance(SERVICE, instance(GUEST, 1, {}), GROUP);
      await eventually(TOLD_AFTER_RESTART_MS, () => this.subscriber.lacks(ONE, TWO, GUEST));
      console.log(`   told after ${Date.now() - startMs} ms (polls every 10 s)`);
    });
    await check('deregistration_by_another_client_reaches_the_subscriber_after_restart', async () => {
      await this.second.deregisterInstance(SERVICE, instance(GUEST, 1, {}), GROUP);
      await eventually(TOLD_AFTER_RESTART_MS, () => this.subscriber.lacks(ONE, TWO));
    });
    await this.witness.ask('@settled');
    await check('subscriber_was_told_no_short_list', () => {
      const short = this.subscriber.lists.filter(list => list.atMs >= killedMs
        && !(list.hosts[ONE]?.healthy && list.hosts[TWO]?.healthy));
      that(short.length === 0, `told ${JSON.stringify(short)}`);
    });
  }

  async leave() {
    await check('subscriber_is_told_that_one_has_left', async () => {
      await this.witness.ask(`@beat ${ONE}`);
      await this.first.deregisterInstance(SERVICE, instance(ONE, 1, {}), GROUP);
      await eventually(TOLD_MS, () => this.subscriber.lacks(TWO));
    });
    await check('new_client_lists_none_when_both_have_left', async () => {
      await this.witness.ask(`@beat ${TWO}`);
      await this.first.deregisterInstance(SERVICE, instance(TWO, 1, {}), GROUP);
      await this.portsAre([]);
    });
  }
}

async function mortal(port, namespace) {
  const client = newClient(port, namespace);
  process.stdin.on('close', () => process.exit(3)).resume();
  // Until the first beat is answered with the instance's own interval the client beats every 10 s: too late for the
  // short limits.
  client._beatReactor._clientBeatInterval = 1_000;
  await client.registerInstance(SERVICE, instance(MORTAL, 1, SHORT), GROUP);
}

async function main() {
  if (process.argv[2] === 'mortal') {
    await mortal(...process.argv.slice(3));
    return;
  }
  await new Story(...process.argv.slice(2)).run();
  process.exit(0);
}

main();
