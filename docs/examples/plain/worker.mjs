// A plain ioredis worker: XREADGROUP, work, XACK, in a loop. It knows nothing of respq.
//
// node worker.mjs PORT STREAM GROUP NAME COUNT

import { once } from "node:events";
import { createInterface } from "node:readline";
import Redis from "ioredis";

const [port, stream, group, name, count] = process.argv.slice(2);
const client = new Redis({ host: "127.0.0.1", port: Number(port) });
const answers = createInterface({ input: process.stdin });
answers.on("close", () => process.exit());

// Whoever started this program is told of the message and answers when the work is done.
async function work(id, fields) {
  const answer = once(answers, "line");
  console.log(`got ${id} ${fields[fields.indexOf("body") + 1]}`);
  await answer;
}

for (;;) {
  const reply = await client.xreadgroup(
    "GROUP", group, name, "COUNT", count, "BLOCK", 5000, "STREAMS", stream, ">",
  );
  for (const [, entries] of reply ?? []) {
    for (const [id, fields] of entries) {
      await work(id, fields);
      console.log(`acknowledged ${id} ${await client.xack(stream, group, id)}`);
    }
  }
}
