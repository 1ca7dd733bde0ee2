// A worker loop on ioredis.
//
// node ioredis_app.mjs produce|work PORT NAME IDLE_MS [JOB..]

import Redis from "ioredis";
import { say, took } from "./holding.mjs";

const [role, port, name, idleMs, ...jobs] = process.argv.slice(2);
const client = new Redis({ host: "127.0.0.1", port: Number(port), connectionName: name });

if (role === "produce") {
  const pipeline = client.pipeline();
  for (const job of jobs) pipeline.xadd("jobs", "MAXLEN", "~", 1000, "*", "job", job);
  await pipeline.exec();
  await client.quit();
  process.exit();
}

async function work([id, fields]) {
  await took(fields[1]);
  await client.xack("jobs", "workers", id);
}

await client.xgroup("CREATE", "jobs", "workers", "0", "MKSTREAM").catch((error) => {
  if (!error.message.startsWith("BUSYGROUP")) throw error;
});
say("ready");
for (;;) {
  const [, left] = await client.xautoclaim("jobs", "workers", name, idleMs, "0", "COUNT", 10);
  for (const entry of left) await work(entry);
  const reply = await client.xreadgroup(
    "GROUP", "workers", name, "COUNT", 1, "BLOCK", 100, "STREAMS", "jobs", ">",
  );
  for (const [, entries] of reply ?? []) for (const entry of entries) await work(entry);
}
