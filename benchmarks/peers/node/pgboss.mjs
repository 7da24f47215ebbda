// pg-boss: `fetch` is the size of its batches, `workers` how many fetch side by side.

import { PgBoss } from "pg-boss";
import { action, Calls, drain, dsn, enqueue, latency, order, payload } from "./contest.mjs";

const boss = new PgBoss({ connectionString: dsn, max: 20, useListenNotify: true });
boss.on("error", (error) => console.error(error.message));
await boss.start();
if (action === "setup") {
  await boss.createQueue("noop", { notify: true });
} else if (action === "enqueue") {
  await enqueue((count) => boss.insert("noop", Array.from({ length: count }, () => ({ data: payload }))));
} else {
  const calls = new Calls(order.most);
  const options = {
    batchSize: order.fetch,
    localConcurrency: order.workers,
    pollingIntervalSeconds: 0.5,
    burstWhenBatchFull: true,
  };
  const began = performance.now();
  await boss.work("noop", options, async (jobs) => {
    for (const _ of jobs) calls.hit();
  });
  if (action === "drain") {
    await drain(calls, began, () => boss.offWork("noop", { wait: true }).catch(() => {}));
  } else {
    await latency(calls, () => boss.send("noop", payload));
  }
}
await boss.stop({ graceful: false });
process.exit(0);
