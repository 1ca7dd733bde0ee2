// How a worker of these tests does a job: it says which one it holds, and waits to be told to go on.

import { once } from "node:events";
import { createInterface } from "node:readline";

const answers = createInterface({ input: process.stdin });
answers.on("close", () => process.exit());
answers.pause();

export function say(words) {
  process.stdout.write(`${words}\n`);
}

export async function took(job) {
  const answer = once(answers, "line");
  say(`took ${job}`);
  answers.resume();
  await answer;
}
