// A socket.io server with the Redis streams adapter and recovery of connections.
//
// node socketio_server.mjs PORT
//
// Says `listening <port>` of its own. Obeys, line by line: `emit <word>` to all clients of all
// servers, `sockets` (says how many there are on all servers), `ask <word>` (says what the other
// servers answer).

import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createInterface } from "node:readline";
import { createClient } from "redis";
import { Server } from "socket.io";

const say = (words) => process.stdout.write(`${words}\n`);
const [port] = process.argv.slice(2);
const client = createClient({ url: `redis://127.0.0.1:${port}` });
await client.connect();
const io = new Server({
  adapter: createAdapter(client, { maxLen: 1000, readCount: 10, blockTimeInMs: 200 }),
  connectionStateRecovery: { maxDisconnectionDuration: 60_000 },
});
io.on("question", (word, answer) => answer(`heard ${word}`));
io.listen(0);
io.httpServer.on("listening", () => say(`listening ${io.httpServer.address().port}`));

const obey = {
  emit: (word) => io.emit("news", word),
  sockets: async () => say(`sockets ${(await io.fetchSockets()).length}`),
  ask: async (word) => say(`answers ${await io.serverSideEmitWithAck("question", word)}`),
};
for await (const line of createInterface({ input: process.stdin })) {
  const [order, word] = line.split(" ");
  await obey[order](word);
}
