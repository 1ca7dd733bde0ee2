// redis-streams-broker: a consumer that is started again under its name begins with what it had not
// finished; a finished job is acknowledged and deleted in one transaction.
//
// node streams_broker_app.mjs produce|work PORT NAME IDLE_MS [JOB..]

import Redis from "ioredis";
import broker from "redis-streams-broker";
import { say, took } from "./holding.mjs";

const [role, port, name, , ...jobs] = process.argv.slice(2);
const client = new Redis({ host: "127.0.0.1", port: Number(port) });
const channel = new broker.StreamChannelBroker(client, "jobs");

if (role === "produce") {
  const [last, ...others] = [...jobs].reverse();
  for (const job of others.reverse()) await channel.publish({ job }, 1000);
  await channel.publish({ job: last }, 1000, true); // refused by a script if there are more
  await client.quit();
  process.exit();
}

const group = await channel.joinConsumerGroup("workers", "0");

async function handler(payloads) {
  for (const payload of payloads) {
    await took(payload.payload.job);
    await payload.markAsRead(true);
    await group.pendingSummary();
    await channel.memoryFootprint();
  }
}

await group.subscribe(name, handler, 100, 1, undefined, true);
say("ready");
