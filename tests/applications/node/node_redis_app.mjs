// A worker loop on node-redis: it claims from others in the read itself.
//
// node node_redis_app.mjs produce|work PORT NAME IDLE_MS [JOB..]

import { createClient } from "redis";
import { say, took } from "./holding.mjs";

const [role, port, name, idleMs, ...jobs] = process.argv.slice(2);
const client = createClient({ url: `redis://127.0.0.1:${port}`, name });
await client.connect();

if (role === "produce") {
  await Promise.all(jobs.map((job) => client.xAdd("jobs", "*", { job })));
  await client.close();
  process.exit();
}

await client.xGroupCreate("jobs", "workers", "0", { MKSTREAM: true }).catch((error) => {
  if (!error.message.startsWith("BUSYGROUP")) throw error;
});
say("ready");
for (;;) {
  const { messages: left } = await client.xAutoClaim("jobs", "workers", name, Number(idleMs), "0");
  const reply = await client.xReadGroup(
    "workers", name, { key: "jobs", id: ">" }, { COUNT: 1, BLOCK: 100 },
  );
  const read = (reply ?? []).flatMap((stream) => stream.messages);
  for (const { id, message } of [...left, ...read]) {
    await took(message.job);
    await client.xAck("jobs", "workers", id);
  }
}
