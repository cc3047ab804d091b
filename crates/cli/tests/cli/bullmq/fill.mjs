// Lets the real BullMQ fill a queue: node fill.mjs PORT QUEUE PREFIX STALLED_CHECK LOCK, in a folder that has bullmq installed.
// LOCK is how many milliseconds a job is its worker's without a word of it. Prints `ready` once one job is active, and works on it until it is killed.
import { createRequire } from "node:module";

const { Queue, Worker } = createRequire(`${process.cwd()}/`)("bullmq");
const [port, name, prefix, stalledCheck, lock] = process.argv.slice(2);
const connection = { host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: null };
const queue = new Queue(name, { connection, prefix });

const kept = { attempts: 1 };
await queue.add("good", {}, { ...kept, jobId: "done-1" });
await queue.add("good", {}, { ...kept, jobId: "done-2" });
await queue.add("bad", {}, { ...kept, jobId: "bad-1" });
await queue.add("endless", {}, { ...kept, jobId: "endless-1" });
await queue.add("good", {}, { ...kept, jobId: "later-1", delay: 3_600_000 });

const run = async (job) => {
  if (job.name === "bad") throw new Error("as it should");
  if (job.name !== "endless") return;
  for (const id of ["next-1", "next-2", "next-3"]) await queue.add("good", {}, { ...kept, jobId: id });
  await queue.add("good", {}, { ...kept, jobId: "first-1", priority: 5 });
  await queue.addBulk([]);
  console.log("ready");
  await new Promise(() => setInterval(() => {}, 1000));
};
const options = { connection, prefix, concurrency: 1, lockDuration: Number(lock), stalledInterval: 600_000 };
const worker = new Worker(name, run, { ...options, skipStalledCheck: stalledCheck !== "check" });
worker.on("error", (error) => console.error(error));
