// Moleculer channels: a service with one channel, which claims what others left behind and moves what
// fails again and again to a dead-letter stream.
//
// node moleculer_app.mjs produce|work PORT NAME IDLE_MS [JOB..]

import { Middleware as channels } from "@moleculer/channels";
import { ServiceBroker } from "moleculer";
import { say, took } from "./holding.mjs";

const [role, port, name, idleMs, ...jobs] = process.argv.slice(2);
const broker = new ServiceBroker({
  nodeID: name,
  logger: false,
  middlewares: [
    channels({
      adapter: { type: "Redis", options: { redis: `redis://127.0.0.1:${port}` } },
    }),
  ],
});

if (role === "work") {
  broker.createService({
    name: "worker",
    channels: {
      jobs: {
        group: "workers",
        maxInFlight: 1,
        maxRetries: 5,
        deadLettering: { enabled: true, queueName: "dead" },
        redis: {
          startID: "0",
          minIdleTime: Number(idleMs),
          claimInterval: 50,
          processingAttemptsInterval: 50,
          readTimeoutInterval: 100,
        },
        async handler({ job }) {
          if (job === "poison") throw new Error("this job fails");
          await took(job);
        },
      },
    },
  });
}

await broker.start();
if (role === "produce") {
  for (const job of [...jobs, "poison"]) {
    await broker.sendToChannel("jobs", { job }, { xaddMaxLen: "~1000" });
  }
  await broker.stop();
  process.exit();
}
say("ready");
