// A socket.io client that is dropped and connects again when it is told to.
//
// node socketio_client.mjs PORT
//
// Says `connected` or, when it was recognised, `recovered`; then `news <word>` for each it hears.
// Obeys: `drop`, `connect <port>`.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const say = (words) => process.stdout.write(`${words}\n`);
const [port] = process.argv.slice(2);
const socket = io(`http://127.0.0.1:${port}`, { reconnection: false, transports: ["websocket"] });
socket.on("connect", () => say(socket.recovered ? "recovered" : "connected"));
socket.on("news", (word) => say(`news ${word}`));

const obey = {
  drop: () => socket.io.engine.close(),
  connect: (other) => {
    socket.io.uri = `http://127.0.0.1:${other}`;
    socket.connect();
  },
};
for await (const line of createInterface({ input: process.stdin })) {
  const [order, word] = line.split(" ");
  obey[order](word);
}
